"""An open file of an overlay: its own bytes, and the commit's where it has none.

A file of bytes is made at the first write and grows chunk by chunk: a chunk of the lower file is
copied when a part of it is written. Bytes are in the page cache when a write returns, so a kill of
the process loses none; which chunks are there is noted after they are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable

import trio

from oxenfs.errors import OxenfsError
from oxenfs.model import CHUNK_BYTES
from oxenfs.overlay.files import errors, translated
from oxenfs.overlay.nodes import Nid, Node
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.upper import Upper
from oxenfs.views.base import Buffer, Reader

_BUFFER_BYTES = 1 << 20
# One for all: what is in it is used up before anything else runs.
_buffer = memoryview(bytearray(_BUFFER_BYTES))
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


class OpenFile:
    """A file that somebody has open; one for all who have. Its own `Reader`.

    Attributes:
        nid: its node.
        users: how many have it open.
    """

    def __init__(
        self,
        upper: Upper,
        nid: Nid,
        reader: Callable[[bytes], Awaitable[Reader]],
        forget: Callable[[Nid], None],
        fd: int = -1,
    ) -> None:
        """Open the file of `nid`.

        Args:
            upper: where it is.
            nid: its node.
            reader: opens a path of the lower tree.
            forget: is told when nobody has it open any more.
            fd: of its file of bytes, all there is of it; kept. Negative: to be opened here.
        """
        self.nid = nid
        self.users = 0
        self._upper = upper
        self._open_lower = reader
        self._forget = forget
        self._lower: Reader | None = None
        self._fd = fd
        self._data: Nid = 0
        self._pieces = Pieces()
        self._lock = trio.Lock()
        upper.hold(nid)
        if fd < 0:
            self._attach(upper.node(nid))
        else:
            self._data = upper.node(nid).data

    def facts(self) -> os.stat_result | None:
        """Return size and times; None as long as those of the node count."""
        return os.fstat(self._fd) if self._fd >= 0 else None

    async def read(self, offset: int, size: int) -> Buffer:
        """Return the bytes from `offset` on; see `oxenfs.views.base.Reader`."""
        node = self._upper.node(self.nid)
        if self._fd < 0:
            size = min(size, node.size - offset)
            return await (await self._below(node)).read(offset, size) if size > 0 else b""
        if node.limit is None:
            return await self._own(offset, size)
        end = min(offset + size, os.fstat(self._fd).st_size)
        parts: list[bytes] = []
        at = offset
        while at < end:
            chunk = at // CHUNK_BYTES
            stop = min(end, (chunk + 1) * CHUNK_BYTES)
            below = min(stop, node.limit)
            if self._pieces.has(chunk) or at >= below:
                parts.append(bytes(await self._own(at, stop - at)))
            else:
                parts.append(await self._from_below(node, at, below))
                if stop > below:
                    # Beyond what is below only our own file counts: killed before a chunk was
                    # noted, it has the bytes already.
                    parts.append(bytes(await self._own(below, stop - below)))
            at = stop
        return b"".join(parts)

    async def write(self, offset: int, data: Buffer) -> int:
        """Write `data` at `offset`, all of it; return its length.

        Raises:
            UpperFull: there is no space; a part of it may be written.
        """
        if self._is_simple():
            return self._write_out(offset, data)
        async with self._lock:
            node = await self._writable()
            if node.limit is not None:
                await self._copy_up(node, offset, offset + len(data))
            written = self._write_out(offset, data)
            if node.limit is not None:
                self._note(node, offset, offset + len(data))
            return written

    async def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; what comes new is zeros."""
        async with self._lock:
            node = await self._writable(empty=size == 0)
            with errors(self._path()):
                os.ftruncate(self._fd, size)
            if node.limit is not None and size < node.limit:
                limit = size or None
                self._upper.set_node(self.nid, node._replace(limit=limit), self._pieces)

    def set_times(self, atime_ns: int, mtime_ns: int) -> bool:
        """Set the times of the file of bytes; False if there is none."""
        if self._fd < 0:
            return False
        os.utime(self._fd, ns=(atime_ns, mtime_ns))
        return True

    async def sync(self) -> None:
        """Wait until bytes, names and attributes survive a power cut."""
        # A copy of the descriptor: the file may be closed or replaced meanwhile.
        fd = os.dup(self._fd) if self._fd >= 0 else -1
        data = self._data

        def wait() -> None:
            try:
                with errors(self._path()):
                    if fd >= 0:
                        os.fsync(fd)
                        self._upper.files.sync_folder(data)
                self._upper.sync()
            finally:
                if fd >= 0:
                    os.close(fd)

        await trio.to_thread.run_sync(wait)

    async def complete(self) -> None:
        """Copy all that is still the lower file's."""
        async with self._lock:
            node = await self._writable()
            if node.limit is not None:
                facts = os.fstat(self._fd)
                await self._copy_up(node, 0, node.limit, whole=True)
                self._note(node, 0, node.limit)
                os.utime(self._fd, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    async def keep_below(self) -> None:
        """Open the lower file, if it is needed: it stays the same when the mount moves."""
        node = self._upper.node(self.nid)
        if node.origin is not None and (not node.data or node.limit is not None):
            await self._below(node)

    def close(self) -> None:
        """Undo one opening."""
        self.users -= 1
        if self.users:
            return
        self._forget(self.nid)
        if self._lower is not None:
            self._lower.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._upper.release(self.nid)

    # --- inside

    def _is_simple(self) -> bool:
        """Return whether a write needs nothing but itself."""
        if self._fd < 0 or self._upper.is_frozen(self._data) or self._lock.locked():
            return False
        return self._upper.node(self.nid).limit is None

    def _attach(self, node: Node) -> None:
        """Open the file of bytes, if the node has one."""
        if not node.data:
            return
        self._fd = self._upper.files.open(node.data)
        self._data = node.data
        if node.limit is not None:
            self._pieces = self._upper.pieces(node.data)
            size = os.fstat(self._fd).st_size
            if size < node.limit:
                # Killed between cutting the file and noting it.
                self._upper.set_node(self.nid, node._replace(limit=size), self._pieces)

    async def _writable(self, *, empty: bool = False) -> Node:
        """Return the node, with a file of bytes that may be changed; `empty`: none are needed."""
        node = self._upper.node(self.nid)
        if not node.data:
            return self._begin(node, empty)
        if not self._upper.is_frozen(node.data):
            return node
        data = self._upper.new_file()
        files = self._upper.files
        if empty:
            os.close(files.open(data))
        else:
            try:
                await trio.to_thread.run_sync(files.copy, node.data, data)
            except BaseException:
                self._upper.drop_file(data)
                raise
        node = self._upper.node(self.nid)._replace(data=data)
        if empty:
            node = node._replace(limit=None)
        self._upper.drop_file(self._data)
        os.close(self._fd)
        self._fd = -1
        self._upper.set_node(self.nid, node, self._pieces)
        self._attach(node)
        return self._upper.node(self.nid)

    def _begin(self, node: Node, empty: bool) -> Node:
        """Make the file of bytes."""
        data = self._upper.new_file()
        fd = self._upper.files.open(data)
        limit = None if empty or node.origin is None or not node.size else node.size
        try:
            with errors(self._path()):
                if limit is not None:
                    os.ftruncate(fd, limit)
                os.utime(fd, ns=(node.atime_ns, node.mtime_ns))
            self._pieces = Pieces()
            node = node._replace(data=data, limit=limit)
            self._upper.set_node(self.nid, node, self._pieces)
        except OxenfsError:
            os.close(fd)
            self._upper.drop_file(data)
            raise
        self._fd, self._data = fd, data
        return node

    async def _copy_up(self, node: Node, offset: int, end: int, *, whole: bool = False) -> None:
        """Copy the chunks that a write from `offset` to `end` touches but does not fill."""
        limit = node.limit or 0
        for chunk in self._missing(offset, end, limit):
            start = chunk * CHUNK_BYTES
            stop = min(start + CHUNK_BYTES, limit)
            if whole or offset > start or end < stop:
                self._write_out(start, await self._from_below(node, start, stop))

    def _note(self, node: Node, offset: int, end: int) -> None:
        """Note that the chunks from `offset` to `end` are there."""
        limit = node.limit or 0
        new = self._missing(offset, end, limit)
        if not new:
            return
        self._pieces.add(new[0], new[-1] - new[0] + 1)
        if self._missing(0, limit, limit):
            self._upper.set_pieces(self.nid, self._data, self._pieces)
        else:
            now = self._upper.node(self.nid)
            self._upper.set_node(self.nid, now._replace(limit=None), self._pieces)

    def _missing(self, offset: int, end: int, limit: int) -> list[int]:
        """Return the chunks that a range touches and that are still the lower file's."""
        found = self._pieces.missing(offset, end)
        return [chunk for chunk in found if chunk * CHUNK_BYTES < limit]

    def _write_out(self, offset: int, data: Buffer) -> int:
        view = memoryview(data)
        at = offset
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError as exc:
            raise translated(exc, self._path()) from exc
        return at - offset

    async def _own(self, offset: int, size: int) -> Buffer:
        size = min(size, _BUFFER_BYTES)
        try:
            got = os.preadv(self._fd, [_buffer[:size]], offset, _NOWAIT)
            # What is not in the page cache ends the read early, without an error.
            if got == size or offset + got >= os.fstat(self._fd).st_size:
                return _buffer[:got]
        except BlockingIOError:
            pass
        except OSError as exc:
            # Not every file system knows the flag.
            if exc.errno != errno.EOPNOTSUPP:
                raise translated(exc, self._path()) from exc
        fd = os.dup(self._fd)
        try:
            return await trio.to_thread.run_sync(os.pread, fd, size, offset)
        finally:
            os.close(fd)

    async def _from_below(self, node: Node, start: int, stop: int) -> bytes:
        lower = await self._below(node)
        parts = []
        while start < stop:
            part = bytes(await lower.read(start, stop - start))
            if not part:
                parts.append(bytes(stop - start))
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    async def _below(self, node: Node) -> Reader:
        if self._lower is None:
            assert node.origin is not None
            self._lower = await self._open_lower(node.origin)
        return self._lower

    def _path(self) -> str:
        return self._upper.files.path(self._data)
