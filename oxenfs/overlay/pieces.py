"""Which chunks of a file are its own, where only part of it was copied up."""

from __future__ import annotations

from oxenfs.model import CHUNK_BYTES


class Pieces:
    """A set of chunk numbers, as a bitmap: one byte for 2 MiB of the file."""

    __slots__ = ("_bits",)

    def __init__(self, packed: bytes = b"") -> None:
        """Begin with the chunks of `packed`."""
        self._bits = int.from_bytes(packed, "little")

    def has(self, chunk: int) -> bool:
        """Return whether a chunk is in."""
        return bool(self._bits >> chunk & 1)

    def add(self, first: int, count: int = 1) -> None:
        """Put `count` chunks in."""
        self._bits |= ((1 << count) - 1) << first

    def pack(self) -> bytes:
        """Return the set as bytes."""
        return self._bits.to_bytes((self._bits.bit_length() + 7) // 8, "little")

    def missing(self, offset: int, end: int) -> list[int]:
        """Return the chunks that bytes `offset` to `end` touch and that are not in."""
        if end <= offset:
            return []
        return [c for c in chunks(offset, end) if not self._bits >> c & 1]


def chunks(offset: int, end: int) -> range:
    """Return the numbers of the chunks that bytes `offset` to `end` touch."""
    return range(offset // CHUNK_BYTES, -(-end // CHUNK_BYTES))
