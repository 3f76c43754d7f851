"""What a client pushes, as it is: nodes under their own ids, blobs under the hash of their bytes.

Nothing received is part of a branch yet: `oxenfs.remote.local.advance` looks at all of it before
a branch moves. Until then it is dead weight at the worst.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

import xxhash

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.kv import Environment
from oxenfs.model import CHUNK_BYTES, Content, ObjectHash
from oxenfs.remote.base import RawNode
from oxenfs.remote.hashing import little
from oxenfs.remote.local.blob_writer import PACKED_BYTES_MAX, BlobWriter, chunk_digests
from oxenfs.remote.local.nodes import NodeWriter
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import COMMIT, DIRECTORY, VNODE, decode_payload
from oxenfs.remote.wire import decode_node

_STEP_BYTES = 1 << 20


def store_nodes(meta: Environment, nodes: Iterable[RawNode]) -> int:
    """Store pushed nodes and return how many came; those that are there already stay.

    Raises:
        IntegrityError: one of them is no node, is not the one of its id, or has children that a
            node of its kind cannot have. Those before it are stored.
    """
    writer = NodeWriter(meta)
    count = 0
    try:
        for node in nodes:
            _check(node)
            _drop_damaged(meta, "nodes", node.id)
            writer.put(node)
            count += 1
    finally:
        with meta.write() as txn:
            writer.flush_into(txn)
    return count


class Receiver:
    """Takes blobs in. They are durable after `flush`. Use one from one thread.

    A blob that is there already is read and checked first: a damaged one is replaced.
    """

    def __init__(self, remote: LocalRemote) -> None:
        """Receive into `remote`."""
        self._remote = remote
        self._writer = BlobWriter(remote.layout, remote.meta)

    def add_bytes(self, data: bytes) -> ObjectHash:
        """Store a small blob and return its hash."""
        value = ObjectHash(xxhash.xxh3_128_intdigest(data))
        if not intact(self._remote, value):
            self._writer.add(Content(len(data), 0, lambda: io.BytesIO(data)))
        return value

    def add_stream(self, pieces: Iterator[bytes]) -> tuple[ObjectHash, int, bytes]:
        """Store a blob of any size in flat memory; return hash, size and its first bytes."""
        head = b""
        for piece in pieces:
            head += piece
            if len(head) > PACKED_BYTES_MAX:
                break
        else:
            return self.add_bytes(head), len(head), head
        path = new_file(self._remote)
        try:
            with path.open("xb", buffering=0) as target:
                value, size, digests = _copy(_rejoined(head, pieces), target)
                os.fsync(target.fileno())
            self.adopt(path, value, size, digests)
        finally:
            path.unlink(missing_ok=True)
        return value, size, head[:PACKED_BYTES_MAX]

    def adopt(self, path: Path, value: ObjectHash, size: int, digests: list[bytes]) -> None:
        """Make a synced file in the repository's `tmp` a blob, unless it is there and intact."""
        if intact(self._remote, value):
            path.unlink()
        elif size <= PACKED_BYTES_MAX:
            self.add_bytes(path.read_bytes())
            path.unlink()
        else:
            self._writer.adopt(path, value, size, digests)

    def flush(self) -> None:
        """Wait until everything added is on disk and in the index."""
        self._writer.flush()

    def close(self) -> None:
        """Let go; what was not flushed is dropped."""
        self._writer.close()


def intact(remote: LocalRemote, blob: ObjectHash) -> bool:
    """Return whether `blob` is stored and has its hash; a damaged one is dropped from the index."""
    try:
        size = remote.locate(blob).size
        for offset in range(0, max(size, 1), 4 * _STEP_BYTES):
            remote.read(blob, offset, min(4 * _STEP_BYTES, size - offset))
    except NotFound:
        return False
    except IntegrityError:
        with remote.meta.write() as txn:
            txn.delete("blobs", little(blob))
        return False
    return True


def new_file(remote: LocalRemote) -> Path:
    """Return a path in the repository's `tmp` that nobody uses."""
    return remote.layout.tmp / f"received-{os.getpid()}-{secrets.token_hex(8)}"


def _copy(pieces: Iterator[bytes], target: io.FileIO) -> tuple[ObjectHash, int, list[bytes]]:
    state = xxhash.xxh3_128()
    digests: list[bytes] = []
    waiting = bytearray()
    size = 0
    for piece in pieces:
        state.update(piece)
        size += len(piece)
        left = memoryview(piece)
        while left:
            left = left[target.write(left) :]
        waiting += piece
        whole = len(waiting) - len(waiting) % CHUNK_BYTES
        if whole:
            digests += chunk_digests(memoryview(bytes(waiting[:whole])))
            del waiting[:whole]
    digests += chunk_digests(memoryview(bytes(waiting)))
    return ObjectHash(state.intdigest()), size, digests


def _rejoined(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _drop_damaged(meta: Environment, table: str, id: ObjectHash) -> None:
    try:
        meta.get(table, little(id))
    except IntegrityError:
        with meta.write() as txn:
            txn.delete(table, little(id))


_CHILDREN = {COMMIT: {DIRECTORY}, DIRECTORY: {VNODE}}


def _check(raw: RawNode) -> None:
    node = decode_node(raw)
    allowed = _CHILDREN.get(node.type)
    for child in node.children:
        if allowed is not None and child.type not in allowed:
            raise IntegrityError(f"a node of type {node.type} with a child of type {child.type}")
        if allowed is None and child.type in (COMMIT, VNODE):
            raise IntegrityError(f"a vnode with a child of type {child.type}")
        decode_payload(child.type, child.payload)
