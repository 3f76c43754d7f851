"""What is worth keeping of what was computed: pictures, indexes, plans, sizes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

MEMORY_BYTES = 48 << 20


class Kept(Protocol):
    """A store of derived objects, which may forget any of them at any time."""

    async def get(self, key: bytes) -> bytes | None:
        """Return what was put under `key`, checked, or None."""

    def has(self, key: bytes) -> bool:
        """Return whether there is something under `key`, without looking at it."""

    def put(self, key: bytes, value: bytes) -> None:
        """Keep `value` if possible, for good after `write`. Equal keys mean equal values."""

    async def write(self) -> None:
        """Write what was put and is not written yet; wait until it is."""


class MemoryKept:
    """A number of bytes in memory, the last used ones."""

    def __init__(self, limit_bytes: int = MEMORY_BYTES) -> None:
        """Keep up to `limit_bytes`."""
        self._limit = limit_bytes
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    async def get(self, key: bytes) -> bytes | None:
        """Return what was put under `key`, or None."""
        return self.peek(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Keep `value` for as long as there is room."""
        self.add(key, value)

    async def write(self) -> None:
        """Do nothing: there is no other place."""

    def has(self, key: bytes) -> bool:
        """Return whether there is something under `key`."""
        return key in self._values

    def peek(self, key: bytes) -> bytes | None:
        """Return what is there, without a checkpoint."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def add(self, key: bytes, value: bytes) -> None:
        """Keep `value`, without a checkpoint."""
        old = self._values.pop(key, None)
        self._bytes += len(value) - (len(old) if old is not None else 0)
        self._values[key] = value
        while self._bytes > self._limit:
            self._bytes -= len(self._values.popitem(last=False)[1])

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._bytes = 0
