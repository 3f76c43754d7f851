"""The seal that every value carries: an xxh3-64 of itself and its key."""

from __future__ import annotations

from pathlib import Path

import xxhash

from oxenfs.errors import IntegrityError

_SEAL_BYTES = 8
_digest, _number = xxhash.xxh3_64_digest, xxhash.xxh3_64_intdigest


def seal(key: bytes, value: bytes) -> bytes:
    """Return the seal of a value under a key."""
    # The key is in it too: a sound record of another key, on a stale page, must not pass.
    return _digest(value, seed=_number(key))


def unseal(sealed: bytes | memoryview, table: str, key: bytes, path: Path) -> bytes:
    """Return a copy of a value without its seal; raise `IntegrityError` if that does not fit."""
    whole = bytes(sealed)
    value = whole[:-_SEAL_BYTES]
    if seal(key, value) != whole[-_SEAL_BYTES:]:
        raise IntegrityError(f"damaged record {key.hex()} in table {table} of {path}")
    return value
