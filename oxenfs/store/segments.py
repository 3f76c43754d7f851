"""Files that hold the bytes of the disk cache: appended to, punched full of holes, never rewritten.

An extent is a range of one segment. Segments have numbers that are never given twice and an offset
is written once, so a reader that comes too late for an evicted extent finds a hole, a short file or
none, and never somebody else's bytes. Whoever appends to a segment holds a lock on it as long as it
lives: a segment that can be locked belongs to nobody any more.

Nothing here is ever mapped: a file that is truncated under a mapping kills the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

BLOCK_BYTES = 4096
"""Extents begin at multiples of this: only whole blocks of a file system can become holes."""

_FILES_OPEN = 128
_PUNCH = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_libc = ctypes.CDLL(None, use_errno=True)

Buffer = bytes | bytearray | memoryview


class Extent(NamedTuple):
    """A range of a segment.

    Attributes:
        segment: its number.
        offset, length: in bytes.
    """

    segment: int
    offset: int
    length: int


class _File:
    """A descriptor that is closed with the last reference to it, in whichever thread that is."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)


class Segments:
    """All segments of one folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Keep segments in `folder`."""
        self._folder = folder
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = threading.Lock()
        self._can_punch = True
        self.nowait = getattr(os, "RWF_NOWAIT", 0)

    def create(self, number: int) -> int | None:
        """Return a locked descriptor of a new segment; None if there is one of that number."""
        path = self._path(number)
        try:
            fd = self._make(path)
        except FileExistsError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody who cleans up was faster, and takes it for a dead one's.
            os.close(fd)
            return None
        return fd

    def is_there(self, number: int, fd: int) -> bool:
        """Return whether `fd` is still the segment of that number: folders get deleted."""
        try:
            here, open_file = self._path(number).stat(), os.fstat(fd)
        except OSError:
            return False
        return (here.st_ino, here.st_dev) == (open_file.st_ino, open_file.st_dev)

    def take_over(self, number: int) -> int | None:
        """Return a locked descriptor of a segment whose writer is gone; None if it lives.

        Raises:
            FileNotFoundError: there is no such segment.
        """
        fd = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    @contextlib.contextmanager
    def closing(self, fd: int) -> Iterator[None]:
        """Close a descriptor of `take_over`, and with it the lock, at the end."""
        try:
            yield
        finally:
            os.close(fd)

    def read_into(self, extent: Extent, views: Sequence[memoryview], *, wait: bool) -> bool:
        """Fill `views` from `extent` on; return whether all bytes were there.

        Args:
            extent: where to begin; its length does not matter.
            views: to be filled.
            wait: whether the disk may be waited for. Without it only the page cache is read.

        Raises:
            BlockingIOError: the disk would have to be waited for.
            OSError: there is no such file, or the disk fails.
        """
        wanted = sum(map(len, views))
        flags = 0 if wait else self.nowait
        file = self._file(extent.segment)
        try:
            got = os.preadv(file.fd, views, extent.offset, flags)
            if got == wanted or not got:
                return got == wanted
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP or not flags:
                raise
            # The file system does not know the flag: from now on every read waits.
            self.nowait = 0
            return self.read_into(extent, views, wait=True)
        if not wait:
            # Half of it is in the page cache.
            raise BlockingIOError(errno.EAGAIN, "only a part is in memory")
        rest, at = b"".join(views), got
        with memoryview(bytearray(rest)) as whole:
            while at < wanted:
                more = os.preadv(file.fd, [whole[at:]], extent.offset + at)
                if not more:
                    return False
                at += more
            start = 0
            for view in views:
                view[:] = whole[start : start + len(view)]
                start += len(view)
        return True

    def punch(self, extent: Extent) -> None:
        """Give an extent's blocks back to the file system; what is gone already is no error."""
        if not self._can_punch:
            return
        try:
            fd = os.open(self._path(extent.segment), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            offset, length = ctypes.c_int64(extent.offset), ctypes.c_int64(rounded(extent.length))
            if _libc.fallocate(fd, _PUNCH, offset, length) and ctypes.get_errno() in (
                errno.EOPNOTSUPP,
                errno.ENOSYS,
            ):
                # Space comes back when a segment is empty.
                self._can_punch = False
        finally:
            os.close(fd)

    def truncate(self, number: int, length: int) -> None:
        """Cut a segment off at `length`."""
        with contextlib.suppress(OSError):
            os.truncate(self._path(number), length)

    def remove(self, number: int) -> None:
        """Delete a segment. Its bytes go at once, even if another process has it open."""
        path = self._path(number)
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
            path.unlink()
            # 256 folders of 4 KiB would be more than a small cache has room for.
            path.parent.rmdir()
        with self._lock:
            self._open.pop(number, None)

    def numbers(self) -> list[int]:
        """Return the numbers of all files there are. A walk: for maintenance only."""
        found = []
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.glob("*.seg"):
                with contextlib.suppress(ValueError):
                    found.append(int(path.stem, 16))
        return found

    def forget(self, number: int) -> None:
        """Look a segment up anew at its next use."""
        with self._lock:
            self._open.pop(number, None)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            self._open.clear()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number & 0xFF:02x}" / f"{number:08x}.seg"

    def _make(self, path: Path, *, again: bool = True) -> int:
        for folder in (self._folder.parent, self._folder, path.parent):
            folder.mkdir(mode=0o700, parents=folder == self._folder.parent, exist_ok=True)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The folder was empty, and somebody removed it just now.
            if again:
                return self._make(path, again=False)
            raise

    def _file(self, number: int) -> _File:
        with self._lock:
            file = self._open.get(number)
            if file is not None:
                self._open.move_to_end(number)
                return file
        file = _File(os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC))
        with self._lock:
            self._open[number] = file
            if len(self._open) > _FILES_OPEN:
                self._open.popitem(last=False)
        return file


def rounded(length: int) -> int:
    """Return the bytes that `length` bytes take up, in whole blocks."""
    return length + -length % BLOCK_BYTES


def write_at(fd: int, parts: Sequence[Buffer], offset: int) -> None:
    """Write `parts`, each at the next block, from `offset` on; raise `OSError`."""
    padded: list[Buffer] = []
    for part in parts:
        padded.append(part)
        if -len(part) % BLOCK_BYTES:
            padded.append(bytes(-len(part) % BLOCK_BYTES))
    # IOV_MAX is 1024.
    for first in range(0, len(padded), 1000):
        group = padded[first : first + 1000]
        size = sum(map(len, group))
        written = os.pwritev(fd, group, offset)
        if written != size:
            rest = memoryview(b"".join(group))[written:]
            while rest:
                written = os.pwrite(fd, rest, offset + size - len(rest))
                rest = rest[written:]
        offset += size
