"""Packs: small blobs one after the other in large files, each behind a header of its own.

A record is `OXPK`, u32 LE size, 16 bytes LE hash, the bytes. The index (table `blobs`) says where
each blob is; the headers are there so that a lost index can be made again by reading the packs.

One writer has a pack at a time (flock). What a killed writer left behind the last indexed record
is dead space, never read.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from oxenfs.remote.local.layout import sync_folder

PACK_BYTES_MAX = 4 << 30
"""A pack is not begun to be appended to from this size on."""

_PENDING_BYTES_MAX = 4 << 20
_HEADER = struct.Struct("<4sI16s")
_MAGIC = b"OXPK"
HEADER_BYTES = _HEADER.size


class PackWriter:
    """Appends to one pack. Buffered: nothing is safe on disk before `flush`.

    Attributes:
        unsafe_bytes: how much a power cut would lose.
    """

    def __init__(self, folder: Path) -> None:
        """Take the first pack that is not full and that nobody else writes to."""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        number = 1
        while True:
            fd = os.open(folder / name_of(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_size < PACK_BYTES_MAX:
                    break
            except BlockingIOError:
                pass
            os.close(fd)
            number += 1
        self.number = number
        self._fd = fd
        self._folder = folder
        self._end = os.lseek(fd, 0, os.SEEK_END)
        self._name_is_safe = self._end > 0
        self.unsafe_bytes = 0

    def append(self, hash_le: bytes, content: bytes) -> int:
        """Queue a blob; return the offset that its first byte will have in the pack."""
        offset = self._end + self._pending_bytes + HEADER_BYTES
        self._pending.append(_HEADER.pack(_MAGIC, len(content), hash_le))
        self._pending.append(content)
        self._pending_bytes += HEADER_BYTES + len(content)
        self.unsafe_bytes += HEADER_BYTES + len(content)
        if self._pending_bytes >= _PENDING_BYTES_MAX:
            self._write()
        return offset

    def flush(self) -> None:
        """Write what is queued and wait for the disk. After an error the writer is of no use."""
        if not self.unsafe_bytes:
            return
        self._write()
        os.fdatasync(self._fd)
        if not self._name_is_safe:
            sync_folder(self._folder)
            self._name_is_safe = True
        self.unsafe_bytes = 0

    def _write(self) -> None:
        block = memoryview(b"".join(self._pending))
        while block:
            written = os.pwrite(self._fd, block, self._end)
            self._end += written
            block = block[written:]
        self._pending.clear()
        self._pending_bytes = 0

    def close(self) -> None:
        """Let go of the pack; what was not flushed is dropped."""
        os.close(self._fd)


def name_of(number: int) -> str:
    """Return the file name of a pack."""
    return f"{number:08d}"


def header_fits(header: bytes, hash_le: bytes, size: int) -> bool:
    """Return whether `header` is the one in front of that blob."""
    return header == _HEADER.pack(_MAGIC, size, hash_le)
