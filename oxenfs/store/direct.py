"""Reads blobs where they lie, for a remote on this machine: verified, without a copy in a cache.

Bytes are read into a few kept buffers and checked there by whole chunks. New memory is slow to
touch, so buffers are reused; views of the cache file are never handed out, because a file that is
truncated under a mapping kills the process.

What the page cache has is read on the event loop: a hop to a thread would cost more than the read.
`RWF_NOWAIT` tells when the disk would have to be waited for; only then a thread does it.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable

import trio

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.base import BlobFiles, BlobLocation, BlobPlace
from oxenfs.remote.verify import check_chunks, chunk_range
from oxenfs.store.siblings import Sibling

# The kernel asks for up to 1 MiB; unaligned, that touches five chunks.
_BUFFER_BYTES = 5 * CHUNK_BYTES
_BUFFERS = 8
_FILES_OPEN = 128
_THREADS = 16


class _Buffer:
    """A range of whole, verified chunks of one blob.

    Attributes:
        blob: None while there is nothing valid in it.
        start, stop: the range in the blob, in bytes.
        busy: a thread is filling it.
    """

    __slots__ = ("blob", "busy", "start", "stop", "view")

    def __init__(self, length: int = _BUFFER_BYTES) -> None:
        self.view = memoryview(bytearray(length))
        self.blob: ObjectHash | None = None
        self.start = self.stop = 0
        self.busy = False


class DirectBlobs:
    """All blobs of a remote whose files are on this machine. Used from one trio loop."""

    def __init__(self, files: BlobFiles) -> None:
        """Read the files of `files`."""
        self._files = files
        self._buffers = [_Buffer() for _ in range(_BUFFERS)]
        self._open: OrderedDict[str, int] = OrderedDict()
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._nowait = getattr(os, "RWF_NOWAIT", 0)

    def open(
        self,
        blob: ObjectHash,
        size: int,
        place: Callable[[], BlobPlace] | None = None,
        sibling: Callable[[], Sibling] | None = None,
    ) -> DirectReader:
        """Return a reader of `blob`; nothing is looked at before it reads.

        Args:
            blob: the hash.
            size: what the tree says it has, in bytes.
            place: not needed: files are found by hash.
            sibling: not needed: nothing has to be fetched ahead.
        """
        return DirectReader(self, blob, size)

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    async def range(
        self, location: BlobLocation, blob: ObjectHash, offset: int, end: int
    ) -> _Buffer:
        """Return a buffer with verified bytes from `offset` to `end`, and a little around.

        It stays as it is until the next checkpoint of the caller.
        """
        for held in self._buffers:
            if held.blob == blob and held.start <= offset and end <= held.stop:
                return held
        start, stop = chunk_range(location.size, offset, end)
        buffer = self._take(blob, start, stop - start)
        try:
            if buffer is None or not self._read_now(location, start, buffer.view[: stop - start]):
                buffer = await self._read_in_thread(location, start, stop, buffer)
            view = buffer.view[: stop - start]
            check_chunks(self._files, blob, location.size, start // CHUNK_BYTES, view)
        except IntegrityError:
            # Somebody may put a whole file in the place of the damaged one: look again next time.
            self._forget(location.path)
            raise
        buffer.blob, buffer.start, buffer.stop = blob, start, stop
        # Last in line for reuse: most reads go on where this one ended.
        if buffer in self._buffers:
            self._buffers.remove(buffer)
            self._buffers.append(buffer)
        return buffer

    def locate(self, blob: ObjectHash, size: int) -> BlobLocation:
        """Return where `blob` lies; raise `IntegrityError` if it is missing or has another size."""
        try:
            location = self._files.locate(blob)
        except NotFound as exc:
            # Not `NotFound`: the file is there, its bytes are lost.
            raise IntegrityError(str(exc)) from exc
        if location.size != size:
            raise IntegrityError(
                f"blob {hash_text(blob)} has {location.size} bytes, the tree says {size}"
            )
        return location

    def _take(self, blob: ObjectHash, start: int, length: int) -> _Buffer | None:
        """Return a free buffer; None if all wait for the disk.

        It is the one that ends where this read begins, else the one filled first: a file that is
        read in order stays in one buffer, which stays in the processor's cache (0.4 s/GiB with
        BLAKE3; going round all buffers 0.5).
        """
        if length > _BUFFER_BYTES:
            return None
        free = [buffer for buffer in self._buffers if not buffer.busy]
        if not free:
            return None
        for buffer in free:
            if buffer.blob == blob and buffer.stop == start:
                break
        else:
            buffer = free[0]
        buffer.blob = None
        return buffer

    async def _read_in_thread(
        self, location: BlobLocation, start: int, stop: int, buffer: _Buffer | None
    ) -> _Buffer:
        def read() -> _Buffer:
            # One to throw away if none is free or more is wanted than the kernel ever asks for.
            # Made in here, so that there are never more than threads.
            filled = buffer or _Buffer(stop - start)
            _read_patiently(location, start, filled.view[: stop - start])
            return filled

        if buffer is not None:
            buffer.busy = True
        try:
            return await trio.to_thread.run_sync(read, limiter=self._limiter)
        finally:
            if buffer is not None:
                buffer.busy = False

    def _read_now(self, location: BlobLocation, start: int, view: memoryview) -> bool:
        try:
            fd = self._fd(location.path)
            at = location.offset + start
            return os.preadv(fd, [view], at, self._nowait) == len(view)
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno == errno.EOPNOTSUPP and self._nowait:
                # The file system does not know: from now on every read waits, like anybody's.
                self._nowait = 0
                return self._read_now(location, start, view)
            raise IntegrityError(f"{location.path} cannot be read: {exc.strerror}") from exc

    def _forget(self, path: str) -> None:
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)

    def _fd(self, path: str) -> int:
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open[path] = fd
        if len(self._open) > _FILES_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd


class DirectReader:
    """Reads one blob."""

    def __init__(self, blobs: DirectBlobs, blob: ObjectHash, size: int) -> None:
        """Read `blob` of `size` bytes."""
        self._blobs = blobs
        self._blob = blob
        self._size = size
        self._location: BlobLocation | None = None

    async def read(self, offset: int, size: int) -> memoryview:
        """Return the bytes from `offset` on; see `oxenfs.views.base.Reader`."""
        end = min(offset + size, self._size)
        if offset >= end:
            return memoryview(b"")
        location = self._location
        if location is None:
            location = self._location = self._blobs.locate(self._blob, self._size)
        buffer = await self._blobs.range(location, self._blob, offset, end)
        return buffer.view[offset - buffer.start : end - buffer.start]

    def close(self) -> None:
        """Nothing to let go of: files belong to `DirectBlobs`."""


def _read_patiently(location: BlobLocation, start: int, view: memoryview) -> None:
    """Fill `view` from the disk, in a thread; raise `IntegrityError` if the file ends before."""
    try:
        fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            filled = 0
            while filled < len(view):
                got = os.preadv(fd, [view[filled:]], location.offset + start + filled)
                if not got:
                    end = os.fstat(fd).st_size
                    raise IntegrityError(f"{location.path} is cut off at {end}")
                filled += got
        finally:
            os.close(fd)
    except OSError as exc:
        raise IntegrityError(f"{location.path} cannot be read: {exc.strerror}") from exc
