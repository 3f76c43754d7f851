"""Blobs of all sizes at which something changes, and how to read them."""

from __future__ import annotations

import xxhash
from repositories import KIB, MIB, noise

from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.store.direct import DirectBlobs

C = CHUNK_BYTES
SIZES = (1, 10, 4096, C - 1, C, C + 1, 700 * KIB, MIB, MIB + 1, 3 * MIB + 300 * KIB)
BLOBS = {size: noise(size, size) for size in SIZES}
LARGEST = max(SIZES)
PACKED = 700 * KIB


def hash_of(data: bytes) -> ObjectHash:
    return ObjectHash(xxhash.xxh3_128_intdigest(data))


async def read(blobs: DirectBlobs, data: bytes, offset: int, size: int) -> bytes:
    reader = blobs.open(hash_of(data), len(data))
    try:
        return bytes(await reader.read(offset, size))
    finally:
        reader.close()
