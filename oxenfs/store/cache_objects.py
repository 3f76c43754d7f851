"""What the disk cache keeps: objects, their keys, and how their bytes are told to be right."""

from __future__ import annotations

from typing import NamedTuple

import blake3
import xxhash

from oxenfs.store.cache_rows import SMALL, Row
from oxenfs.store.segments import Buffer

DERIVED_KEY_BYTES_MAX = 500


class Object(NamedTuple):
    """Something to keep.

    Attributes:
        table: `SMALL`, `CHUNKS` or `DERIVED`.
        key: see `small_key`, `chunk_key`, `derived_key`.
        digest: empty for small blobs, whose hash is in their key.
    """

    table: str
    key: bytes
    data: Buffer
    digest: bytes = b""


def small_key(host: bytes, blob: int) -> bytes:
    """Return the key of a small blob; `host` is 16 bytes."""
    return host + blob.to_bytes(16, "big")


def chunk_key(host: bytes, blob: int, size: int, number: int) -> bytes:
    """Return the key of chunk `number` of a large blob that is said to have `size` bytes.

    The size is part of it: two trees may claim one hash, and only one of them be right.
    """
    return b"%b%b%b%b" % (
        host,
        blob.to_bytes(16, "big"),
        size.to_bytes(8, "big"),
        number.to_bytes(4, "big"),
    )


def derived_key(key: bytes) -> bytes:
    """Return the key under which the derived object `key` is kept.

    Raises:
        ValueError: `key` has more than `DERIVED_KEY_BYTES_MAX` bytes.
    """
    if len(key) > DERIVED_KEY_BYTES_MAX:
        raise ValueError(f"a key of {len(key)} bytes")
    return blake3.blake3(key).digest()


def is_right(table: str, key: bytes, row: Row, data: Buffer) -> bool:
    """Return whether `data` has the digest of the object that `row` and `key` are about.

    Small blobs have their own xxh3-128 in their key. Others keep a digest; of a chunk the
    xxh3-128 is compared, which finds damage, and its BLAKE3 by `oxenfs cache verify`.
    """
    found = xxhash.xxh3_128_digest(data)
    return found == (key[16:32] if table == SMALL else row.digest[-16:])
