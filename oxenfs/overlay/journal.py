"""An append-only file of checksummed records: the truth about an overlay.

A record is the effect of one operation on the index: values set and removed. So an operation is
there whole or not at all, and replaying needs to know nothing about operations.

Layout: a header (magic, the journal's own id), then records: length (u32), xxh3-64 of the payload
(u64; seeded with id and place, so that an old record in a reused block never passes), payload. The
first record that is cut off or damaged ends the journal.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack
import xxhash

from oxenfs.errors import IntegrityError, OxenfsError, UpperFull

log = logging.getLogger(__name__)

_MAGIC = b"oxjrnl02"
_HEADER_BYTES = 16
_FRAME = struct.Struct("<IQ")
_RECORD_BYTES_MAX = 1 << 30
# So that a removal can still be noted when the disk has become full.
_AHEAD_BYTES = 1 << 20


class Edit(NamedTuple):
    """One value of the index set, or removed (None)."""

    table: int
    key: bytes
    value: bytes | None


class Journal:
    """An open journal. Appending is for one thread; `sync` may run in another one meanwhile.

    Attributes:
        id: of this file; a compacted journal has another one.
        end: where the next record goes, in bytes.
    """

    def __init__(self, path: Path, fd: int, id: int, end: int) -> None:
        self._path = path
        self._fd = fd
        self._allocated = end
        self._synced = 0
        self.id = id
        self.end = end

    def append(self, edits: Iterable[Edit]) -> None:
        """Add a record; on return a kill of the process cannot lose it.

        Raises:
            UpperFull: there is no space for it; the journal is as before.
        """
        payload = _pack(edits)
        frame = _frame(payload, self.id, self.end)
        try:
            self._reserve(len(frame) + len(payload))
            written = os.pwritev(self._fd, [frame, payload], self.end)
            if written != len(frame) + len(payload):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            # What got in is cut off: a later, shorter record must not end in front of its rest.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.end)
            self._allocated = self.end
            raise _full(exc, self._path) from exc
        self.end += written

    def undo(self, end: int) -> None:
        """Take back what was appended after `end`; nobody must have been told of it."""
        os.ftruncate(self._fd, end)
        self._allocated = self.end = end

    def sync(self) -> None:
        """Wait until everything appended so far survives a power cut."""
        end = self.end
        if end <= self._synced:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as exc:
            raise _full(exc, self._path) from exc
        self._synced = max(self._synced, end)

    def records(self, start: int = _HEADER_BYTES) -> Iterator[list[Edit]]:
        """Yield the records from byte `start` on, which must be the place of one, or the end."""
        for _, edits in _read(self._fd, self.id, start, self.end):
            yield edits

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _reserve(self, size: int) -> None:
        if self.end + size <= self._allocated:
            return
        # Keeping the size: zeros behind the end would have to be told from a cut-off record.
        with contextlib.suppress(OSError):
            _fallocate_keeping_size(self._fd, self.end, size + _AHEAD_BYTES)
        self._allocated = self.end + size + _AHEAD_BYTES


def open_journal(path: Path) -> Journal:
    """Open the journal at `path`, making an empty one where there is none.

    What is behind the last sound record is cut off. That is what a crash leaves; if it is more
    than one record's worth, a copy is put aside, for then something else has happened.

    Raises:
        IntegrityError: not a journal of this version.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        writer = JournalWriter(path)
        writer.sync()
        writer.finish().close()
        sync_folder(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        header = os.pread(fd, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES or header[:8] != _MAGIC:
            raise IntegrityError(f"{path} is no journal of this version of oxenfs")
        id = int.from_bytes(header[8:], "little")
        size = os.fstat(fd).st_size
        end = _HEADER_BYTES
        for place, _ in _read(fd, id, _HEADER_BYTES, size, decode=False):
            end = place
        if end < size:
            log.warning("%s: %d bytes of an unfinished record are dropped", path, size - end)
            os.ftruncate(fd, end)
        return Journal(path, fd, id, end)
    except BaseException:
        os.close(fd)
        raise


class JournalWriter:
    """A new journal on its way to replace another one; without `finish` nothing happens.

    Attributes:
        id: what it will have.
        end: where the next record goes, in bytes.
    """

    def __init__(self, path: Path) -> None:
        """Write beside `path`; raise `UpperFull` if there is no space."""
        self._path = path
        self._part = path.with_suffix(".part")
        self.id = int.from_bytes(secrets.token_bytes(8), "little")
        self.end = _HEADER_BYTES
        with self._errors():
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o600)
            os.pwrite(self._fd, _MAGIC + self.id.to_bytes(8, "little"), 0)

    def append(self, edits: Iterable[Edit]) -> None:
        """Add a record; raise `UpperFull`."""
        payload = _pack(edits)
        frame = _frame(payload, self.id, self.end)
        with self._errors():
            if os.pwritev(self._fd, [frame, payload], self.end) != len(frame) + len(payload):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.end += len(frame) + len(payload)

    def sync(self) -> None:
        """Wait until what was written survives a power cut."""
        with self._errors():
            os.fsync(self._fd)

    def finish(self) -> Journal:
        """Put it in the place of the old one and return it, open. `sync` before.

        From now on there is the new one; after a power cut the old one or the new one.
        """
        with self._errors():
            self._part.rename(self._path)
        journal = Journal(self._path, self._fd, self.id, self.end)
        self._fd = -1
        return journal

    def close(self) -> None:
        """Give up, unless it was finished."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise _full(exc, self._path) from exc


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _pack(edits: Iterable[Edit]) -> bytes:
    flat = [part for edit in edits for part in edit]
    packed: bytes = msgpack.packb(flat)
    return packed


def _frame(payload: bytes, id: int, place: int) -> bytes:
    return _FRAME.pack(len(payload), xxhash.xxh3_64_intdigest(payload, _seed(id, place)))


def _seed(id: int, place: int) -> int:
    return (id ^ place * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF


def _read(
    fd: int, id: int, start: int, size: int, *, decode: bool = True
) -> Iterator[tuple[int, list[Edit]]]:
    """Yield each sound record, and where it ends."""
    place = start
    with os.fdopen(os.dup(fd), "rb", buffering=1 << 20) as file:
        file.seek(start)
        while place + _FRAME.size <= size:
            head = file.read(_FRAME.size)
            if len(head) < _FRAME.size:
                return
            length, digest = _FRAME.unpack(head)
            if length > _RECORD_BYTES_MAX or place + _FRAME.size + length > size:
                return
            payload = file.read(length)
            if xxhash.xxh3_64_intdigest(payload, _seed(id, place)) != digest:
                return
            place += _FRAME.size + length
            yield place, _unpack(payload) if decode else []


def _unpack(payload: bytes) -> list[Edit]:
    parts = iter(msgpack.unpackb(payload))
    return [Edit(*edit) for edit in zip(parts, parts, parts, strict=True)]


def _full(exc: OSError, path: Path) -> OxenfsError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UpperFull(f"no space left for changes in {path.parent}")
    return OxenfsError(f"cannot write {path}: {exc.strerror}")


def _fallocate_keeping_size(fd: int, offset: int, length: int) -> None:
    """Reserve blocks behind the end of a file without making it longer (fallocate(2), mode 1)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate(fd, 1, ctypes.c_int64(offset), ctypes.c_int64(length))
