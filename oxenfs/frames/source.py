"""A video's bytes as a file object: blocks fetched on demand, the last ones kept."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Callable

Fetch = Callable[[int, int], bytes]
"""Returns the bytes from an offset on, as many as asked for; raises `SourceFailed`."""

BLOCK_BYTES = 256 * 1024
_BLOCKS = 12
_SMALL_BYTES = 1 << 20
"""A video up to this size is one block: the store has a blob of such a size as a whole."""

_BOXES_MAX = 1000
_BOX_BYTES_MAX = 1 << 62
_FRAGMENTS = frozenset([b"moof", b"sidx", b"styp"])


class SourceFailed(Exception):
    """The bytes of a video did not come: says nothing about the video."""


class Source:
    """A file to read and seek in. Not for several threads at once.

    Attributes:
        size: in bytes.
        failure: why bytes did not come, once that happened. Libraries between us and our own reads
            turn it into an error of their own, so whoever sees one looks here first.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        """Read what `fetch` gives."""
        self._fetch = fetch
        self.size = size
        self.failure: str | None = None
        self._at = 0
        self._block_bytes = BLOCK_BYTES if size > _SMALL_BYTES else _SMALL_BYTES
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes from the position on."""
        data = self.pread(self._at, self.size - self._at if size < 0 else size)
        self._at += len(data)
        return data

    def pread(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on, fewer only at the end."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        each = self._block_bytes
        first, last = offset // each, (end - 1) // each
        parts = [self._block(number) for number in range(first, last + 1)]
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        start = offset - first * each
        return whole[start : start + end - offset]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def check(self) -> None:
        """Raise `SourceFailed` if bytes did not come since the last check."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise SourceFailed(failure)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is not None:
            self._blocks.move_to_end(number)
            return block
        offset = number * self._block_bytes
        try:
            block = self._fetch(offset, min(self._block_bytes, self.size - offset))
        except SourceFailed as exc:
            self.failure = str(exc)
            raise OSError(str(exc)) from exc
        self._blocks[number] = block
        if len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        return block


class View(Source):
    """Another position in the same source; blocks and failures are shared."""

    def __init__(self, source: Source) -> None:
        """Read from `source`."""
        super().__init__(source._fetch, source.size)
        self._source = source

    def pread(self, offset: int, size: int) -> bytes:
        """Return what the source has there."""
        return self._source.pread(offset, size)

    def check(self) -> None:
        """Raise `SourceFailed` if bytes of the source did not come."""
        self._source.check()


class WithoutMedia(View):
    """An mp4 or mov whose media data reads as zeros: its tables tell all but the pictures.

    Boxes: ISO/IEC 14496-12, 4.2.
    """

    def __init__(self, source: Source, media: list[tuple[int, int]]) -> None:
        """Show zeros in the ranges `media`."""
        super().__init__(source)
        self._media = media

    def pread(self, offset: int, size: int) -> bytes:
        """Return the bytes there, zeros where the media data is."""
        end = min(offset + size, self.size)
        for start, stop in self._media:
            if start <= offset < stop:
                return bytes(max(min(end, stop) - offset, 0))
            if offset < start < end:
                end = start
        return super().pread(offset, end - offset)


def without_media(source: Source) -> WithoutMedia | None:
    """Return `source` without its media data; None unless it is a plain mp4 or mov.

    Fragmented files have many tables between the media, other containers none.
    """
    media: list[tuple[int, int]] = []
    kinds: set[bytes] = set()
    at = 0
    for _ in range(_BOXES_MAX):
        if at >= source.size:
            break
        header = source.pread(at, 16)
        if len(header) < 8:
            return None
        size, kind = struct.unpack_from(">I4s", header)
        begin = at + 8
        if size == 1 and len(header) == 16:
            size, begin = struct.unpack_from(">Q", header, 8)[0], at + 16
        elif size == 0:
            size = source.size - at
        if size < begin - at or size > _BOX_BYTES_MAX or kind in _FRAGMENTS:
            return None
        if not at and kind not in (b"ftyp", b"moov", b"wide", b"free", b"mdat", b"skip"):
            return None
        kinds.add(kind)
        if kind == b"mdat":
            media.append((begin, min(at + size, source.size)))
        at += size
    # A box that goes beyond the end, a missing table: let the demuxer look at the whole of it.
    if at != source.size or not {b"moov", b"mdat"} <= kinds:
        return None
    return WithoutMedia(source, media)
