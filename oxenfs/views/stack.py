"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

from oxenfs.address import Address, Hosted
from oxenfs.errors import Conflict, NotFound, OxenfsError
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.base import BlobFiles, Elsewhere, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.remote.revision import Revision, resolve
from oxenfs.remote.wire import DirectoryPayload, decode_node
from oxenfs.store.cache import Cache
from oxenfs.store.cache_open import open_cache
from oxenfs.store.counters import Counters
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.records import ListingRecords
from oxenfs.store.remembered import Offline, Remembering, age_text
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder
from oxenfs.views.revisions import Revisions, Source

log = logging.getLogger(__name__)

_WARM_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees and bytes are kept between mounts.
        revisions: all branches and commits side by side; the address then has no revision.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
        cache_bytes: the limit of the cache of bytes; None leaves it as it was, or 20 GiB.
        verify_full: serve no byte of a large blob before all of it was checked.
        offline: ask no server, show what is in the cache.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    revisions: bool = False
    cache_bytes: int | None = None
    verify_full: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mount shows, for people and for `.oxenfs/info.json`.

    Attributes:
        repo: the repository as a user would type it, without revision.
        revision: as typed; None for the default branch.
        branch: None when a commit is mounted.
        size_bytes, files: of the whole commit.
        note: a sentence for whoever mounts, None if there is nothing to say.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int
    note: str | None = None


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
        revisions: None unless all of them are shown.
        cache: of blobs and derived objects; None if there is no place for one.
        fetched: where bytes come from; None if all of them are on this machine.
        counters: what was done.
    """

    def __init__(self, plan: Plan, opened: ExitStack) -> None:
        """Use `build`; what has to be closed goes into `opened`."""
        self._plan = plan
        self._opened = opened
        remote = self.remote = _remote(plan, opened)
        self._metadata = Metadata(remote, plan.cache_dir)
        opened.callback(self._metadata.close)
        self.counters = Counters()
        self.cache = _cache(plan, opened)
        self.fetched: RemoteBlobs | None = None
        self._blobs: DirectBlobs | RemoteBlobs
        if isinstance(remote, BlobFiles):
            self._blobs = DirectBlobs(remote)
        else:
            self._blobs = self.fetched = RemoteBlobs(
                remote.source if isinstance(remote, Elsewhere) else None,
                _host(plan.address),
                self.cache,
                breaker=getattr(remote, "breaker", None),
                counters=self.counters,
                timeout_s=plan.timeout_s,
                verify_full=plan.verify_full,
            )
        opened.callback(self._blobs.close)
        self.revisions: Revisions | None = None
        if plan.revisions:
            self.revisions = Revisions(Source(remote, self._metadata, self._blobs))
        if plan.revisions:
            view = self.all_revisions()
        else:
            view = self.at(resolve(remote, plan.address.rev), plan.address.rev)
        self.root, self.facts = view.root, view.facts

    def at(self, revision: Revision, typed: str | None) -> View:
        """Return what to show at `revision`, which was asked for as `typed`. Blocks."""
        commit = revision.commit
        root_id = self.remote.root(commit.id)
        size, files = self._usage(commit, root_id)
        repo = self._plan.address.repo
        note = _note(self.remote, revision.branch)
        facts = Facts(repo, typed, revision.branch, commit, size, files, note)
        root: Directory = root_of(Tree(commit, self._metadata, self._blobs), root_id)
        root = WithFolder(root, FOLDER, info_folder(_info(facts), commit.timestamp_ns))
        return View(root, facts, root_id)

    def all_revisions(self) -> View:
        """Return all revisions as they are now, for a plan that shows them. Blocks."""
        assert self.revisions is not None
        branches = self.remote.branches()
        default = self.remote.default_branch()
        commit = self.remote.commit(default.commit)
        root_id = self.remote.root(commit.id)
        size, files = self._usage(commit, root_id)
        repo = self._plan.address.repo
        facts = Facts(repo, None, None, commit, size, files, _note(self.remote, default.name))
        root = self.revisions.snapshot(branches, default)
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
        self._opened.close()

    async def background(self) -> None:
        """Run while the mount is served; may end before, and is cancelled at its end."""
        # What a program does first after mounting goes before.
        await trio.sleep(_WARM_AFTER_S)
        commit = self.facts.commit.id
        plan = self._plan
        if not plan.offline and not self._metadata.is_complete(commit):
            done = await warm_in_child(
                Task(
                    plan.address.repo,
                    hash_text(commit),
                    str(plan.cache_dir),
                    insecure=plan.insecure,
                    timeout_s=plan.timeout_s,
                )
            )
            self.counters.requests += done.requests
            self.counters.bytes_remote += done.received_bytes

    def own(self, opened: ExitStack) -> None:
        """Take what `close` is to close."""
        self._opened = opened

    def _usage(self, commit: Commit, root: ObjectHash) -> tuple[int, int]:
        usage = self._metadata.known_usage(root)
        if usage is None:
            usage = _usage(self.remote, commit, root)
            self._metadata.remember_usage(root, *usage)
        return usage


def build(plan: Plan) -> Stack:
    """Open the repository, resolve the revision and return its root. Blocks.

    Raises:
        NotFound: no such repository or revision; the text names near ones.
    """
    with ExitStack() as opened:
        stack = Stack(plan, opened)
        # From here on `Stack.close` does it.
        stack.own(opened.pop_all())
    return stack


def _remote(plan: Plan, opened: ExitStack) -> Remote:
    if plan.address.path is not None:
        remote = open_remote(plan.address)
        opened.callback(remote.close)
        return remote
    key = f"http:{plan.address.repo}"
    records = ListingRecords(key, plan.cache_dir)
    opened.callback(records.close)
    if plan.offline:
        return Offline(key, plan.address.repo, records)
    remote = open_remote(plan.address, insecure=plan.insecure, timeout_s=plan.timeout_s)
    opened.callback(remote.close)
    return Remembering(remote, records)


def _host(address: Address) -> str:
    hosted = address.repository
    return f"{hosted.scheme}://{hosted.host}" if isinstance(hosted, Hosted) else str(hosted)


def _cache(plan: Plan, opened: ExitStack) -> Cache | None:
    try:
        cache = open_cache(plan.cache_dir, plan.cache_bytes)
    except OxenfsError as exc:
        log.warning("nothing is cached on disk: %s", exc)
        return None
    opened.callback(cache.close)
    return cache


def _note(remote: Remote, branch: str | None) -> str | None:
    if not isinstance(remote, Offline):
        return None
    seen = None if branch is None else remote.seen(branch)
    if seen is None:
        return "offline: no server is asked"
    age = age_text(time.time() - seen.when_s)
    return f"offline: {seen.branch.name} is shown as it was seen {age} ago"


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
