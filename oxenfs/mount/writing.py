"""The handlers of a mount that takes changes: attributes and bytes; names are in `naming`."""

from __future__ import annotations

import errno
import os
import stat

import pyfuse3

from oxenfs.errors import IsADirectory, NotPermitted, OxenfsError
from oxenfs.mount.blocks import Inode
from oxenfs.mount.handles import UnknownHandle
from oxenfs.mount.looking import changing
from oxenfs.mount.naming import NamingOperations
from oxenfs.mount.operations import OpenedFile
from oxenfs.mount.reasons import ERROR_XATTR, guarded
from oxenfs.overlay.nodes import Nid, Node
from oxenfs.views.overlay_file import OpenFile

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
_OURS = b"user.oxen"


class WritingOperations(NamingOperations):
    """The kernel's view of an overlay."""

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
        if fields.update_size or fields.update_mtime:
            self.overlay.wrote(nid)
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
            writing = bool(flags & _WRITING)
            if writing:
                self.overlay.begin_writing(nid)
            if flags & os.O_TRUNC:
                try:
                    await file.truncate(0)
                except BaseException:
                    file.close()
                    self.overlay.end_writing(nid)
                    raise
        fh = self._files.add(OpenedFile(inode, file, writing))
        return pyfuse3.FileInfo(fh=fh, keep_cache=True)

    @guarded
    async def release(self, fh: int) -> None:
        """Close a file."""
        file = self._files.pop(fh)
        file.reader.close()
        if isinstance(file.reader, OpenFile):
            if file.writing:
                self.overlay.end_writing(file.reader.nid)
        else:
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

    async def _own_xattrs(self, nid: Nid, inode: Inode) -> dict[bytes, bytes]:
        found = dict(self._upper.xattrs(nid))
        node = self._upper.node(nid)
        # What has bytes of its own is nothing that a commit could tell about.
        if node.origin is not None and not node.data and not self._upper.is_gone(nid):
            lower = await self.overlay.lower_node(node.origin)
            found.update((key.encode(), value) for key, value in (await lower.xattrs()).items())
        last = self.reasons.last(inode)
        if last is not None:
            found[ERROR_XATTR.encode()] = last
        return found

    @staticmethod
    def _check_xattr(name: bytes) -> None:
        if name.startswith((_OURS + b".", _OURS + b"fs.")):
            raise NotPermitted("that attribute is the mount's own")
        if not name.startswith((b"user.", b"trusted.")):
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)

    @staticmethod
    def _answer(exc: OxenfsError) -> pyfuse3.FUSEError:
        from oxenfs.mount.errno import errno_of

        return pyfuse3.FUSEError(errno_of(exc) or errno.EIO)
