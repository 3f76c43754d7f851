"""Moves a live mount from commit to commit.

In this order, and why (the kernel keeps what it was told for ever):

1. find out what changes, in the listings of both trees; nothing is different yet, and it may fail;
2. flip: from one moment to the next every reply is about the new tree. Open files keep the bytes
   of their commit, as they are served by handle; a listing under way finishes as it began, and its
   entries are not to be kept;
3. tell the kernel which names and attributes to forget, from one worker thread. On the event loop
   it would wait for a request that only the loop can answer, for ever. Pages are never taken back:
   a file that changed has another inode.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import pyfuse3
import trio

from oxenfs.errors import OxenfsError, UsageError
from oxenfs.model import hash_text
from oxenfs.mount.blocks import Inode
from oxenfs.mount.changes import find_changes
from oxenfs.mount.control import Command, Send
from oxenfs.mount.operations import Operations, Usage
from oxenfs.mount.served import Shown
from oxenfs.remote.revision import Revision
from oxenfs.views.base import Directory
from oxenfs.views.plan import Facts
from oxenfs.views.stack import Stack

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """What the kernel can be told. Blocks until requests of that directory are answered."""

    def forget_entry(self, parent: Inode, name: bytes) -> None:
        """Look the name up again before it is used again."""

    def forget_attributes(self, inode: Inode) -> None:
        """Ask for the attributes again."""

    def forget_pages(self, inodes: Iterable[Inode]) -> None:
        """Ask for attributes and bytes of files again: those of an overlay were taken back."""


class PyfuseKernel:
    """The kernel behind pyfuse3. What it does not know needs no forgetting."""

    def forget_entry(self, parent: Inode, name: bytes) -> None:
        """Look the name up again before it is used again."""
        try:
            pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise

    def forget_attributes(self, inode: Inode) -> None:
        """Ask for the attributes again."""
        try:
            pyfuse3.invalidate_inode(pyfuse3.InodeT(inode), attr_only=True)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise

    def forget_pages(self, inodes: Iterable[Inode]) -> None:
        """Ask for attributes and bytes of files again: those of an overlay were taken back."""
        for inode in inodes:
            with contextlib.suppress(FileNotFoundError):
                pyfuse3.invalidate_inode(pyfuse3.InodeT(inode), attr_only=False)


class Mover:
    """Moves one mount. Used from its trio loop.

    Attributes:
        shown: what is mounted now; tells who listens.
        kernel: who is told.
    """

    def __init__(self, stack: Stack, operations: Operations) -> None:
        """Move what `operations` serves; it shows the root of `stack`."""
        self.shown = Shown(stack.facts)
        self.kernel: Kernel = PyfuseKernel()
        self._stack = stack
        self._operations = operations
        self._turn = trio.Lock()
        self._notices = trio.CapacityLimiter(1)

    async def move(self, revision: Revision, typed: str | None) -> Facts:
        """Move this mount to the commit of `revision`, and return what it shows then.

        When it returns, whatever opens or lists anything sees the new commit. One move at a time;
        others wait. Cancelling it before the flip leaves everything as it was; after it the kernel
        is told all the same.

        Args:
            revision: the commit, and the branch that it is mounted as (None: as a commit).
            typed: what `Facts.revision` is to say, an address's part behind the `@`.

        Raises:
            OxenfsError: the new tree could not be had; the mount is where it was.
        """
        async with self._turn:
            old = self.shown.facts
            # Given up on where the caller is cancelled: each remote call has a deadline.
            view = await trio.to_thread.run_sync(
                self._stack.at, revision, typed, abandon_on_cancel=True
            )
            facts = view.facts
            if view.root.key == self._operations.inodes.root.key:
                return facts
            await self._stack.learn(old.commit, view)
            await self.show(view.root, Usage(facts.size_bytes, facts.files), facts)
            was, now = hash_text(old.commit.id)[:10], hash_text(facts.commit.id)[:10]
            log.info("moved from %s to %s (%s)", was, now, facts.branch or "no branch")
            return facts

    async def show(self, root: Directory, usage: Usage, facts: Facts) -> None:
        """Put `root` in the place of the root; see the module. Whoever calls sees to turns."""
        operations = self._operations
        changes = await find_changes(operations.inodes, root)
        # No await from here to the notices.
        operations.inodes.move(root, changes.directories, changes.hidden)
        operations.usage = usage
        self.shown.change(facts)
        await self.tell(changes.names, changes.touched)

    async def checkout(self, rev: str | None, new_branch: str | None) -> Facts:
        """Move to `rev` (None: stay), as the branch `new_branch` if one is to be made there."""
        facts = self.shown.facts
        if self._stack.revisions is not None:
            raise UsageError("this mount shows all revisions at once, below branches/ and commits/")
        if rev is None:
            revision = Revision(facts.commit, facts.branch)
        else:
            revision = await _ask(partial(self._stack.resolve, rev))
        typed = rev
        if new_branch is not None:
            await _ask(partial(self._stack.make_branch, new_branch, revision.commit))
            revision, typed = Revision(revision.commit, new_branch), new_branch
        return await self.move(revision, typed)

    async def pull(self) -> Facts:
        """Move to where the branch is now, or all branches are.

        Raises:
            UsageError: a commit is mounted, not a branch.
            NotFound: the branch is gone; the mount stays.
        """
        facts = self.shown.facts
        if self._stack.revisions is not None:
            return await self._look_at_branches()
        if facts.branch is None:
            raise UsageError(
                f"commit {hash_text(facts.commit.id)[:10]} is mounted, which never moves; "
                "oxenfs checkout BRANCH first"
            )
        revision = await _ask(partial(self._stack.head, facts.branch))
        if revision.commit.id == facts.commit.id:
            return facts
        return await self.move(revision, facts.revision)

    async def _look_at_branches(self) -> Facts:
        async with self._turn:
            old = self.shown.facts
            view = await _ask(partial(self._stack.all_revisions))
            if view.root.key != self._operations.inodes.root.key:
                await self._stack.learn(old.commit, view)
                facts = view.facts
                await self.show(view.root, Usage(facts.size_bytes, facts.files), facts)
                log.info("branches have moved")
            return self.shown.facts

    async def follow(self, every_s: float) -> None:
        """Pull every so often, for ever. A failure is one line in the log until it works again."""
        failing = ""
        while True:
            await trio.sleep(every_s)
            try:
                await self.pull()
                failing = ""
            except OxenfsError as exc:
                if str(exc) != failing:
                    log.warning("cannot follow the branch: %s", exc)
                failing = str(exc)

    def commands(self) -> dict[str, Command]:
        """Return the commands for the control socket."""

        async def checkout(request: Mapping[str, Any], send: Send) -> Any:
            before = self.shown.facts
            after = await self.checkout(_text(request, "rev"), _text(request, "new_branch"))
            return _report(before, after)

        async def pull(request: Mapping[str, Any], send: Send) -> Any:
            before = self.shown.facts
            return _report(before, await self.pull())

        # Each of their remote calls has a deadline.
        return {"checkout": Command(checkout, math.inf), "pull": Command(pull, math.inf)}

    async def tell(self, names: list[tuple[Inode, bytes]], touched: list[Inode]) -> None:
        """Let the kernel forget entries and attributes; returns when it has."""
        nursery = self._operations.nursery
        done = trio.Event()
        stop = threading.Event()

        async def tell() -> None:
            try:
                await trio.to_thread.run_sync(
                    partial(_notify, self.kernel, names, touched, stop),
                    abandon_on_cancel=True,
                    limiter=self._notices,
                )
            finally:
                stop.set()
                done.set()

        if nursery is None:
            await tell()
            return
        # In the mount's nursery: whoever asked for the move may be gone, the kernel must know.
        nursery.start_soon(tell)
        await done.wait()


def _notify(
    kernel: Kernel,
    names: Iterable[tuple[Inode, bytes]],
    touched: Iterable[Inode],
    stop: threading.Event,
) -> None:
    try:
        for parent, name in names:
            if stop.is_set():
                return
            kernel.forget_entry(parent, name)
        for inode in touched:
            if stop.is_set():
                return
            kernel.forget_attributes(inode)
    except OSError as exc:
        log.error("the kernel may show old names: %s", exc.strerror)


async def _ask(question: partial[Any]) -> Any:
    return await trio.to_thread.run_sync(question, abandon_on_cancel=True)


def _text(request: Mapping[str, Any], key: str) -> str | None:
    value = request.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{key} is a text")
    return value


def _report(before: Facts, after: Facts) -> dict[str, Any]:
    return {
        "before": hash_text(before.commit.id),
        "commit": hash_text(after.commit.id),
        "branch": after.branch,
        "revision": after.revision,
    }
