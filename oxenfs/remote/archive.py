"""tar.gz as Oxen sends it, read and written as streams: nodes, blobs by hash, dir_hashes.

Reading trusts nothing: members are files and folders only, and their number, size and the ratio of
inflated to sent bytes are limited, so that an archive can neither fill the memory nor keep a
reader busy for ever. Our own decoder of tar's 512-byte headers gives each member as soon as it is
complete; `tarfile` would hold the first one of a batch back until much more has arrived.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from oxenfs.errors import IntegrityError
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.base import RawNode

_BLOCK = 512
_STEP_BYTES = 1 << 20
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
_RATIO_FREE_BYTES = 64 << 20
_LONG_NAME_BYTES_MAX = 64 << 10
_LONG_NAME, _FOLDER = b"L", b"5"
_KINDS = (b"0", b"\0", _LONG_NAME, _FOLDER)
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")
_NODE_NAME = re.compile(r"(?:\./)?(?:tree/nodes/)?([0-9a-f]{3})/([0-9a-f]{0,29})/(node|children)\Z")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may be.

    Attributes:
        members: files and folders.
        member_bytes: of one file.
        ratio: inflated to sent bytes, beyond the first 64 MiB. gzip reaches 1,032 at the most.
        total_bytes: of all files; for who keeps them all.
    """

    members: int = 50_000_000
    member_bytes: int = 4 << 30
    ratio: int = 200
    total_bytes: int = 1 << 62


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    content: bytes


def read_members(pieces: Iterable[bytes], limits: Limits) -> Iterator[Member]:
    """Yield the regular files of a tar.gz that arrives in `pieces`; folders are passed over.

    Before it ends, all `pieces` were taken and gzip's own checksum was compared.

    Raises:
        IntegrityError: it is not a tar.gz, is cut off, holds links or devices, or is over a limit.
    """
    for group in read_groups(pieces, limits):
        yield from group


def read_groups(pieces: Iterable[bytes], limits: Limits) -> Iterator[list[Member]]:
    """Do the same, and yield together what came together: of small files, dozens at a time."""
    source = _Inflated(pieces, limits.ratio)
    tar = _Tar(limits)
    while not tar.ended:
        group, used = tar.parse(source.waiting)
        source.drop(used)
        if group:
            yield group
        if tar.problem is not None:
            raise tar.problem
        if not tar.ended and not source.more(tar.wanted):
            raise IntegrityError("an archive is cut off")
    source.end()


