"""What an overlay shows: the handlers that change nothing, and what all of them share.

What is untouched is answered by the read-only handlers, on their fast path.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3

from oxenfs.errors import NotFound
from oxenfs.model import NAME_BYTES_MAX
from oxenfs.mount.blocks import Inode
from oxenfs.mount.gate import Gate
from oxenfs.mount.merged import MergedListing
from oxenfs.mount.operations import Operations, Usage
from oxenfs.mount.overlaid import OverlayInodes
from oxenfs.mount.reasons import guarded
from oxenfs.mount.replies import FOREVER_S
from oxenfs.overlay.nodes import Nid
from oxenfs.views.base import Directory
from oxenfs.views.overlay import Overlay

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W", bound="LookingOperations")


def changing(
    handler: Callable[Concatenate[W, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[W, P], Coroutine[Any, Any, R]]:
    """Let a handler pass the gate, and answer what it raises, as `guarded` does."""

    @functools.wraps(handler)
    async def wrapped(self: W, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with self.gate:
            return await handler(self, *args, **kwargs)

    return guarded(wrapped)


class LookingOperations(Operations):
    """The kernel's view of an overlay, as far as it only looks.

    Attributes:
        gate: closed while changes must not happen.
        overlay: what is shown.
        nodes: which inode is which node of it.
    """

    directory_mode = stat.S_IFDIR | 0o755
    file_mode = stat.S_IFREG | 0o644

    def __init__(
        self,
        root: Directory,
        overlay: Overlay,
        usage: Usage,
        background: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve `overlay`, whose lower directory is `root`."""
        super().__init__(root, usage, background)
        self.gate = Gate()
        self.overlay = overlay
        self._upper = overlay.upper
        self.nodes = OverlayInodes(overlay, self.inodes)
        self._merged: dict[int, MergedListing] = {}
        # Lower files by how many handles read them: a name that goes is not the end of those.
        self._reading: dict[Inode, int] = {}
        self._unlinked: set[Inode] = set()
        self._node_entry = pyfuse3.EntryAttributes()

    def linked(self, inodes: Iterable[Inode]) -> None:
        """Note that lower files have a name again."""
        self._unlinked.difference_update(inodes)

    # --- looking

    @guarded
    async def lookup(
        self, parent_inode: Inode, name: bytes, ctx: object = None
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a folder."""
        parent = self.nodes.nid(parent_inode)
        if parent is None:
            return await super().lookup(parent_inode, name)
        if len(name) > NAME_BYTES_MAX:  # the kernel lets up to 1024 through
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        entry = self._upper.entry(parent, name)
        if entry is not None:
            if entry.is_whiteout:
                raise NotFound(f"no {name!r}")
            return self._reply_node(entry.nid)
        if self._upper.node(parent).origin is None:
            raise NotFound(f"no {name!r}")
        return await super().lookup(await self.nodes.lower(parent), name)

    @guarded
    async def getattr(self, inode: Inode, ctx: object = None) -> pyfuse3.EntryAttributes:
        """Return a node's attributes."""
        nid = self.nodes.nid(inode)
        if nid is not None:
            return self._reply_node(nid)
        reply = await super().getattr(inode)
        if inode in self._unlinked:
            reply.st_nlink = 0
        return reply

    @guarded
    async def readlink(self, inode: Inode, ctx: object = None) -> bytes:
        """Return where a symlink leads."""
        nid = self.nodes.nid(inode)
        if nid is None or not stat.S_ISLNK(self._upper.node(nid).mode):
            raise pyfuse3.FUSEError(errno.EINVAL)
        return self._upper.node(nid).target

    @guarded
    async def opendir(self, inode: Inode, ctx: object = None) -> int:
        """Take the names as they are now."""
        nid = self.nodes.nid(inode)
        if nid is None:
            return await super().opendir(inode)
        listing = await self._merge(nid)
        fh = self._directories.add(cast("Any", listing))
        self._merged[fh] = listing
        return fh

    @guarded
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """Reply with entries and their attributes until the kernel's buffer is full.

        What was removed or replaced since the names were taken is looked up again: an old entry
        would stay with the kernel for good.
        """
        listing = self._merged.get(fh)
        if listing is None:
            opened = self._directories.get(fh)
            nid = self.nodes.nid(opened.inode)
            if nid is None:
                await super().readdir(fh, start_id, token)
                return
            # Untouched when it was opened, and not any more.
            listing = self._merged[fh] = await self._merge(nid)
        elif not start_id:
            listing = self._merged[fh] = await self._merge(listing.nid)
        for position, name, own, row in listing.after(start_id):
            if own:
                entry = self._upper.entry(listing.nid, name)
                if entry is None or entry.is_whiteout:
                    continue
                reply = self._reply_node(entry.nid)
            elif self._upper.entry(listing.nid, name) is not None:
                continue
            else:
                assert listing.below is not None
                reply = self._replies.of_row(listing.inode(row), listing.below, row)
            if not pyfuse3.readdir_reply(token, cast("Any", name), reply, position):
                return

    @guarded
    async def releasedir(self, fh: int) -> None:
        """Forget a folder's handle."""
        self._merged.pop(fh, None)
        self._directories.pop(fh)

    @guarded
    async def statfs(self, ctx: object = None) -> pyfuse3.StatvfsData:
        """Say how much space there is for changes."""
        found = os.statvfs(self._upper.files.folder)
        facts = pyfuse3.StatvfsData()
        for field in ("f_bsize", "f_frsize", "f_bfree", "f_bavail", "f_ffree", "f_favail"):
            setattr(facts, field, getattr(found, field))
        facts.f_blocks = found.f_blocks + self.usage.size_bytes // max(found.f_frsize, 1)
        facts.f_files = found.f_files + self.usage.files
        facts.f_namemax = NAME_BYTES_MAX
        return facts

    # --- inside

    async def _merge(self, nid: Nid) -> MergedListing:
        if self._upper.is_gone(nid):
            return MergedListing(nid, [], None, None)
        below, numbers = await self.overlay.below(nid), None
        if below is not None:
            numbers = self.inodes.given.children(await self.nodes.lower(nid), below)
        return MergedListing(nid, self._upper.entries(nid), below, numbers)

    def _reply_node(self, nid: Nid) -> pyfuse3.EntryAttributes:
        node = self._upper.node(nid)
        entry = self._node_entry
        entry.entry_timeout = entry.attr_timeout = FOREVER_S
        entry.st_ino = self.nodes.inode(nid)
        entry.st_mode = pyfuse3.ModeT(node.mode)
        entry.st_nlink = node.nlink
        entry.st_uid = node.uid
        entry.st_gid = node.gid
        entry.st_rdev = node.rdev
        entry.st_blksize = 4096
        size, atime_ns, mtime_ns, ctime_ns = node.size, node.atime_ns, node.mtime_ns, node.ctime_ns
        if node.data:
            opened = self.overlay.opened(nid)
            facts = opened.facts() if opened is not None else self._upper.files.stat(node.data)
            if facts is None:
                size = 0
            else:
                size, atime_ns, mtime_ns = facts.st_size, facts.st_atime_ns, facts.st_mtime_ns
                ctime_ns = max(ctime_ns, facts.st_ctime_ns)
        entry.st_size = 0 if node.is_directory else size
        entry.st_blocks = (size + 511) >> 9
        entry.st_atime_ns = atime_ns
        entry.st_mtime_ns = mtime_ns
        entry.st_ctime_ns = ctime_ns
        return entry
