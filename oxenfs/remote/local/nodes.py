"""The Merkle nodes of a local repository, in the wire's own form.

Table `nodes`: id (16 bytes LE) to u32 length of `node`, `node`, `children`. A stored node is never
changed; equal ids mean equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.kv import Environment, Transaction
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.base import DirectoryNodes, RawNode
from oxenfs.remote.hashing import little
from oxenfs.remote.payloads import DIRECTORY, VNODE
from oxenfs.remote.wire import children_of

_LENGTH = struct.Struct("<I")
_BATCH_BYTES = 8 << 20


class Nodes:
    """Reads nodes. Safe to use from several threads."""

    def __init__(self, meta: Environment) -> None:
        """Read from the index `meta`."""
        self._meta = meta

    def get(self, id: ObjectHash) -> RawNode:
        """Return a node; raise `NotFound`."""
        value = self._meta.get("nodes", little(id))
        if value is None:
            raise NotFound(f"node {hash_text(id)} is not in {self._meta.path.parent}")
        return unpack(id, value)

    def directory(self, id: ObjectHash) -> DirectoryNodes:
        """Return a directory's node and its vnodes; raise `NotFound`."""
        node = self.get(id)
        if node.node[0] != DIRECTORY:
            raise IntegrityError(f"node {hash_text(id)} is not a directory")
        return DirectoryNodes(node, tuple(self.get(child.hash) for child in children_of(node)))

    def below(self, root: ObjectHash, seen: set[ObjectHash] | None = None) -> Iterator[RawNode]:
        """Yield the directory `root`, its vnodes and everything below, each node once.

        Args:
            root: a directory's node id.
            seen: ids to leave out together with what is below them; grows.
        """
        seen = set() if seen is None else seen
        waiting = [root]
        while waiting:
            id = waiting.pop()
            if id in seen:
                continue
            seen.add(id)
            node = self.get(id)
            yield node
            waiting.extend(
                child.hash for child in children_of(node) if child.type in (DIRECTORY, VNODE)
            )


class NodeWriter:
    """Stores nodes in batches of their own transactions.

    A node that no commit refers to yet is harmless, so batches need not be one transaction with
    the commit: the branch moves last.
    """

    def __init__(self, meta: Environment) -> None:
        """Write to the index `meta`."""
        self._meta = meta
        self._batch: dict[ObjectHash, RawNode] = {}
        self._batch_bytes = 0

    def put(self, node: RawNode) -> None:
        """Queue a node, unless it is stored already."""
        if node.id in self._batch or self._meta.get("nodes", little(node.id)) is not None:
            return
        self._batch[node.id] = node
        self._batch_bytes += len(node.node) + len(node.children)
        if self._batch_bytes >= _BATCH_BYTES:
            with self._meta.write() as txn:
                self.flush_into(txn)

    def flush_into(self, txn: Transaction) -> None:
        """Store what is queued in a transaction of the caller's."""
        for node in self._batch.values():
            txn.put("nodes", little(node.id), pack(node))
        self._batch.clear()
        self._batch_bytes = 0


def pack(node: RawNode) -> bytes:
    """Return the value of a node in the table."""
    return _LENGTH.pack(len(node.node)) + node.node + node.children


def unpack(id: ObjectHash, value: bytes) -> RawNode:
    """Return the node in a value of the table."""
    (length,) = _LENGTH.unpack_from(value)
    return RawNode(id, value[4 : 4 + length], value[4 + length :])
