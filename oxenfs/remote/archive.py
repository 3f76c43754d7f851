"""tar.gz as Oxen sends it, read as a stream: nodes, blobs by hash, dir_hashes.

Reading trusts nothing: members are files and folders only, and their number, size and the ratio of
inflated to sent bytes are limited, so that an archive can neither fill the memory nor keep a
reader busy for ever. Our own decoder of tar's 512-byte headers gives each member as soon as it is
complete; `tarfile` would hold the first one of a batch back until much more has arrived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from oxenfs.errors import IntegrityError
from oxenfs.remote.inflating import Inflated

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_LONG_NAME_BYTES_MAX = 64 << 10
_LONG_NAME, _FOLDER = b"L", b"5"
_KINDS = (b"0", b"\0", _LONG_NAME, _FOLDER)
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*\Z")


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
    source = Inflated(pieces, limits.ratio)
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
