"""A few kept buffers for bytes on their way to the kernel: new memory is slow to touch."""

from __future__ import annotations

from oxenfs.model import CHUNK_BYTES

# The kernel asks for up to 1 MiB; unaligned, that touches five chunks.
BUFFER_BYTES = 5 * CHUNK_BYTES
_BUFFERS = 8


class Buffer:
    """A range of checked bytes of one blob.

    Attributes:
        key: of the blob; None while there is nothing valid in it.
        start, stop: the range in the blob, in bytes.
    """

    __slots__ = ("key", "start", "stop", "view")

    def __init__(self, length: int = BUFFER_BYTES) -> None:
        self.view = memoryview(bytearray(length))
        self.key: object = None
        self.start = self.stop = 0


class Buffers:
    """The buffers of one mount. Used from one trio loop, and never across an await."""

    def __init__(self) -> None:
        """Make them."""
        self._all = [Buffer() for _ in range(_BUFFERS)]

    def holding(self, key: object, offset: int, end: int) -> Buffer | None:
        """Return a buffer that has these bytes of the blob `key`, if there is one."""
        for held in reversed(self._all):
            if held.key == key and held.start <= offset and end <= held.stop:
                return held
        return None

    def take(self, key: object, start: int, length: int) -> Buffer:
        """Return a buffer for `length` bytes of a blob, to be filled; it holds nothing yet.

        It is the one that ends where this range begins, else the one filled first: a file that is
        read in order stays in one buffer, which stays in the processor's cache.
        """
        if length > BUFFER_BYTES:
            return Buffer(length)
        found = next((each for each in self._all if each.key == key and each.stop == start), None)
        if found is None:
            found = self._all[0]
        found.key = None
        # Last in line for reuse: most reads go on where this one ended.
        self._all.remove(found)
        self._all.append(found)
        return found

    def forget(self, key: object) -> None:
        """Let no buffer hold anything of the blob `key`."""
        for each in self._all:
            if each.key == key:
                each.key = None
