"""When each object of the cache was last used: one flat file, written in place, without a lock.

An object's time lies in the slot that its key's hash leads to. Two objects in one slot make each
other look younger, and a lost write makes one look older: either costs a fetch, never a byte. A
write transaction per read would cost twenty times as much and hold the lock of all processes.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

import xxhash

_TICKS = struct.Struct("<I")
_TICK_BITS = 22
_WRAP = 1 << 32
_SIZE_BYTES_MIN, _SIZE_BYTES_MAX = 1 << 17, 1 << 21


class Ages:
    """The times of one cache. Safe to use from several threads and processes.

    Attributes:
        size_bytes: what the file takes up in the end.
    """

    def __init__(self, path: Path, limit_bytes: int = 0) -> None:
        """Keep times in the file `path`; made with a size that suits a cache of `limit_bytes`."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        if size < _SIZE_BYTES_MIN:
            wanted = 1 << (limit_bytes // 128).bit_length()
            size = min(max(wanted, _SIZE_BYTES_MIN), _SIZE_BYTES_MAX)
            os.ftruncate(self._fd, size)
        self.size_bytes = min(size, _SIZE_BYTES_MAX)

    def touch(self, key: bytes) -> None:
        """Note that the object `key` is used now. Two microseconds."""
        at = self._place(key)
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, _TICKS.pack(_now()), at)

    def idle(self, key: bytes) -> int:
        """Return for how long `key` was not used, in ticks of 4 ms; modulo 208 days."""
        try:
            raw = os.pread(self._fd, _TICKS.size, self._place(key))
        except OSError:
            raw = b""
        if len(raw) != _TICKS.size or raw == bytes(_TICKS.size):
            return _WRAP
        return (_now() - int(_TICKS.unpack(raw)[0])) % _WRAP

    def _place(self, key: bytes) -> int:
        slots = self.size_bytes // _TICKS.size
        return int(xxhash.xxh3_64_intdigest(key) % slots) * _TICKS.size

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _now() -> int:
    return (time.time_ns() >> _TICK_BITS) % _WRAP or 1
