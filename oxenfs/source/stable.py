"""Files of a source: read below a folder's descriptor, and the same at the end as at the start."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from oxenfs.errors import AccessDenied, OxenfsError, SourceChanged
from oxenfs.names import quoted

# Not blocking: a fifo that takes the place of a file would be waited for without end.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Facts(NamedTuple):
    """What a file must still be when it has been read."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def facts_of(found: os.stat_result) -> Facts:
    """Return what identifies the state of a file."""
    return Facts(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class StableFile:
    """A file that must be the same at the end of reading as when its folder was listed."""

    def __init__(
        self,
        folder: int,
        name: str | bytes,
        path: bytes,
        facts: Facts,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Open the file `name` in the folder with the descriptor `folder`.

        Args:
            folder: used here only, and not kept.
            name: in that folder; links are not followed.
            path: for messages.
            facts: what it was when it was listed.
            progress: called with the number of bytes that are still to come.

        Raises:
            SourceChanged: it is not what it was.
            AccessDenied: it may not be read.
        """
        try:
            self._fd = os.open(name, _FILE_FLAGS, dir_fd=folder)
        except OSError as exc:
            raise cannot_read(path, exc) from exc
        self._facts = facts
        self._path = path
        self._progress = progress
        self._remaining = facts.size
        try:
            # First: a folder in its place could not even be opened as a file.
            self._check()
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end."""
        try:
            data = os.read(self._fd, size)
        except OSError as exc:
            raise cannot_read(self._path, exc) from exc
        self._remaining -= len(data)
        if self._progress is not None:
            self._progress(max(self._remaining, 0))
        return data

    def close(self) -> None:
        """Close it; raise `SourceChanged` if it is not what it was."""
        try:
            self._check()
        finally:
            os.close(self._fd)

    def __enter__(self) -> StableFile:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, checked unless something else went wrong already."""
        if kind is None:
            self.close()
        else:
            os.close(self._fd)

    def _check(self) -> None:
        now = os.fstat(self._fd)
        if facts_of(now) != self._facts or not stat.S_ISREG(now.st_mode):
            raise SourceChanged(
                f"{quoted(self._path)} changed while it was imported; nothing was "
                "committed; import again when nobody writes to it"
            )


def read_whole(folder: int, name: str | bytes, path: bytes, facts: Facts) -> bytes:
    """Return all bytes of a file; see `StableFile`."""
    with StableFile(folder, name, path, facts) as file:
        data = file.read(facts.size + 1)
        # A read may give less than there is; the end is where it gives nothing.
        while len(data) < facts.size and (more := file.read(facts.size + 1 - len(data))):
            data += more
    if len(data) != facts.size:
        raise SourceChanged(f"{quoted(path)} ended before its size; nothing was committed")
    return data


def cannot_read(path: bytes, exc: OSError) -> OxenfsError:
    """Return our error for a file or folder of the source that cannot be opened or read."""
    shown = quoted(path)
    if isinstance(exc, PermissionError):
        return AccessDenied(f"no permission to read {shown}; nothing was committed")
    if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
        return SourceChanged(
            f"{shown} went away while it was imported; nothing was committed; "
            "import again when nobody changes the folder"
        )
    return OxenfsError(f"cannot read {shown}: {exc.strerror}; nothing was committed")
