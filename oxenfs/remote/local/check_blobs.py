"""Reads every blob of a local repository and says which ones are not what they should be."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import xxhash

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.kv import Environment
from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.local.blobs import Blobs
from oxenfs.remote.local.packs import HEADER_BYTES, header_fits
from oxenfs.remote.verify import chunk_digest

_BLOCK_CHUNKS = 4
_CHUNKS_NAMED = 20
_ROW = struct.Struct("<IQQ")
_PLACE = struct.Struct(">IQQ16s")


def bad_blobs(meta: Environment, blobs: Blobs, done: Callable[[int], None]) -> dict[bytes, str]:
    """Return what is wrong with each blob that is not sound, by its key in the index.

    Reads in the order in which blobs lie on disk. Memory: about 100 bytes per blob.

    Args:
        meta: the index.
        blobs: knows where the bytes are.
        done: called with the size of each blob.
    """
    bad: dict[bytes, str] = {}
    places: list[bytes] = []
    with meta.read() as txn:
        for key in txn.keys("blobs"):
            try:
                places.append(_PLACE.pack(*_ROW.unpack(txn.get("blobs", key) or b""), key))
            except (IntegrityError, struct.error):
                bad[key] = "has a damaged record in the index"
    places.sort()
    for place in places:
        pack, _, size, key = _PLACE.unpack(place)
        hash = ObjectHash(int.from_bytes(key, "little"))
        try:
            location = blobs.locate(hash)
            reason = _trouble(blobs, hash, location) if not pack else None
            reason = _trouble_in_pack(blobs, hash, location) if pack else reason
        except OSError as exc:
            reason = f"cannot be read: {exc}"
        except (IntegrityError, NotFound) as exc:
            reason = f"cannot be checked: {exc}"
        if reason is not None:
            bad[key] = reason
        done(size)
    return bad


def _trouble_in_pack(blobs: Blobs, hash: ObjectHash, location: BlobLocation) -> str | None:
    start = location.offset - HEADER_BYTES
    with Path(location.path).open("rb") as file:
        file.seek(max(start, 0))
        header = file.read(HEADER_BYTES)
    if not header_fits(header, hash.to_bytes(16, "little"), location.size):
        return f"has no header of its own in {location.path} at {start}"
    return _trouble(blobs, hash, location)


def _trouble(blobs: Blobs, hash: ObjectHash, location: BlobLocation) -> str | None:
    path, offset, size = location
    state = xxhash.xxh3_128()
    wrong: list[int] = []
    with Path(path).open("rb", buffering=0) as file:
        file.seek(offset)
        for at in range(0, size, _BLOCK_CHUNKS * CHUNK_BYTES):
            wanted = min(_BLOCK_CHUNKS * CHUNK_BYTES, size - at)
            block = file.read(wanted)
            if len(block) < wanted:
                return f"is cut off in {path}: {at + len(block)} of {size} bytes are there"
            state.update(block)
            if size > CHUNK_BYTES:
                wrong += _wrong_chunks(blobs, hash, at // CHUNK_BYTES, memoryview(block))
        if not offset and file.read(1):
            return f"has more than {size} bytes in {path}"
    named = ", ".join(map(str, wrong[:_CHUNKS_NAMED]))
    where = f" (chunks of 256 KiB: {named})" if wrong else ""
    if state.intdigest() != hash:
        return f"does not have its hash{where}"
    return f"has digests that are not its own{where}" if wrong else None


def _wrong_chunks(blobs: Blobs, hash: ObjectHash, first: int, block: memoryview) -> list[int]:
    count = -(-len(block) // CHUNK_BYTES)
    chunks = (block[at : at + CHUNK_BYTES] for at in range(0, len(block), CHUNK_BYTES))
    digests = blobs.digests(hash, first, count)
    return [
        number
        for number, (chunk, digest) in enumerate(zip(chunks, digests, strict=True), first)
        if chunk_digest(chunk) != digest
    ]