class _Tar:
    """Takes members out of what has come of an archive.

    Attributes:
        wanted: how many bytes the next member needs, as far as that is known.
        ended: whether the end was seen.
        problem: what is wrong behind the last member that was found.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._long_name: str | None = None
        self._count = self._total = 0
        self.wanted = _BLOCK
        self.ended = False
        self.problem: IntegrityError | None = None

    def parse(self, data: bytearray) -> tuple[list[Member], int]:
        """Return the files that are whole in `data`, and how many of its bytes are done with."""
        found: list[Member] = []
        at = 0
        if len(data) < self.wanted:
            return found, at
        with memoryview(data) as view:
            while len(view) - at >= _BLOCK:
                header = bytes(view[at : at + _BLOCK])
                if header == _ZEROS:
                    self.ended = True
                    return found, at + _BLOCK
                try:
                    name, size, kind = self._checked(header)
                except IntegrityError as exc:
                    self.problem = exc
                    return found, at
                start = at + _BLOCK
                end = start + size + -size % _BLOCK
                if end > len(view):
                    self.wanted = end - at
                    return found, at
                self._take(name, bytes(view[start : start + size]), kind, found)
                at = end
        self.wanted = _BLOCK
        return found, at

    def _checked(self, header: bytes) -> tuple[str, int, bytes]:
        name, size, kind = _header(header)
        limits = self._limits
        if self._count >= limits.members:
            raise IntegrityError(f"an archive of more than {limits.members} members")
        if size > (_LONG_NAME_BYTES_MAX if kind == _LONG_NAME else limits.member_bytes):
            raise IntegrityError(f"an archive member of {size} bytes")
        if self._total + size > limits.total_bytes:
            raise IntegrityError(f"an archive of more than {limits.total_bytes} bytes")
        if kind not in _KINDS:
            raise IntegrityError(f"an archive member {name[:80]!r} that is no file (type {kind!r})")
        return name, size, kind

    def _take(self, name: str, content: bytes, kind: bytes, found: list[Member]) -> None:
        self._count += 1
        self._total += len(content)
        if kind == _LONG_NAME:
            self._long_name = content.rstrip(b"\0").decode("utf-8", "replace")
            return
        if kind != _FOLDER:
            found.append(Member(self._long_name or name, content))
        self._long_name = None


def read_nodes(pieces: Iterable[bytes], limits: Limits) -> Iterator[RawNode]:
    """Yield the Merkle nodes of an archive; both layouts, with and without `tree/nodes/`.

    Raises:
        IntegrityError: as `read_members`, or a member that is not half of a node.
    """
    halves: dict[str, bytes] = {}
    current: ObjectHash | None = None
    for member in read_members(pieces, limits):
        match = _NODE_NAME.match(member.name)
        if match is None:
            raise IntegrityError(f"an archive of nodes with {member.name[:80]!r} in it")
        id = ObjectHash(int(match[1] + match[2], 16))
        if current is not None and id != current:
            raise IntegrityError(f"node {hash_text(current)} has only one of its two files")
        if match[3] in halves:
            raise IntegrityError(f"node {hash_text(id)} has its {match[3]} twice")
        current = id
        halves[match[3]] = member.content
        if len(halves) == 2:
            yield RawNode(id, halves["node"], halves["children"])
            halves.clear()
            current = None
    if current is not None:
        raise IntegrityError(f"node {hash_text(current)} has only one of its two files")


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


def node_members(nodes: Iterable[RawNode], prefix: str = "tree/nodes/") -> Iterator[Member]:
    """Yield the two files of each node, next to each other.

    Args:
        nodes: to send.
        prefix: `tree/nodes/` from server to client, empty for a push.
    """
    for node in nodes:
        text = hash_text(node.id)
        folder = f"{prefix}{text[:3]}/{text[3:]}"
        yield Member(f"{folder}/node", node.node)
        yield Member(f"{folder}/children", node.children)


class _Inflated:
    """What comes out of a gzip stream.

    Attributes:
        waiting: that nobody has taken yet.
    """

    def __init__(self, pieces: Iterable[bytes], ratio: int) -> None:
        self._pieces = iter(pieces)
        self._ratio = ratio
        self._inflate = zlib.decompressobj(_GZIP)
        self._input = b""
        self.waiting = bytearray()
        self._sent = 0
        self._out = 0
        self._begun = False

    def drop(self, size: int) -> None:
        """Let go of the first bytes of what waits."""
        if size == len(self.waiting):
            self.waiting = bytearray()
        elif size:
            del self.waiting[:size]

    def more(self, wanted: int) -> bool:
        """Have more bytes wait, `wanted` if they come; return False if there are no more."""
        before = len(self.waiting)
        while len(self.waiting) == before or len(self.waiting) < wanted:
            if not self._more():
                return False
        return True

    def end(self) -> None:
        """Read to the end, where only zeros may follow; raise `IntegrityError`."""
        while True:
            if self.waiting.count(0) != len(self.waiting):
                raise IntegrityError("an archive goes on behind its end")
            self.waiting.clear()
            if not self._more():
                return

    def _more(self) -> bool:
        """Inflate some more; return whether there may be more yet."""
        if not self._input:
            piece = next(self._pieces, None)
            if piece is None:
                if self._begun:
                    raise IntegrityError("an archive is cut off")
                return False
            self._input = bytes(piece)
            self._sent += len(piece)
        self._begun = self._begun or bool(self._input)
        try:
            data = self._inflate.decompress(self._input, _STEP_BYTES)
        except zlib.error as exc:
            raise IntegrityError(f"an archive is not gzip, or damaged: {exc}") from exc
        self._input = self._inflate.unconsumed_tail
        if self._inflate.eof:
            self._input = self._inflate.unused_data
            self._inflate = zlib.decompressobj(_GZIP)
            self._begun = False
        self.waiting += data
        self._out += len(data)
        if self._out > _RATIO_FREE_BYTES and self._out > self._sent * self._ratio:
            raise IntegrityError("an archive inflates beyond all measure")
        return True


def _header(raw: bytes) -> tuple[str, int, bytes]:
    if _octal(raw[148:156]) != sum(raw) - sum(raw[148:156]) + 8 * 32:
        raise IntegrityError("an archive is not tar: a checksum is wrong")
    # GNU's form for 8 GiB and more.
    size = int.from_bytes(raw[125:136], "big") if raw[124] & 0x80 else _octal(raw[124:136])
    name = raw[:100].split(b"\0", 1)[0].decode("utf-8", "replace")
    if raw[257:263] == b"ustar\0" and raw[345]:
        name = raw[345:500].split(b"\0", 1)[0].decode("utf-8", "replace") + "/" + name
    return name, size, raw[156:157]


def _octal(field: bytes) -> int:
    # Not `int` alone: it takes signs and underscores, too.
    match = _OCTAL.match(field)
    if match is None:
        raise IntegrityError(f"an archive is not tar: {field!r} for a number")
    return int(match[1] or b"0", 8)


def _encoded_header(name: str, size: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > 100:
        raise ValueError(f"a name of {len(encoded)} bytes in an archive")
    length = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    checksum = _FIXED_SUM + sum(encoded) + sum(length)
    return b"".join(
        (encoded.ljust(100, b"\0"), _OWNER, length, _TIME, b"%06o\0 " % checksum, _REST)
    )
