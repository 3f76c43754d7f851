"""Commits, branches, entries and changes as frozen values. No I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NewType

from oxenfs.errors import Unsupported, UsageError
from oxenfs.names import quoted

ObjectHash = NewType("ObjectHash", int)
"""A hash as Oxen has them: 128 bits, xxh3-128 for blobs, an opaque name for nodes."""

Digest = NewType("Digest", bytes)
"""BLAKE3 of one chunk (32 bytes), then its xxh3-128 (16): see `oxenfs.remote.verify`."""

CHUNK_BYTES = 256 * 1024
"""Blobs are verified in chunks of this size; the last one of a blob may be shorter."""

NAME_BYTES_MAX = 255
"""The longest file name, as on Linux file systems."""

DEPTH_MAX = 300
"""The most folders inside each other that are published: trees are built by recursion."""

# Names that nothing can be said against, so that most are looked at once only.
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}\Z")
_HASH_TEXT = re.compile(r"[0-9a-fA-F]{1,32}\Z")


class Kind(enum.IntEnum):
    """What an entry is. The values are those stored in columns: 0 is a directory."""

    DIRECTORY = 0
    BINARY = 1
    TEXT = 2
    IMAGE = 3
    VIDEO = 4
    AUDIO = 5
    TABULAR = 6


def hash_text(value: ObjectHash | int) -> str:
    """Return Oxen's text form of a hash: lowercase hex without zero padding."""
    return format(value, "x")


def parse_hash(text: str) -> ObjectHash:
    """Return the hash that `text` is; raise `UsageError` unless it is 1 to 32 hex digits."""
    if not _HASH_TEXT.match(text):
        raise UsageError(f"not a hash: {text!r}")
    return ObjectHash(int(text, 16))


def check_name(name: bytes) -> None:
    """Raise `Unsupported` unless `name` can be the name of an entry in an Oxen repository.

    Refused are: empty, `.`, `..`, anything with `/` or NUL, more than 255 bytes, bytes that are
    not UTF-8 (the format stores text), and `.oxen` in any ASCII case, which Oxen keeps for itself.
    """
    if _PLAIN_NAME.match(name):
        return
    if not name or name in (b".", b".."):
        raise Unsupported(f"not a file name: {quoted(name)}")
    if b"/" in name or b"\0" in name:
        raise Unsupported(f"a file name with a slash or NUL: {quoted(name)}")
    if len(name) > NAME_BYTES_MAX:
        raise Unsupported(
            f"a file name of more than {NAME_BYTES_MAX} bytes: {quoted(name[:40])}..."
        )
    if name.lower() in (b".oxen", b"oxen~1"):
        raise Unsupported(f"Oxen keeps the name {quoted(name)} for itself")
    try:
        name.decode()
    except UnicodeDecodeError as exc:
        raise Unsupported(f"a file name that is not UTF-8: {quoted(name)}") from exc


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a commit."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit.

    Attributes:
        parents: ids; the first is the branch the commit was made on.
        timestamp_ns: Unix time in nanoseconds.
    """

    id: ObjectHash
    parents: tuple[ObjectHash, ...]
    author: Author
    message: str
    timestamp_ns: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A name that moves, and the commit it is at."""

    name: str
    commit: ObjectHash


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file on their way into a repository.

    Attributes:
        size: in bytes, when the change set was made.
        mtime_ns: modification time to store, Unix nanoseconds.
        open: gives the bytes from the start. May be called again, from any thread. What it
            returns must raise `SourceChanged` from `read` or `close` rather than pass off a
            mixture of two versions of the file.
        known: what the bytes are likely to hash to. A large content is then hashed first, and
            not copied if the guess was right.
        stored: what the bytes hash to if they are the repository's own already, from another path
            or commit: a remote need not read them to know.
    """

    size: int
    mtime_ns: int
    open: Callable[[], BinaryIO]
    known: ObjectHash | None = None
    stored: ObjectHash | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Add or replace the file at `path`; what stands in its way is replaced."""

    path: bytes
    content: Content


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Let there be a directory at `path`, if only an empty one."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file or whole directory at `path`; nothing there is no error."""

    path: bytes


Change = Put | MakeDirectory | Remove
"""One step of a change set. Paths are relative to the root, `/`-separated, without `.` or `..`.

A change set is a stream of changes in *tree order*: sorted by the list of path components, so that
everything below one directory is together. See `tree_order`.
"""


def tree_order(path: bytes) -> list[bytes]:
    """Return the sort key of `path` in a change set: its components."""
    return path.split(b"/")


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        files: paths added, replaced or removed.
        uploaded_files: blobs that the repository did not have.
        uploaded_bytes: the bytes of those.
    """

    commit: ObjectHash
    branch: str
    files: int
    uploaded_files: int
    uploaded_bytes: int
