"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import trio

from oxenfs.address import Address
from oxenfs.errors import Conflict, NotFound
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.overlay.opening import Opened, OverlayPlan, open_overlay
from oxenfs.remote.base import BlobFiles, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.remote.revision import Revision, resolve
from oxenfs.remote.wire import DirectoryPayload, decode_node
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.fetched import FetchedBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder
from oxenfs.views.overlay import Overlay

_WARM_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees are kept between mounts.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
        overlay: where changes go; None for a read-only mount.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    overlay: OverlayPlan | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mount shows, for people and for `.oxenfs/info.json`.

    Attributes:
        repo: the repository as a user would type it, without revision.
        revision: as typed; None for the default branch.
        branch: None when a commit is mounted.
        size_bytes, files: of the whole commit.
        overlay: where changes are; None without.
        behind: how many commits an overlay's base was behind its branch when it was mounted.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int
    overlay: Path | None = None
    behind: int = 0


class View(NamedTuple):
    """What a mount shows at one time.

    Attributes:
        tree: the node id of the commit's root.
    """

    root: Directory
    facts: Facts
    tree: ObjectHash


class Stack:
    """What it takes to show a repository, at one revision after the other.

    Attributes:
        root, facts: at the revision that `build` was asked for.
        remote: the repository. Its calls block.
        overlay: what takes changes; None in a read-only mount. Whoever serves it closes it.
        cache_dir: where trees are kept.
    """

    def __init__(self, plan: Plan, remote: Remote) -> None:
        """Use `build`."""
        self.remote = remote
        self._plan = plan
        self._metadata = Metadata(remote, plan.cache_dir)
        self._blobs = DirectBlobs(remote) if isinstance(remote, BlobFiles) else FetchedBlobs(remote)
        self.overlay: Overlay | None = None
        self.cache_dir = plan.cache_dir
        self._opened: Opened | None = None
        try:
            revision = resolve(remote, plan.address.rev)
            if plan.overlay is not None:
                repo = plan.address.repo
                self._opened = open_overlay(plan.overlay, repo, remote, revision, plan.cache_dir)
                revision = Revision(self._opened.base, revision.branch)
            view = self.at(revision, plan.address.rev)
        except BaseException:
            if self._opened is not None:
                self._opened.close()
            self._metadata.close()
            raise
        self.root, self.facts = view.root, view.facts
        if self._opened is not None:
            self.overlay = Overlay(self._opened.upper, view.root, os.getuid(), os.getgid())
            self.facts = replace(self.facts, behind=self._opened.behind)

    def at(self, revision: Revision, typed: str | None) -> View:
        """Return what to show at `revision`, which was asked for as `typed`. Blocks."""
        commit = revision.commit
        root_id = self.remote.root(commit.id)
        size, files = _usage(self.remote, commit, root_id)
        repo = self._plan.address.repo
        facts = Facts(repo, typed, revision.branch, commit, size_bytes=size, files=files)
        if self._opened is not None:
            facts = replace(facts, overlay=self._opened.home.folder)
        root: Directory = root_of(Tree(commit, self._metadata, self._blobs), root_id)
        root = WithFolder(root, FOLDER, info_folder(_info(facts), commit.timestamp_ns))
        return View(root, facts, root_id)

    def resolve(self, rev: str | None) -> Revision:
        """Return what `rev` means now; None is the default branch. Blocks.

        Raises:
            NotFound: nothing; the text names near branches.
        """
        return resolve(self.remote, rev)

    def head(self, branch: str) -> Revision:
        """Return where `branch` is now; raise `NotFound` if there is none. Blocks."""
        return Revision(self.remote.commit(self.remote.branch(branch).commit), branch)

    def make_branch(self, name: str, commit: Commit) -> None:
        """Make a branch at `commit`; raise `Conflict` if there is one. Blocks."""
        try:
            self.remote.branch(name)
        except NotFound:
            self.remote.make_branch(name, commit.id)
        else:
            raise Conflict(f"there is a branch {name!r} already; oxenfs checkout goes to it")

    async def learn(self, base: Commit, view: View) -> None:
        """Fetch the listings that `view` has and `base` has not at once, where that is possible.

        Without it they are fetched one by one when they are needed, so its failure is no error.
        """
        await self._metadata.learn(base, view.facts.commit, view.tree)

    def close(self) -> None:
        """Let go of everything."""
        self._blobs.close()
        self._metadata.close()
        self.remote.close()

    async def background(self) -> None:
        """Run while the mount is served; may end before, and is cancelled at its end."""
        # What a program does first after mounting goes before.
        await trio.sleep(_WARM_AFTER_S)
        commit = self.facts.commit.id
        if not self._metadata.is_complete(commit):
            plan = self._plan
            await warm_in_child(
                Task(
                    plan.address.repo,
                    hash_text(commit),
                    str(plan.cache_dir),
                    insecure=plan.insecure,
                    timeout_s=plan.timeout_s,
                )
            )


def build(plan: Plan) -> Stack:
    """Open the repository, resolve the revision and return its root. Blocks.

    Raises:
        NotFound: no such repository or revision; the text names near ones.
    """
    remote = open_remote(plan.address, insecure=plan.insecure, timeout_s=plan.timeout_s)
    try:
        return Stack(plan, remote)
    except BaseException:
        remote.close()
        raise


def _usage(remote: Remote, commit: Commit, root: ObjectHash) -> tuple[int, int]:
    node = remote.directory(root, TreePlace(commit.id, b"")).directory
    payload = decode_node(node).payload
    if not isinstance(payload, DirectoryPayload):
        raise NotFound(f"commit {hash_text(commit.id)} has no root directory")
    return payload.size, sum(payload.counts.values())


def _info(facts: Facts) -> dict[str, object]:
    commit = facts.commit
    return {
        "repo": facts.repo,
        "branch": facts.branch,
        "commit": hash_text(commit.id),
        "author": commit.author.name,
        "email": commit.author.email,
        "date": date_text(commit.timestamp_ns),
        "message": commit.message,
    }
