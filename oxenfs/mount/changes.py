"""What of a mount's tree changes for the kernel when another root takes its place.

Compared is only what the kernel may know: directories that were looked into and whose `key` is
another one now. Equal keys are equal subtrees, so a move costs as much as what differs, not as what
there is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import trio

from oxenfs.errors import NotFound
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.given import DirectoryChange
from oxenfs.mount.inodes import Inodes
from oxenfs.store.columns import Listing
from oxenfs.store.difference import Step, steps_between
from oxenfs.views.base import Directory, Node
from oxenfs.views.together import together

# From so many rows on a comparison is noticed by whoever reads meanwhile.
_ROWS_IN_THREAD = 20_000

_Job: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class _Pair(NamedTuple):
    """A directory as it was and as it will be."""

    inode: Inode
    old: Directory
    new: Directory


class Changes:
    """What changes. Complete when `find_changes` returns, and until the next await of the caller.

    Attributes:
        directories: whose listings change.
        hidden: unlisted nodes that are others now; None: gone.
        names: entries that the kernel must look up again: parent and name.
        touched: directories that stay, whose attributes the kernel must ask for again.
    """

    def __init__(self, inodes: Inodes, root: Directory) -> None:
        """Compare what `inodes` shows with `root`."""
        self.directories: list[DirectoryChange] = []
        self.hidden: dict[Inode, Node | None] = {}
        self.names: list[tuple[Inode, bytes]] = []
        self.touched: list[Inode] = [ROOT]
        self._inodes = inodes
        self._waiting: list[_Pair] = []
        self._compared: dict[Inode, Directory] = {}
        self._hidden_compared: set[Inode] = set()
        self._add(ROOT, inodes.root, root)

    def due(self) -> list[_Job]:
        """Return what is left to compare by now; programs may have looked into more meanwhile."""
        jobs: list[_Job] = []
        waiting, self._waiting = self._waiting, []
        for pair in waiting:
            if self._inodes.is_known(pair.inode):
                self._compared[pair.inode] = pair.new
                jobs.append(partial(self._compare, pair))
            else:
                self._waiting.append(pair)
        for parent, new in self._compared.items():
            for inode, name, node in self._inodes.hidden(parent):
                if inode not in self._hidden_compared:
                    self._hidden_compared.add(inode)
                    jobs.append(partial(self._compare_hidden, parent, new, inode, name, node))
        return jobs

    async def _compare(self, pair: _Pair) -> None:
        inode, old, new = pair
        if old.by_name and new.by_name:
            return  # all its children are hidden ones
        before, after = await old.listing(), await new.listing()
        keeps = old.rows_tell_content and new.rows_tell_content
        steps = await _steps(before, after)
        numbers = self._inodes.given.children(inode, before)
        self.directories.append(DirectoryChange(inode, before, after, steps, keeps))
        for step in steps:
            if step.same and keeps:
                continue
            for offset in range(step.length):
                was, now = step.old + offset, step.new + offset
                if step.old < 0:
                    self.names.append((inode, after.name(now)))
                elif step.new < 0 or not (before.is_directory(was) and after.is_directory(now)):
                    self.names.append((inode, before.name(was)))
                else:
                    # Not by name: a process in it would lose its way.
                    child = numbers.inode(was)
                    differs = self._add(child, old.child(before, was), new.child(after, now))
                    if differs or not step.same:
                        self.touched.append(child)

    async def _compare_hidden(
        self, parent: Inode, new: Directory, inode: Inode, name: bytes, old: Node
    ) -> None:
        found: Node | None = None
        if isinstance(old, Directory) and old.passes:
            # The kernel looks it up each time.
            self.hidden[inode] = None
            return
        if new.by_name or (await new.listing()).find(name) < 0:
            try:
                found = await new.unlisted(name)
            except NotFound:
                found = None
        if isinstance(old, Directory) and isinstance(found, Directory):
            self.hidden[inode] = found
            self.touched.append(inode)
            self._add(inode, old, found)
        elif found is not None and found.key == old.key:
            self.hidden[inode] = found
        else:
            self.hidden[inode] = None
            self.names.append((parent, name))

    def _add(self, inode: Inode, old: Node, new: Node) -> bool:
        if old.key == new.key or not isinstance(old, Directory) or not isinstance(new, Directory):
            return False
        self._waiting.append(_Pair(inode, old, new))
        return True


async def find_changes(inodes: Inodes, root: Directory) -> Changes:
    """Return what changes when `root` takes the place of the root.

    Raises:
        OxenfsError: a listing could not be had; nothing has happened.

    Use it before the next await: programs may look into more directories at any time.
    """
    changes = Changes(inodes, root)
    while jobs := changes.due():
        await together(jobs)
    return changes


async def _steps(before: Listing, after: Listing) -> list[Step]:
    if before.count + after.count < _ROWS_IN_THREAD:
        return list(steps_between(before, after))
    return await trio.to_thread.run_sync(lambda: list(steps_between(before, after)))
