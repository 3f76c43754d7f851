"""The handlers of a mount that takes changes.

What is untouched is answered by the read-only handlers, on their fast path. A handler that changes
something first promotes what it needs, which may wait for listings, and then decides and acts
without waiting. All of them pass the gate, which is closed while the commit below is exchanged.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3

from oxenfs.errors import (
    Exists,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    OxenfsError,
)
from oxenfs.model import NAME_BYTES_MAX
from oxenfs.mount.gate import Gate
from oxenfs.mount.handles import UnknownHandle
from oxenfs.mount.inodes import Inode
from oxenfs.mount.merged import MergedListing
from oxenfs.mount.operations import OpenedFile, Operations, Usage, guarded
from oxenfs.mount.overlaid import OverlayInodes
from oxenfs.overlay.nodes import Nid, Node
from oxenfs.store.columns import Listing
from oxenfs.views.base import Directory
from oxenfs.views.overlay import Overlay
from oxenfs.views.overlay_file import OpenFile

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W", bound="WritingOperations")

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
_TARGET_BYTES_MAX = 4095
_OURS = b"user.oxen"


def changing(
    handler: Callable[Concatenate[W, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[W, P], Coroutine[Any, Any, R]]:
    """Let a handler pass the gate, and answer what it raises, as `guarded` does."""

    @functools.wraps(handler)
    async def wrapped(self: W, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with self.gate:
            return await handler(self, *args, **kwargs)

    return guarded(wrapped)


class WritingOperations(Operations):
    """The kernel's view of an overlay.

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

    def close(self) -> None:
        """Close what programs left open, and the overlay."""
        super().close()
        self._upper.close()

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
                reply = self._reply_row(listing.inode(row), listing.below, row)
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

    # --- names

    @changing
    async def create(
        self, parent_inode: Inode, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file and open it."""
        parent = await self._folder(parent_inode, name)
        covers = await self._free(parent, name)
        node = self.overlay.make_node(stat.S_IFREG | stat.S_IMODE(mode), parent, ctx.uid, ctx.gid)
        nid, file = self.overlay.create(parent, name, node, covers=covers)
        fh = self._files.add(OpenedFile(self.nodes.inode(nid), file))
        return pyfuse3.FileInfo(fh=fh, keep_cache=True), self._reply_node(nid)

    @changing
    async def mknod(
        self, parent_inode: Inode, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a file or a special file."""
        return self._reply_node(await self._make(parent_inode, name, mode, ctx, rdev=rdev))

    @changing
    async def mkdir(
        self, parent_inode: Inode, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a folder."""
        made = stat.S_IFDIR | stat.S_IMODE(mode)
        return self._reply_node(await self._make(parent_inode, name, made, ctx))

    @changing
    async def symlink(
        self, parent_inode: Inode, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a symlink."""
        if len(target) > _TARGET_BYTES_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        made = stat.S_IFLNK | 0o777
        return self._reply_node(await self._make(parent_inode, name, made, ctx, target=target))

    @changing
    async def link(
        self, inode: Inode, new_parent_inode: Inode, new_name: bytes, ctx: object = None
    ) -> pyfuse3.EntryAttributes:
        """Give a file one more name."""
        parent = await self._folder(new_parent_inode, new_name)
        nid = await self.nodes.promoted(inode)
        if self._upper.node(nid).is_directory:
            raise NotPermitted("folders have one name")
        covers = await self._free(parent, new_name)
        self._upper.link(nid, parent, new_name, covers=covers)
        return self._reply_node(nid)

    @changing
    async def unlink(self, parent_inode: Inode, name: bytes, ctx: object = None) -> None:
        """Take a name from a file."""
        parent = await self.nodes.promoted(parent_inode)
        listing = await self.overlay.below(parent)
        if self._upper.entry(parent, name) is None:
            row = self._lower_row(listing, name)
            assert listing is not None
            if listing.is_directory(row):
                raise IsADirectory(f"{name!r} is a folder")
            inode = self.nodes.row(await self.nodes.lower(parent), listing, row)
            if inode in self._reading:
                self._unlinked.add(inode)
        elif self._upper.node(self._existing(parent, name)).is_directory:
            raise IsADirectory(f"{name!r} is a folder")
        self._upper.remove(parent, name, covers=listing is not None and listing.find(name) >= 0)

    @changing
    async def rmdir(self, parent_inode: Inode, name: bytes, ctx: object = None) -> None:
        """Remove an empty folder."""
        parent = await self.nodes.promoted(parent_inode)
        if self._upper.entry(parent, name) is None:
            listing = await self.overlay.below(parent)
            row = self._lower_row(listing, name)
            assert listing is not None
            if not listing.is_directory(row):
                raise NotADirectory(f"{name!r} is a file")
            path = self._origin(parent, name)
            if (await (await self.overlay.lower_directory(path)).listing()).count:
                raise NotEmpty("the folder has entries")
            # With a number, for those who still stand in it.
            await self.nodes.child(parent, name)
        nid = self._existing(parent, name)
        if not self._upper.node(nid).is_directory:
            raise NotADirectory(f"{name!r} is a file")
        below = await self.overlay.count_below(nid)
        covers = await self.overlay.covers(parent, name)
        self._upper.remove(parent, name, covers=covers, below=below)

    @changing
    async def rename(
        self,
        parent_inode_old: Inode,
        name_old: bytes,
        parent_inode_new: Inode,
        name_new: bytes,
        flags: int,
        ctx: object = None,
    ) -> None:
        """Move a name, or let two change places."""
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise pyfuse3.FUSEError(errno.EINVAL)
        old = await self.nodes.promoted(parent_inode_old)
        new = await self._folder(parent_inode_new, name_new)
        moved = await self.nodes.child(old, name_old)
        if flags & pyfuse3.RENAME_EXCHANGE:
            await self.nodes.child(new, name_new)
            self._upper.exchange(old, name_old, new, name_new)
            return
        listing = await self.overlay.below(new)
        row = -1 if listing is None else listing.find(name_new)
        entry = self._upper.entry(new, name_new)
        seen = not entry.is_whiteout if entry is not None else row >= 0
        if seen and flags & pyfuse3.RENAME_NOREPLACE:
            raise Exists(f"{name_new!r} exists")
        below = 0
        if seen:
            below = await self._replaceable(new, name_new, moved, listing, row)
        self._upper.rename(old, name_old, new, name_new, covers=row >= 0, below=below)

    async def _replaceable(
        self, parent: Nid, name: bytes, moved: Nid, listing: Listing | None, row: int
    ) -> int:
        """Check that `moved` may take a name's place; return how many entries lie below that."""
        folder = self._upper.node(moved).is_directory
        entry = self._upper.entry(parent, name)
        if entry is None:
            assert listing is not None
            if not listing.is_directory(row):
                if folder:
                    raise NotADirectory(f"{name!r} is a file")
                inode = self.nodes.row(await self.nodes.lower(parent), listing, row)
                if inode in self._reading:
                    self._unlinked.add(inode)
                return 0
            nid = await self.nodes.child(parent, name)
        else:
            nid = entry.nid
        there = self._upper.node(nid).is_directory
        if there != folder:
            raise IsADirectory(f"{name!r}") if there else NotADirectory(f"{name!r}")
        return await self.overlay.count_below(nid) if there else 0

    # --- attributes

    @changing
    async def setattr(
        self,
        inode: Inode,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: object = None,
    ) -> pyfuse3.EntryAttributes:
        """Change permissions, owner, times or size."""
        nid = await self.nodes.promoted(inode)
        if fields.update_size:
            if not self._upper.node(nid).is_file:
                raise IsADirectory("only files have a size")
            file = await self.overlay.open(nid)
            try:
                await file.truncate(attr.st_size)
            finally:
                file.close()
        node = self._upper.node(nid)
        # A file's type stays, whatever is asked for.
        if fields.update_mode:
            mode = stat.S_IFMT(node.mode) | stat.S_IMODE(attr.st_mode)
            node = node._replace(mode=mode)
        if fields.update_uid:
            node = node._replace(uid=attr.st_uid)
        if fields.update_gid:
            node = node._replace(gid=attr.st_gid)
        if fields.update_atime:
            node = node._replace(atime_ns=attr.st_atime_ns)
        if fields.update_mtime:
            node = node._replace(mtime_ns=attr.st_mtime_ns)
        if fields.update_atime or fields.update_mtime:
            self._set_times(nid, node, atime=fields.update_atime, mtime=fields.update_mtime)
        if node != self._upper.node(nid) or fields.update_ctime:
            ctime_ns = attr.st_ctime_ns if fields.update_ctime else self.overlay.now_ns()
            self._upper.set_node(nid, node._replace(ctime_ns=ctime_ns))
        return self._reply_node(nid)

    def _set_times(self, nid: Nid, node: Node, *, atime: bool, mtime: bool) -> None:
        if not node.data:
            return
        opened = self.overlay.opened(nid)
        facts = opened.facts() if opened is not None else self._upper.files.stat(node.data)
        if facts is None:
            return
        atime_ns = node.atime_ns if atime else facts.st_atime_ns
        mtime_ns = node.mtime_ns if mtime else facts.st_mtime_ns
        if opened is None or not opened.set_times(atime_ns, mtime_ns):
            os.utime(self._upper.files.path(node.data), ns=(atime_ns, mtime_ns))

    @guarded
    async def getxattr(self, inode: Inode, name: bytes, ctx: object = None) -> bytes:
        """Return one extended attribute."""
        # The kernel asks for `security.capability` before each write.
        if name.startswith((b"security.", b"system.")):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        nid = self.nodes.nid(inode)
        if nid is None:
            return await super().getxattr(inode, name)
        value = (await self._own_xattrs(nid, inode)).get(name)
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @guarded
    async def listxattr(self, inode: Inode, ctx: object = None) -> list[bytes]:
        """Return the names of the extended attributes."""
        nid = self.nodes.nid(inode)
        if nid is None:
            return await super().listxattr(inode)
        return list(await self._own_xattrs(nid, inode))

    @changing
    async def setxattr(self, inode: Inode, name: bytes, value: bytes, ctx: object = None) -> None:
        """Set an extended attribute."""
        self._check_xattr(name)
        self._upper.set_xattr(await self.nodes.promoted(inode), name, bytes(value))

    @changing
    async def removexattr(self, inode: Inode, name: bytes, ctx: object = None) -> None:
        """Remove an extended attribute."""
        self._check_xattr(name)
        nid = self.nodes.nid(inode)
        if nid is None or name not in self._upper.xattrs(nid):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        self._upper.set_xattr(nid, name, None)

    # --- bytes

    @guarded
    async def open(self, inode: Inode, flags: int, ctx: object = None) -> pyfuse3.FileInfo:
        """Open a file."""
        nid = self.nodes.nid(inode)
        if nid is None and not flags & _WRITING:
            info = await super().open(inode, flags)
            self._reading[inode] = self._reading.get(inode, 0) + 1
            return info
        async with self.gate:
            nid = await self._promoted_file(inode)
            file = await self.overlay.open(nid)
            if flags & os.O_TRUNC:
                try:
                    await file.truncate(0)
                except BaseException:
                    file.close()
                    raise
        return pyfuse3.FileInfo(fh=self._files.add(OpenedFile(inode, file)), keep_cache=True)

    @guarded
    async def release(self, fh: int) -> None:
        """Close a file."""
        file = self._files.pop(fh)
        file.reader.close()
        if not isinstance(file.reader, OpenFile):
            left = self._reading.get(file.inode, 1) - 1
            if left:
                self._reading[file.inode] = left
            else:
                self._reading.pop(file.inode, None)
                self._unlinked.discard(file.inode)

    @guarded
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Write to an open file."""
        file = self._files.get(fh)
        if not isinstance(file.reader, OpenFile):
            raise UnknownHandle(f"handle {fh} is open for reading only")
        async with self.gate:
            try:
                return await file.reader.write(off, buf)
            except OxenfsError as exc:
                raise self._answer(exc) from exc

    @guarded
    async def fsync(self, fh: int, datasync: bool) -> None:
        """Wait until a file survives a power cut."""
        reader = self._files.get(fh).reader
        if isinstance(reader, OpenFile):
            await reader.sync()

    @guarded
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Wait until the names in a folder survive a power cut."""
        await self.overlay.sync()

    # --- inside

    async def _make(
        self,
        parent_inode: Inode,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Nid:
        parent = await self._folder(parent_inode, name)
        covers = await self._free(parent, name)
        node = self.overlay.make_node(mode, parent, ctx.uid, ctx.gid)
        node = node._replace(rdev=rdev, target=target, size=len(target))
        return self._upper.make(parent, name, node, covers=covers)

    async def _folder(self, inode: Inode, name: bytes) -> Nid:
        """Return the folder that `name` is to be made in."""
        if len(name) > NAME_BYTES_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        nid = await self.nodes.promoted(inode)
        if self._upper.is_gone(nid):
            raise NotFound("the folder has been removed")
        return nid

    async def _free(self, parent: Nid, name: bytes) -> bool:
        """Check that a name is free; return whether it covers one of the commit."""
        listing = await self.overlay.below(parent)
        covers = listing is not None and listing.find(name) >= 0
        entry = self._upper.entry(parent, name)
        if covers if entry is None else not entry.is_whiteout:
            raise Exists(f"{name!r} exists")
        if parent == 1 and not covers and entry is None and await self._is_hidden(name):
            raise Exists(f"{name!r} is made by the mount")
        return covers

    async def _is_hidden(self, name: bytes) -> bool:
        try:
            await (await self.overlay.lower_directory(b"")).unlisted(name)
        except NotFound:
            return False
        return True

    async def _promoted_file(self, inode: Inode) -> Nid:
        nid = await self.nodes.promoted(inode)
        if self._upper.node(nid).is_directory:
            raise IsADirectory(f"inode {inode} is a folder")
        if inode in self._reading:
            await self._redirect(inode, nid)
        return nid

    async def _redirect(self, inode: Inode, nid: Nid) -> None:
        """Let those who read a lower file see what is written to it from now on."""
        for fh, file in self._files.items():
            if file.inode == inode and not isinstance(file.reader, OpenFile):
                file.reader.close()
                self._files.replace(fh, OpenedFile(inode, await self.overlay.open(nid)))
        self._reading.pop(inode, None)
        self._unlinked.discard(inode)

    async def _merge(self, nid: Nid) -> MergedListing:
        if self._upper.is_gone(nid):
            return MergedListing(nid, [], None, None)
        below, numbers = await self.overlay.below(nid), None
        if below is not None:
            numbers = self.inodes.children(await self.nodes.lower(nid), below)
        return MergedListing(nid, self._upper.entries(nid), below, numbers)

    def _existing(self, parent: Nid, name: bytes) -> Nid:
        entry = self._upper.entry(parent, name)
        if entry is None or entry.is_whiteout:
            raise NotFound(f"no {name!r}")
        return entry.nid

    def _origin(self, parent: Nid, name: bytes) -> bytes:
        origin = self._upper.node(parent).origin
        assert origin is not None
        return origin + b"/" + name if origin else name

    @staticmethod
    def _lower_row(listing: Listing | None, name: bytes) -> int:
        row = -1 if listing is None else listing.find(name)
        if row < 0:
            raise NotFound(f"no {name!r}")
        return row

    async def _own_xattrs(self, nid: Nid, inode: Inode) -> dict[bytes, bytes]:
        found = dict(self._upper.xattrs(nid))
        node = self._upper.node(nid)
        # What has bytes of its own is nothing that a commit could tell about.
        if node.origin is not None and not node.data and not self._upper.is_gone(nid):
            lower = await self.overlay.lower_node(node.origin)
            found.update((key.encode(), value) for key, value in (await lower.xattrs()).items())
        if inode in self._errors:
            found[b"user.oxenfs.error"] = self._errors[inode].encode()
        return found

    @staticmethod
    def _check_xattr(name: bytes) -> None:
        if name.startswith((_OURS + b".", _OURS + b"fs.")):
            raise NotPermitted("that attribute is the mount's own")
        if not name.startswith((b"user.", b"trusted.")):
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)

    def _reply_node(self, nid: Nid) -> pyfuse3.EntryAttributes:
        node = self._upper.node(nid)
        entry = self._node_entry
        entry.entry_timeout = entry.attr_timeout = self.forever_s
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

    @staticmethod
    def _answer(exc: OxenfsError) -> pyfuse3.FUSEError:
        from oxenfs.mount.errno import errno_of

        return pyfuse3.FUSEError(errno_of(exc) or errno.EIO)
