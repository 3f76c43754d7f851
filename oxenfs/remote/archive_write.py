"""tar.gz as Oxen sends it, written as a stream."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from oxenfs.remote.archive import Member

_BLOCK = 512
_GZIP = 31
_GZIP_HEAD = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_STORED = struct.Struct("<BHH")
_STORED_BYTES_MAX = 0xFFFF
_ZEROS = bytes(_BLOCK)
# A GNU header: name, mode and ids, length, time, checksum, and what is the same in all of them.
_OWNER = b"0000644\0" + b"0000000\0" * 2
_TIME = b"00000000000\0"
_REST = (b"0" + bytes(100) + b"ustar  \0").ljust(_BLOCK - 156, b"\0")
# The checksum counts as eight blanks.
_FIXED_SUM = sum(_OWNER) + sum(_TIME) + 8 * 32 + sum(_REST)


def write_members(members: Iterable[Member], level: int = 1) -> Iterator[bytes]:
    """Yield a tar.gz with GNU headers, in pieces of some 100 KiB.

    Args:
        members: in the order to send.
        level: zlib's; 0 stores, for bytes that do not shrink.
    """
    squeeze = _squeezer(level)
    waiting: list[bytes] = []
    waiting_bytes = 0
    for name, content in members:
        # At once: each call has its price, and a small file is little else.
        size = len(content)
        padded = b"".join((_encoded_header(name, size), content, _ZEROS[: -size % _BLOCK]))
        waiting.append(squeeze.compress(padded))
        waiting_bytes += len(waiting[-1])
        if waiting_bytes >= 1 << 17:
            yield b"".join(waiting)
            waiting.clear()
            waiting_bytes = 0
    yield b"".join((*waiting, squeeze.compress(bytes(2 * _BLOCK)), squeeze.flush()))


def shrinks(sample: bytes) -> bool:
    """Return whether bytes get smaller by a tenth, so that compressing others like them pays."""
    from isal import isal_zlib

    return len(isal_zlib.compress(sample, 1)) < 0.9 * len(sample)


def _squeezer(level: int) -> Any:
    if level == 0:
        return _Stored()
    if level != 1:
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    # Seven times as fast as zlib at its level 1, and nodes get as small.
    from isal import isal_zlib

    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP)


class _Stored:
    """gzip that stores, with the methods of a `zlib.compressobj`.

    zlib's own level 0 takes everything through its window, at several times the price.
    Source: RFC 1951, 3.2.4 (stored blocks); RFC 1952.
    """

    def __init__(self) -> None:
        from isal import isal_zlib

        self._crc32 = isal_zlib.crc32
        self._crc = self._size = 0
        self._head = _GZIP_HEAD

    def compress(self, data: bytes) -> bytes:
        self._crc = self._crc32(data, self._crc)
        self._size += len(data)
        parts: list[bytes | memoryview] = [self._head]
        self._head = b""
        whole = memoryview(data)
        for at in range(0, len(data), _STORED_BYTES_MAX):
            block = whole[at : at + _STORED_BYTES_MAX]
            parts.append(_STORED.pack(0, len(block), len(block) ^ 0xFFFF))
            parts.append(block)
        return b"".join(parts)

    def flush(self) -> bytes:
        end = _STORED.pack(1, 0, 0xFFFF)
        return self._head + end + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


def _encoded_header(name: str, size: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > 100:
        raise ValueError(f"a name of {len(encoded)} bytes in an archive")
    length = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    checksum = _FIXED_SUM + sum(encoded) + sum(length)
    return b"".join(
        (encoded.ljust(100, b"\0"), _OWNER, length, _TIME, b"%06o\0 " % checksum, _REST)
    )
