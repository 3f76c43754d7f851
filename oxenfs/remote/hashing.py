"""Hashes as Oxen computes and writes them: xxh3-128, ids of commits."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import xxhash

from oxenfs.model import Author, ObjectHash, hash_text

_NS = 1_000_000_000


def xxh3(*parts: bytes) -> ObjectHash:
    """Return the xxh3-128 of the parts one after the other."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return ObjectHash(state.intdigest())


def little(value: int) -> bytes:
    """Return a hash as outside of msgpack: 16 bytes, little-endian."""
    return value.to_bytes(16, "little")


def commit_id(
    parents: Iterable[ObjectHash], message: str, author: Author, timestamp_ns: int
) -> ObjectHash:
    """Return the id that Oxen gives a commit; whole seconds count, so two in one second clash."""
    debug = "[" + ", ".join(f'"{hash_text(parent)}"' for parent in parents) + "]"
    return xxh3(
        b"commit",
        debug.encode(),
        message.encode(),
        author.name.encode(),
        author.email.encode(),
        struct.pack("<q", timestamp_ns // _NS),
    )
