"""Objects for a disk cache, and what its folder takes up."""

from __future__ import annotations

from pathlib import Path

import xxhash
from repositories import noise

from oxenfs.model import CHUNK_BYTES
from oxenfs.remote.verify import chunk_digest
from oxenfs.store.cache import Cache
from oxenfs.store.cache_objects import Object, chunk_key, small_key
from oxenfs.store.cache_rows import CHUNKS, SMALL

HOST = b"a host's 16 byte"
MIB = 1 << 20


def small(data: bytes, host: bytes = HOST) -> Object:
    return Object(SMALL, small_key(host, xxhash.xxh3_128_intdigest(data)), data)


def smalls(count: int, size: int = 10_000, seed: object = "small") -> list[Object]:
    return [small(noise(size, (seed, number))) for number in range(count)]


def chunk(blob: int, number: int, blob_size: int = 64 * MIB) -> Object:
    data = noise(CHUNK_BYTES, (blob, number))
    return Object(CHUNKS, chunk_key(HOST, blob, blob_size, number), data, chunk_digest(data))


def held(cache: Cache, each: Object) -> bool:
    """Return whether an object can be read; it must have the right bytes then."""
    row = cache.find(each.table, each.key)
    if row is None:
        return False
    data = bytearray(row.extent.length)
    if not cache.load(each.table, each.key, row, memoryview(data), wait=True):
        return False
    cache.ages.touch(each.key)
    assert data == each.data
    return True


def on_disk(folder: Path) -> int:
    """Return the bytes that a folder takes up."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
