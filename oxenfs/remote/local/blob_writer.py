"""Takes contents into a local repository: hashed while they are read, each stored once.

How they lie there is in `oxenfs.remote.local.blobs`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xxhash

from oxenfs.kv import Environment
from oxenfs.model import CHUNK_BYTES, Content, ObjectHash
from oxenfs.remote.hashing import little
from oxenfs.remote.local.blobs import ROW, SEGMENT_CHUNKS
from oxenfs.remote.local.layout import Layout, sync_folder
from oxenfs.remote.local.packs import PackWriter
from oxenfs.remote.verify import chunk_digest

PACKED_BYTES_MAX = 1 << 20
# Keys are hashes, so nearly every row of a batch dirties a page of its own: few large batches write
# less. A crash loses a batch; what a power cut may lose is bounded too.
_BATCH_BLOBS = 32_768
_BATCH_BYTES = 256 << 20


class Stored(NamedTuple):
    """A blob that is in the repository now.

    Attributes:
        head: the first bytes of the content, at most 1 MiB: all of a packed blob.
        new: whether the repository did not have it before.
    """

    hash: ObjectHash
    size: int
    head: bytes
    new: bool


class BlobWriter:
    """Takes contents in. Blobs are durable and indexed after `flush`; a crash loses a batch.

    Memory: some MiB of blobs, and the rows of one batch. Use one writer from one thread.
    """

    def __init__(self, layout: Layout, meta: Environment) -> None:
        """Begin; the pack is taken at the first small blob."""
        self._layout = layout
        self._meta = meta
        self._pack: PackWriter | None = None
        self._rows: dict[bytes, bytes] = {}
        self._digests: list[tuple[bytes, bytes]] = []
        self._buffer = memoryview(bytearray(PACKED_BYTES_MAX))
        _remove_leftovers(layout.tmp)

    def add(self, content: Content) -> Stored:
        """Store a content unless it is there already.

        Raises:
            SourceChanged: the content changed while it was read; nothing of it stays.
        """
        with content.open() as source:
            # As much as it should have, and one byte to see the end: asking for 1 MiB would
            # make a buffer of 1 MiB each time.
            head = source.read(min(content.size, PACKED_BYTES_MAX) + 1)
            # A read may give less than there is; the end is where it gives nothing.
            while len(head) != content.size and 0 < len(head) <= PACKED_BYTES_MAX:
                more = source.read(PACKED_BYTES_MAX + 1 - len(head))
                if not more:
                    break
                head += more
        return self._add_packed(head) if len(head) <= PACKED_BYTES_MAX else self._add_file(content)

    def flush(self) -> None:
        """Wait until everything added is on disk and in the index."""
        if self._pack is not None:
            self._pack.flush()
        if not self._rows:
            return
        with self._meta.write() as txn:
            # Packs that another writer indexed meanwhile hold the same bytes: either row will do.
            for key, row in sorted(self._rows.items()):
                txn.put("blobs", key, row)
            for key, row in self._digests:
                txn.put("digests", key, row)
        self._rows.clear()
        self._digests.clear()

    def close(self) -> None:
        """Let go of the pack; what was not flushed is dropped."""
        if self._pack is not None:
            self._pack.close()

    def _add_packed(self, content: bytes) -> Stored:
        value = xxhash.xxh3_128_intdigest(content)
        key = little(value)
        new = not self._has(key)
        if new:
            if self._pack is None:
                self._pack = PackWriter(self._layout.packs)
            offset = self._pack.append(key, content)
            if len(content) > CHUNK_BYTES:
                digests = chunk_digests(memoryview(content))
                self._digests.append((key + bytes(4), b"".join(digests)))
            self._rows[key] = ROW.pack(self._pack.number, offset, len(content))
            if len(self._rows) >= _BATCH_BLOBS or self._pack.unsafe_bytes >= _BATCH_BYTES:
                self.flush()
        return Stored(ObjectHash(value), len(content), content, new)

    def _add_file(self, content: Content) -> Stored:
        if content.known is not None and self._has(little(content.known)):
            found = self._hash_only(content)
            if found.hash == content.known:
                return found
        path = self._layout.tmp / f"blob-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with content.open() as source, path.open("xb", buffering=0) as target:
                value, size, head, digests = self._copy(source, target)
                key = little(value)
                if self._has(key):
                    path.unlink()
                    return Stored(value, size, head, new=False)
                os.fsync(target.fileno())
            self.adopt(path, value, size, digests)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Stored(value, size, head, new=True)

    def adopt(self, path: Path, value: ObjectHash, size: int, digests: list[bytes]) -> None:
        """Make a synced file of the repository's `tmp` the blob `value`; durable on return.

        Args:
            path: of the file; it is renamed.
            value: xxh3-128 of its bytes.
            size: in bytes.
            digests: of each of its chunks.
        """
        place = self._layout.blob(value)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        path.rename(place)
        sync_folder(place.parent)
        sync_folder(place.parent.parent)
        key = little(value)
        self._rows[key] = ROW.pack(0, 0, size)
        for segment in range(0, len(digests), SEGMENT_CHUNKS):
            row = b"".join(digests[segment : segment + SEGMENT_CHUNKS])
            number = segment // SEGMENT_CHUNKS
            self._digests.append((key + number.to_bytes(4, "big"), row))
        self.flush()

    def _copy(
        self, source: BinaryIO, target: BinaryIO
    ) -> tuple[ObjectHash, int, bytes, list[bytes]]:
        state = xxhash.xxh3_128()
        digests: list[bytes] = []
        head = b""
        size = 0
        while filled := _fill(source, self._buffer):
            block = self._buffer[:filled]
            state.update(block)
            digests.extend(chunk_digests(block))
            head = head or bytes(block)
            size += filled
            while block:
                block = block[target.write(block) :]
        return ObjectHash(state.intdigest()), size, head, digests

    def _hash_only(self, content: Content) -> Stored:
        state = xxhash.xxh3_128()
        head = b""
        size = 0
        with content.open() as source:
            while filled := _fill(source, self._buffer):
                block = self._buffer[:filled]
                state.update(block)
                head = head or bytes(block)
                size += filled
        return Stored(ObjectHash(state.intdigest()), size, head, new=False)

    def _has(self, key: bytes) -> bool:
        return key in self._rows or self._meta.has("blobs", key)


def _remove_leftovers(folder: Path) -> None:
    """Remove what writers left unfinished that do not live any more."""
    for path in folder.glob("blob-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


def chunk_digests(block: memoryview) -> list[bytes]:
    """Return the digest of each chunk in `block`, which starts at one."""
    return [chunk_digest(block[at : at + CHUNK_BYTES]) for at in range(0, len(block), CHUNK_BYTES)]


def _fill(source: BinaryIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the source ends; chunk digests need whole chunks."""
    filled = 0
    while filled < len(buffer):
        data = source.read(len(buffer) - filled)
        if not data:
            break
        buffer[filled : filled + len(data)] = data
        filled += len(data)
    return filled
