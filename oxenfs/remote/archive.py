"""tar.gz as Oxen sends it, read and written as streams: nodes, blobs by hash, dir_hashes.

Reading trusts nothing: members are files and folders only, and their number, size and the ratio of
inflated to sent bytes are limited, so that an archive can neither fill the memory nor keep a
reader busy for ever. Our own decoder of tar's 512-byte headers gives each member as soon as it is
complete; `tarfile` would hold the first one of a batch back until much more has arrived.
"""

from __future__ import annotations

import re
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
_RATIO_FREE_BYTES = 64 << 20
_LONG_NAME_BYTES_MAX = 64 << 10
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
    source = _Inflated(pieces, limits.ratio)
    long_name = None
    count = 0
    total = 0
    while True:
        header = source.take(_BLOCK)
        if header == bytes(_BLOCK):
            source.end()
            return
        count += 1
        if count > limits.members:
            raise IntegrityError(f"an archive of more than {limits.members} members")
        name, size, kind = _header(header)
        if size > (_LONG_NAME_BYTES_MAX if kind == b"L" else limits.member_bytes):
            raise IntegrityError(f"an archive member of {size} bytes")
        total += size
        if total > limits.total_bytes:
            raise IntegrityError(f"an archive of more than {limits.total_bytes} bytes")
        content = source.take(size)
        source.take(-size % _BLOCK)
        if kind == b"L":
            long_name = content.rstrip(b"\0").decode("utf-8", "replace")
        elif kind in (b"0", b"\0"):
            yield Member(long_name or name, content)
            long_name = None
        elif kind == b"5":
            long_name = None
        else:
            raise IntegrityError(f"an archive member {name[:80]!r} that is no file (type {kind!r})")


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
    waiting = bytearray()
    for member in members:
        waiting += squeeze.compress(_encoded_header(member.name, len(member.content)))
        waiting += squeeze.compress(member.content)
        waiting += squeeze.compress(bytes(-len(member.content) % _BLOCK))
        if len(waiting) >= 1 << 17:
            yield bytes(waiting)
            waiting.clear()
    waiting += squeeze.compress(bytes(2 * _BLOCK)) + squeeze.flush()
    yield bytes(waiting)


def _squeezer(level: int) -> Any:
    if level != 1:
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    # Seven times as fast as zlib at its level 1, and nodes get as small.
    from isal import isal_zlib

    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP)


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
    """Exact numbers of bytes out of a gzip stream."""

    def __init__(self, pieces: Iterable[bytes], ratio: int) -> None:
        self._pieces = iter(pieces)
        self._ratio = ratio
        self._inflate = zlib.decompressobj(_GZIP)
        self._input = b""
        self._buffer = bytearray()
        self._at = 0
        self._sent = 0
        self._out = 0
        self._begun = False

    def take(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            if not self._more():
                raise IntegrityError("an archive is cut off")
        start = self._at
        self._at += size
        with memoryview(self._buffer) as view:
            taken = bytes(view[start : self._at])
        if self._at > _STEP_BYTES or self._at == len(self._buffer):
            del self._buffer[: self._at]
            self._at = 0
        return taken

    def end(self) -> None:
        """Read to the end, where only zeros may follow; raise `IntegrityError`."""
        while True:
            if self._buffer.count(0, self._at) != len(self._buffer) - self._at:
                raise IntegrityError("an archive goes on behind its end")
            self._buffer.clear()
            self._at = 0
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
        self._buffer += data
        self._out += len(data)
        if self._out > _RATIO_FREE_BYTES and self._out > self._sent * self._ratio:
            raise IntegrityError("an archive inflates beyond all measure")
        return True


def _header(raw: bytes) -> tuple[str, int, bytes]:
    checksum = sum(raw[:148]) + 8 * 32 + sum(raw[156:])
    if _octal(raw[148:156]) != checksum:
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
    head = bytearray(
        encoded.ljust(100, b"\0")
        + b"0000644\0"
        + b"0000000\0" * 2
        + length
        + b"00000000000\0"
        + b" " * 8
        + b"0"
        + bytes(100)
        + b"ustar  \0"
    ).ljust(_BLOCK, b"\0")
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)
