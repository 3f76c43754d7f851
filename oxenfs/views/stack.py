"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import trio

from oxenfs.errors import Conflict, NotFound
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.payloads import DirectoryPayload
from oxenfs.remote.revision import Revision, resolve
from oxenfs.remote.wire import decode_node
from oxenfs.store.remembered import Offline, age_text
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder
from oxenfs.views.frames import FOLDER as FRAMES
from oxenfs.views.frames import FramesFolder
from oxenfs.views.mirror import Mirror, concerns_frames
from oxenfs.views.plan import Facts, Plan
from oxenfs.views.revision import Source
from oxenfs.views.revisions import Revisions
from oxenfs.views.supply import Supply

if TYPE_CHECKING:
    # Mounts without an overlay start without its modules.
    from oxenfs.overlay.opening import Opened
    from oxenfs.views.merged import MergedTree
    from oxenfs.views.overlay import Overlay

_WARM_AFTER_S = 0.2


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
        supply: where trees and bytes come from.
        revisions: None unless all of them are shown.
        overlay: what takes changes; None in a read-only mount.
        cache_dir: where trees are kept.
    """

    def __init__(self, plan: Plan, supply: Supply) -> None:
        """Use `build`."""
        self.supply = supply
        self._plan = plan
        self.cache_dir = plan.cache_dir
        self.overlay: Overlay | None = None
        self._merged: MergedTree | None = None
        self._opened: Opened | None = None
        self.revisions: Revisions | None = None
        if plan.revisions:
            self.revisions = Revisions(
                Source(supply.remote, supply.metadata, supply.blobs, self._with_frames)
            )
            view = self.all_revisions()
        else:
            view = self._first()
        self.root, self.facts = view.root, view.facts
        if self._opened is not None:
            from oxenfs.views.merged import MergedTree
            from oxenfs.views.overlay import Overlay

            self.overlay = Overlay(self._opened.upper, view.root, os.getuid(), os.getgid())
            self._merged = MergedTree(self.overlay, concerns_frames)
            if self._opened.behind:
                count = self._opened.behind
                commits = "1 commit" if count == 1 else f"{count} commits"
                self.facts = replace(self.facts, note=f"{commits} behind; oxenfs pull")

    def _first(self) -> View:
        """Return what is mounted at first: with an overlay, the commit that it stands on."""
        plan = self._plan
        revision = resolve(self.remote, plan.address.rev)
        if plan.overlay is None:
            return self.at(revision, plan.address.rev)
        from oxenfs.overlay.opening import open_overlay

        repo = plan.address.repo
        opened = open_overlay(plan.overlay, repo, self.remote, revision, plan.cache_dir)
        self._opened = opened
        try:
            return self.at(Revision(opened.base, revision.branch), plan.address.rev)
        except BaseException:
            opened.close()
            raise

    @property
    def remote(self) -> Remote:
        """The repository. Its calls block."""
        return self.supply.remote

    def at(self, revision: Revision, typed: str | None) -> View:
        """Return what to show at `revision`, which was asked for as `typed`. Blocks."""
        facts, root_id = self._facts(revision, typed)
        tree = Tree(facts.commit, self.supply.metadata, self.supply.blobs)
        root = self._with_frames(root_of(tree, root_id))
        return View(self._with_info(root, facts), facts, root_id)

    def all_revisions(self) -> View:
        """Return all revisions as they are now, for a plan that shows them. Blocks."""
        assert self.revisions is not None
        branches = self.remote.branches()
        default = self.remote.default_branch()
        facts, root_id = self._facts(Revision(self.remote.commit(default.commit), None), None)
        root = self.revisions.snapshot(branches, default)
        return View(self._with_info(root, facts), facts, root_id)

    def videos(self, root: Directory) -> FramesFolder:
        """Return the frames of the videos of `root`, the root of a view of this stack."""
        while isinstance(root, WithFolder):
            root = root.inner
        base = root.base if isinstance(root, Mirror) else root
        return FramesFolder(self.supply.frames, base, self._now)

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

    def arrive(self) -> None:
        """Let the overlay belong to the folder that it is mounted on from now on. Blocks.

        Not before the kernel has the mount: whatever is refused leaves the changes where they are.

        Raises:
            OxenfsError: that cannot be written; it belongs to its old folder.
        """
        if self._opened is not None and self._plan.overlay is not None:
            self._opened.arrive(self._plan.overlay.dir, self.cache_dir)

    async def learn(self, base: Commit, view: View) -> None:
        """Fetch the listings that `view` has and `base` has not at once, where that is possible.

        Without it they are fetched one by one when they are needed, so its failure is no error.
        """
        await self.supply.metadata.learn(base, view.facts.commit, view.tree)

    def close(self) -> None:
        """Let go of everything."""
        if self._opened is not None:
            self._opened.close()
        self.supply.close()

    async def background(self) -> None:
        """Run while the mount is served; cancelled at its end."""
        async with self.supply.frames.running():
            if self._plan.frames is not None:
                self.supply.frames.prepare()
            # What a program does first after mounting goes before.
            await trio.sleep(_WARM_AFTER_S)
            await self._warm()
            await trio.sleep_forever()

    async def _warm(self) -> None:
        commit = self.facts.commit.id
        plan = self._plan
        if plan.offline or self.supply.metadata.is_complete(commit):
            return
        done = await warm_in_child(
            Task(
                plan.address.repo,
                hash_text(commit),
                str(plan.cache_dir),
                insecure=plan.insecure,
                timeout_s=plan.timeout_s,
            )
        )
        self.supply.counters.requests += done.requests
        self.supply.counters.bytes_remote += done.received_bytes
        await trio.to_thread.run_sync(self.supply.make_room)

    def _facts(self, revision: Revision, typed: str | None) -> tuple[Facts, ObjectHash]:
        commit = revision.commit
        root = self.remote.root(commit.id)
        metadata = self.supply.metadata
        usage = metadata.known_usage(root)
        if usage is None:
            usage = _usage(self.remote, commit, root)
            metadata.remember_usage(root, *usage)
        size, files = usage
        repo = self._plan.address.repo
        note = _note(self.remote, revision.branch)
        overlay = None if self._opened is None else self._opened.home.folder
        return Facts(repo, typed, revision.branch, commit, size, files, note, overlay), root

    def _with_frames(self, tree: Directory) -> Directory:
        folder = FramesFolder(self.supply.frames, tree, self._now)
        spec = self._plan.frames
        return WithFolder(tree, FRAMES, folder) if spec is None else folder.mirror(spec)

    def _now(self, tree: Directory) -> Directory:
        """Return a tree as it is now: with the changes on top of it, where there may be any."""
        return tree if self._merged is None else self._merged.root()

    def _with_info(self, root: Directory, facts: Facts) -> Directory:
        return WithFolder(root, FOLDER, info_folder(_info(facts), facts.commit.timestamp_ns))


def build(plan: Plan) -> Stack:
    """Open the repository, resolve the revision and return its root. Blocks.

    Raises:
        NotFound: no such repository or revision; the text names near ones.
    """
    supply = Supply(plan)
    try:
        return Stack(plan, supply)
    except BaseException:
        supply.close()
        raise


def _usage(remote: Remote, commit: Commit, root: ObjectHash) -> tuple[int, int]:
    node = remote.directory(root, TreePlace(commit.id, b"")).directory
    payload = decode_node(node).payload
    if not isinstance(payload, DirectoryPayload):
        raise NotFound(f"commit {hash_text(commit.id)} has no root directory")
    return payload.size, sum(payload.counts.values())


def _note(remote: Remote, branch: str | None) -> str | None:
    if not isinstance(remote, Offline):
        return None
    seen = None if branch is None else remote.seen(branch)
    if seen is None:
        return "offline: no server is asked"
    age = age_text(time.time() - seen.when_s)
    return f"offline: {seen.branch.name} is shown as it was seen {age} ago"


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
