"""The pyfuse3 handlers: each finds its node and asks it; nothing else is known here.

An exception that left a handler would end the whole mount: each is wrapped in `guarded`. What the
kernel was told holds for ever inside a commit, so replies carry no time limit unless a node says
so. When the mount moves (`oxenfs.mount.moving`), what changed is taken back from the kernel: a
reply is made of one generation, with no await behind the last look at it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pyfuse3

from oxenfs.errors import IsADirectory, OxenfsError, ReadOnly
from oxenfs.model import NAME_BYTES_MAX, Kind
from oxenfs.mount.blocks import Inode
from oxenfs.mount.failed_reads import FailedReads
from oxenfs.mount.handles import Handles
from oxenfs.mount.inodes import Inodes
from oxenfs.mount.numbers import Numbers
from oxenfs.mount.pages import Pages
from oxenfs.mount.reasons import ERROR_XATTR, Reasons, guarded
from oxenfs.mount.replies import BLOCK_BYTES, FOREVER_S, Replies
from oxenfs.store.columns import Listing
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.remote_readers import SmallReader
from oxenfs.views.base import Buffer, Directory, File, Reader

if TYPE_CHECKING:
    import trio

_ROWS_AT_ONCE = 256
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class Usage(NamedTuple):
    """What `df` shows: the whole mount is full, as on any read-only medium."""

    size_bytes: int
    files: int


class OpenedFile(NamedTuple):
    """What a file handle stands for; `writing` says whether it was opened for that."""

    inode: Inode
    reader: Reader
    writing: bool = False


class _OpenDirectory(NamedTuple):
    inode: Inode
    listing: Listing
    numbers: Numbers
    generation: int


class Operations(pyfuse3.Operations):
    """The kernel's view of one root directory.

    Attributes:
        inodes: which number is which node.
        reasons: why something failed last.
        usage: what `df` shows.
        nursery: the daemon's; None where there is none.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False
    directory_mode = stat.S_IFDIR | 0o555
    file_mode = stat.S_IFREG | 0o444

    def __init__(
        self,
        root: Directory,
        usage: Usage,
        background: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve `root`; `on_ready` is called when the kernel has said hello.

        `usage` is what `df` shows; `background` runs beside, in the daemon's nursery.
        """
        super().__init__()
        self.on_ready: Callable[[], None] = lambda: None
        self.inodes = Inodes(root)
        self.reasons = Reasons(self.inodes)
        self.usage = usage
        self.nursery: trio.Nursery | None = None
        self._pages: Pages | None = None
        self._beside = [] if background is None else [background]
        self._files: Handles[OpenedFile] = Handles()
        self._directories: Handles[_OpenDirectory] = Handles()
        self._failed = FailedReads()
        self._replies = Replies(self.directory_mode, self.file_mode)

    def init(self) -> None:
        """Say that the mount answers."""
        self.on_ready()

    def attach(self, nursery: trio.Nursery) -> None:
        """Take the daemon's nursery, for what runs in the background."""
        self.nursery = nursery
        for task in self._beside:
            nursery.start_soon(task)

    def run_beside(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run `task` too, in the daemon's nursery. Before `attach`."""
        self._beside.append(task)

    def give_ahead(self, blobs: RemoteBlobs) -> None:
        """Give the kernel what `blobs` reads ahead. For trees whose files never change."""
        self._pages = Pages()
        blobs.ahead.tell(self._pages.give)

    def detach(self) -> None:
        """Let go of the kernel, of which the session is about to end. Blocks up to a second."""
        if self._pages is not None:
            self._pages.close()

    def close(self) -> None:
        """Close what programs left open."""
        for file in self._files.drain():
            file.reader.close()

    @guarded
    async def lookup(
        self, parent_inode: Inode, name: bytes, ctx: object = None
    ) -> pyfuse3.EntryAttributes:
        """Find a name in a directory."""
        while True:
            generation = self.inodes.generation
            directory = await self.inodes.directory(parent_inode)
            if not directory.by_name:
                directory.expect(name)
                directory, listing, numbers = await self.inodes.look(parent_inode)
                row = listing.find(name)
                if row >= 0:
                    return self._replies.of_row(numbers.inode(row), listing, row)
            if len(name) > NAME_BYTES_MAX:  # the kernel lets up to 1024 through
                raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
            node = await directory.unlisted(name)
            attributes = await node.stat()
            if generation == self.inodes.generation:
                return self._replies.of_node(
                    self.inodes.unlisted(parent_inode, name, node), attributes
                )

    @guarded
    async def getattr(self, inode: Inode, ctx: object = None) -> pyfuse3.EntryAttributes:
        """Return a node's attributes."""
        while True:
            generation = self.inodes.generation
            attributes = await (await self.inodes.node(inode)).stat()
            if generation == self.inodes.generation:
                return self._replies.of_node(inode, attributes)

    @guarded
    async def opendir(self, inode: Inode, ctx: object = None) -> int:
        """Take the listing as it is now; the handle shows nothing else until it is closed."""
        _, listing, numbers = await self.inodes.look(inode)
        opened = _OpenDirectory(inode, listing, numbers, self.inodes.generation)
        return self._directories.add(opened)

    @guarded
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """Reply with entries and their attributes until the kernel's buffer is full.

        Names are cut out 256 at a time and attributes set on one object, those that are not what
        they were for the entry before: a time costs 0.16 microseconds, three of them half an entry.
        """
        _, listing, numbers, generation = self._directories.get(fh)
        reply = pyfuse3.readdir_reply
        entry, set_kind = self._replies.forever(), self._replies.set_kind
        if generation != self.inodes.generation:
            # Entries of before must not stay where the kernel looks names up from now on.
            entry.entry_timeout = entry.attr_timeout = 0
        exact = listing.exact
        mixed = not (listing.all_files or listing.all_directories)
        set_kind(entry, directory=listing.all_directories)
        last_size: int | None = None
        last_mtime: int | None = None
        for start in range(start_id, listing.count, _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, listing.count)
            row = start
            states = bytes(exact[start:stop]) if exact is not None else b""
            if states and 0 not in states:
                entry.attr_timeout, states = FOREVER_S, b""
            elif states and 1 not in states:
                entry.attr_timeout, states = 0.0, b""
            for name, inode, size, mtime, kind in zip(
                listing.names_between(start, stop),
                numbers.between(start, stop),
                listing.sizes[start:stop].tolist(),
                listing.mtimes[start:stop].tolist(),
                listing.kinds[start:stop].tolist(),
                strict=True,
            ):
                entry.st_ino = inode
                row += 1
                if mixed:
                    set_kind(entry, directory=kind == Kind.DIRECTORY)
                if size != last_size:
                    last_size = size
                    entry.st_size = size
                    entry.st_blocks = (size + 511) >> 9
                if mtime != last_mtime:
                    last_mtime = mtime
                    entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = mtime
                if states:
                    entry.attr_timeout = FOREVER_S if states[row - start - 1] else 0.0
                if not reply(token, name, entry, row):
                    return

    @guarded
    async def releasedir(self, fh: int) -> None:
        """Forget a directory handle."""
        self._directories.pop(fh)

    @guarded
    async def open(self, inode: Inode, flags: int, ctx: object = None) -> pyfuse3.FileInfo:
        """Open a file for reading."""
        if flags & _WRITING:
            raise ReadOnly("the mount is read-only")
        node = await self.inodes.node(inode)
        if not isinstance(node, File):
            raise IsADirectory(f"inode {inode} is a directory")
        reader = await node.open()
        if self._pages is not None and isinstance(reader, SmallReader) and reader.listing:
            reader.tags = await self.inodes.beside(inode, reader.listing)
        # Pages of a file stay for ever, unless its reader knows that they were wrong.
        keep_cache = getattr(reader, "keep_cache", True)
        return pyfuse3.FileInfo(
            fh=self._files.add(OpenedFile(inode, reader)), keep_cache=keep_cache
        )

    @guarded
    async def read(  # type: ignore[override]  # any buffer will do, bytes are not needed
        self, fh: int, off: int, size: int
    ) -> Buffer:
        """Read from an open file."""
        file = self._files.get(fh)
        if self._failed:
            self._failed.check(fh, off)
        try:
            return await file.reader.read(off, size)
        except OxenfsError as exc:
            await self.reasons.note(file.inode, exc)
            raise self._failed.error(fh, off, size, exc) from exc

    @guarded
    async def release(self, fh: int) -> None:
        """Close a file."""
        self._files.pop(fh).reader.close()

    def forget(self, inode_list: object) -> None:  # type: ignore[override]
        """Nothing is counted (`oxenfs.mount.inodes`): a plain function costs no coroutine."""

    @guarded
    async def getxattr(self, inode: Inode, name: bytes, ctx: object = None) -> bytes:
        """Return one extended attribute."""
        # `ls -l` asks for two of security.* and system.* per file: not worth a look at the tree.
        if not name.startswith(b"user.oxen"):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        if name == ERROR_XATTR.encode():
            value = await self.reasons.error(inode)
        else:
            value = (await self._xattrs(inode)).get(os.fsdecode(name))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    @guarded
    async def listxattr(self, inode: Inode, ctx: object = None) -> list[bytes]:
        """Return the names of the extended attributes."""
        return [name.encode() for name in await self._xattrs(inode)]

    @guarded
    async def statfs(self, ctx: object = None) -> pyfuse3.StatvfsData:
        """Say how large the commit is; asks nobody."""
        facts = pyfuse3.StatvfsData()
        facts.f_bsize = facts.f_frsize = BLOCK_BYTES
        facts.f_blocks = -(-self.usage.size_bytes // BLOCK_BYTES)
        facts.f_bfree = facts.f_bavail = 0
        facts.f_files = self.usage.files
        facts.f_ffree = facts.f_favail = 0
        facts.f_namemax = NAME_BYTES_MAX
        return facts

    async def _xattrs(self, inode: Inode) -> dict[str, bytes]:
        node = await self.inodes.node(inode)
        found = dict(await node.xattrs())
        last = self.reasons.last(inode)
        if last is not None:
            found[ERROR_XATTR] = last
        return found
