"""The bytes of an overlay's files: one file each, by number, 4,096 numbers to a folder.

Numbers are given in order, so files that are made together lie together: ext4 puts a folder's
files into one group of blocks, and going round 256 folders made each new file five times as slow.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from oxenfs.errors import DiskError, OxenfsError, UpperFull
from oxenfs.overlay.nodes import Nid

log = logging.getLogger(__name__)

_FOLDER_SHIFT = 12


class ByteFiles:
    """The files below one folder. From any thread, but for two that change one file.

    Attributes:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        """Keep files below `folder`, which is made."""
        self.folder = folder
        self._base = os.fspath(folder)
        folder.mkdir(mode=0o700, exist_ok=True)

    def path(self, number: Nid) -> str:
        """Return where a file is."""
        return f"{self._base}/{number >> _FOLDER_SHIFT:x}/{number:x}"

    def open(self, number: Nid) -> int:
        """Return a descriptor for reading and writing; the file is made if it is not there."""
        path, flags = self.path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with errors(self.folder):
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)  # noqa: PTH103, PTH120
                return os.open(path, flags, 0o600)

    def stat(self, number: Nid) -> os.stat_result | None:
        """Return size and times; None if the file is not there, as a power cut may leave it."""
        try:
            return os.stat(self.path(number))  # noqa: PTH116
        except FileNotFoundError:
            return None

    def remove(self, number: Nid) -> None:
        """Remove a file; nothing there is no error."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(number))  # noqa: PTH108

    def copy(self, number: Nid, to: Nid) -> None:
        """Copy a file with its times and holes; shares blocks where the disk can."""
        with errors(self.folder):
            source = os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC)
            try:
                target = self.open(to)
                try:
                    facts = os.fstat(source)
                    os.ftruncate(target, facts.st_size)
                    for start, end in _data(source, facts.st_size):
                        _copy_range(source, target, start, end)
                    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
                finally:
                    os.close(target)
            finally:
                os.close(source)

    def sync_folder(self, number: Nid) -> None:
        """Wait until the name of a new file survives a power cut."""
        folder = os.path.dirname(self.path(number))  # noqa: PTH120
        # The folder may be as new as the file.
        for path in (folder, self._base):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def sweep(self, wanted: Callable[[], Iterable[Nid]]) -> int:
        """Remove what is not `wanted`; return how many files that were."""
        names = {f"{number:x}" for number in wanted()}
        removed = 0
        for folder in list(self.folder.iterdir()):
            for name in os.listdir(folder):  # noqa: PTH208
                if name not in names:
                    (folder / name).unlink()
                    removed += 1
            with contextlib.suppress(OSError):
                folder.rmdir()  # unless something is left in it
        return removed


@contextlib.contextmanager
def errors(folder: Path | str) -> Iterator[None]:
    """Turn what the disk says into our errors."""
    try:
        yield
    except OSError as exc:
        raise translated(exc, folder) from exc


def translated(exc: OSError, folder: Path | str) -> OxenfsError:
    """Return our error for what the disk of `folder` says."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return UpperFull(f"no space left for changes in {folder}")
    return DiskError(f"changes in {folder}: {exc.strerror}", exc.errno or errno.EIO)


def _data(fd: int, size: int) -> Iterable[tuple[int, int]]:
    """Yield the ranges of a file that are no holes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            yield at, size
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
        at = end


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    at = start
    while at < end:
        try:
            done = os.copy_file_range(source, target, end - at, at, at)
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            done = 0
        if not done:
            data = os.pread(source, min(end - at, 4 << 20), at)
            if not data:
                return
            view = memoryview(data)
            while view:
                written = os.pwrite(target, view, at)
                view, at = view[written:], at + written
            continue
        at += done
