"""A commit's tree and the changes on top of it as one: what is asynchronous about an overlay.

Changes are in `oxenfs.overlay.upper`, by number; what is untouched is the lower directory's, by its
path. Promoting gives something untouched a number; nothing that is seen changes with it.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from typing import Protocol

import trio

from oxenfs.errors import NotADirectory, NotFound
from oxenfs.overlay.nodes import DIRECTORY_MODE, FILE_MODE, Nid, Node
from oxenfs.overlay.standing import now_ns
from oxenfs.overlay.upper import Upper
from oxenfs.store.columns import Listing
from oxenfs.views.base import Directory, File, Reader, lookup
from oxenfs.views.base import Node as LowerNode
from oxenfs.views.overlay_file import OpenFile

_DIRECTORIES_KEPT = 1024


class Watcher(Protocol):
    """Who wants to know what changes. Its methods wait for nothing."""

    def moved(self) -> None:
        """Take note that the lower tree is another one."""

    def renamed(self, name: bytes, *, known: bool = False) -> None:
        """Take note that a name has come, or gone; `known`: a folder's, or one of the commit's."""

    def opened(self, nid: Nid) -> None:
        """Take note that a file is open for writing, until as many calls of `closed`."""

    def closed(self, nid: Nid) -> None:
        """Take note that somebody does not write to a file any more."""

    def written(self, nid: Nid) -> None:
        """Take note that size or times of a file were set."""


class Overlay:
    """An upper layer over a lower directory. Used from one trio loop.

    Attributes:
        upper: the changes.
        watcher: who is told of changes.
    """

    def __init__(self, upper: Upper, lower: Directory, uid: int, gid: int) -> None:
        """Show `upper` over `lower`; what is only in the latter belongs to `uid` and `gid`."""
        self.upper = upper
        self._lower = lower
        self._owner = (uid, gid)
        self._directories: OrderedDict[bytes, Directory] = OrderedDict()
        self._open: dict[Nid, OpenFile] = {}
        self.watcher: Watcher | None = None

    def move(self, lower: Directory) -> None:
        """Stand on another lower directory from now on."""
        self._lower = lower
        self._directories.clear()
        if self.watcher is not None:
            self.watcher.moved()

    async def lower_node(self, path: bytes) -> LowerNode:
        """Return what the lower tree has at `path`; raise `NotFound`."""
        if not path:
            return self._lower
        parent, _, name = path.rpartition(b"/")
        return await lookup(await self.lower_directory(parent), name)

    async def lower_directory(self, path: bytes) -> Directory:
        """Return the directory of the lower tree at `path`; raise `NotFound`."""
        if not path:
            return self._lower
        found = self._directories.get(path)
        if found is not None:
            self._directories.move_to_end(path)
            return found
        node = await self.lower_node(path)
        if not isinstance(node, Directory):
            raise NotADirectory(f"{path!r} is a file")
        self._directories[path] = node
        if len(self._directories) > _DIRECTORIES_KEPT:
            self._directories.popitem(last=False)
        return node

    async def below(self, folder: Nid) -> Listing | None:
        """Return the listing that shines through a folder, None if there is none."""
        origin = self.upper.node(folder).origin
        return None if origin is None else await (await self.lower_directory(origin)).listing()

    async def count_below(self, folder: Nid) -> int:
        """Return how many entries the origin of a folder has."""
        listing = await self.below(folder)
        return 0 if listing is None else listing.count

    async def covers(self, folder: Nid, name: bytes) -> bool:
        """Return whether the origin of a folder has an entry of that name."""
        listing = await self.below(folder)
        return listing is not None and listing.find(name) >= 0

    async def promote(self, parent: Nid, path: bytes) -> Nid:
        """Give what the lower tree has at `path` a number, below its folder's; return it."""
        node = await self.lower_node(path)
        facts = await node.stat()
        nlink = 1
        if isinstance(node, Directory):
            listing = await node.listing()
            nlink = 2 + bytes(listing.kinds).count(0)
        # No await from here on: somebody else may have promoted it meanwhile.
        found = self.upper.of_origin(path)
        if found is not None:
            return found
        uid, gid = self._owner
        mode = DIRECTORY_MODE if facts.directory else FILE_MODE
        time_ns = facts.mtime_ns
        made = Node(mode, uid, gid, nlink, facts.size, time_ns, time_ns, time_ns, origin=path)
        return self.upper.promote(parent, path.rpartition(b"/")[2], made)

    def make_node(self, mode: int, parent: Nid, uid: int, gid: int) -> Node:
        """Return a new node for `parent`, without a name yet."""
        folder = self.upper.node(parent)
        if folder.mode & stat.S_ISGID:
            gid = folder.gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        now = now_ns()
        return Node(mode, uid, gid, 2 if stat.S_ISDIR(mode) else 1, 0, now, now, now)

    def changed_name(self, name: bytes, *, known: bool = False) -> None:
        """Take note that a name has come, or gone; `known`: a folder's, or one of the commit's."""
        if self.watcher is not None:
            self.watcher.renamed(name, known=known)

    def begin_writing(self, nid: Nid) -> None:
        """Take note that a file is open for writing, until `end_writing`."""
        if self.watcher is not None:
            self.watcher.opened(nid)

    def end_writing(self, nid: Nid) -> None:
        """Undo one `begin_writing`."""
        if self.watcher is not None:
            self.watcher.closed(nid)

    def wrote(self, nid: Nid) -> None:
        """Take note that size or times of a file were set."""
        if self.watcher is not None:
            self.watcher.written(nid)

    async def open(self, nid: Nid) -> OpenFile:
        """Return the open file of a node, which all who open it share; `close` it as often."""
        found = self._open.get(nid)
        if found is None:
            found = self._open[nid] = OpenFile(self.upper, nid, self._reader, self._forget)
        found.users += 1
        return found

    def create(self, parent: Nid, name: bytes, node: Node, *, covers: bool) -> tuple[Nid, OpenFile]:
        """Make a file; return its number, and it open."""
        nid, fd = self.upper.create(parent, name, node, covers=covers)
        file = self._open[nid] = OpenFile(self.upper, nid, self._reader, self._forget, fd)
        file.users = 1
        return nid, file

    def opened(self, nid: Nid) -> OpenFile | None:
        """Return the open file of a node, None if nobody has it open."""
        return self._open.get(nid)

    async def sync(self) -> None:
        """Wait until all names and attributes survive a power cut."""
        await trio.to_thread.run_sync(self.upper.sync)

    @staticmethod
    def now_ns() -> int:
        """Return the time as files get it."""
        return now_ns()

    async def _reader(self, path: bytes) -> Reader:
        node = await self.lower_node(path)
        if not isinstance(node, File):
            raise NotFound(f"{path!r} is no file any more")
        return await node.open()

    def _forget(self, nid: Nid) -> None:
        del self._open[nid]
