"""Merkle nodes in Oxen's own form, to values and back.

A stored node is two byte strings. `node`: u8 type, u128 LE parent id, u32 LE length, the payload,
then 33 bytes per child (u8 type, u128 LE hash, u64 LE offset, u64 LE length). `children`: the
children's payloads (`payloads`), concatenated. Hashes are little-endian here, big-endian there.

Source: the node format of Oxen 0.25 to 0.65 (`V0_25_0`), seen in repositories of the client.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgpack

from oxenfs.errors import IntegrityError
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.base import RawNode
from oxenfs.remote.hashing import little
from oxenfs.remote.payloads import FILE, Payload, decode_payload, name_of

_HEADER = struct.Struct("<B16sI")
_ROW = struct.Struct("<B16sQQ")


class Child(NamedTuple):
    """A row of a node: what the child is, and its payload undecoded."""

    type: int
    hash: ObjectHash
    payload: bytes


class Node(NamedTuple):
    """A node with its own payload decoded."""

    type: int
    parent: ObjectHash
    payload: Payload
    children: list[Child]


def decode_node(raw: RawNode) -> Node:
    """Return the node; raise `IntegrityError` when it is not one, or not the one of its id."""
    try:
        kind, parent, length = _HEADER.unpack_from(raw.node)
        start = _HEADER.size
        payload = decode_payload(kind, raw.node[start : start + length])
        children = list(children_of(raw))
    except struct.error as exc:
        raise IntegrityError(f"node {hash_text(raw.id)} is damaged: {exc}") from exc
    if kind == FILE or payload.id != raw.id:  # type: ignore[union-attr]
        raise IntegrityError(f"node {hash_text(raw.id)} is not what its id says")
    return Node(kind, ObjectHash(int.from_bytes(parent, "little")), payload, children)


def children_of(raw: RawNode) -> Iterator[Child]:
    """Yield the children of a node with their payloads as they are.

    Raises:
        IntegrityError: the rows, or what they point to, are cut off.
    """
    try:
        rows = _HEADER.size + _HEADER.unpack_from(raw.node)[2]
        if rows > len(raw.node):
            raise struct.error("it ends within its payload")
        body = raw.children
        for kind, child, offset, size in _ROW.iter_unpack(raw.node[rows:]):
            payload = body[offset : offset + size]
            if len(payload) != size:
                raise struct.error("a child lies outside of the children")
            yield Child(kind, ObjectHash(int.from_bytes(child, "little")), payload)
    except struct.error as exc:
        raise IntegrityError(f"node {hash_text(raw.id)} is damaged: {exc}") from exc


def children_with(raw: RawNode, part: bytes) -> Iterator[Child]:
    """Yield the children in whose payload `part` stands, without a look at the others.

    Raises:
        IntegrityError: as `children_of`.
    """
    count = child_count(raw)
    at = raw.children.find(part)
    while at >= 0:
        # Payloads lie in the order of their rows, in every node that was ever seen.
        after = bisect_right(range(count), at, key=lambda row: _child_offset(raw, row))
        start = _child_offset(raw, after - 1) if after else 0
        child = child_at(raw, after - 1) if after else None
        if child is None or at >= start + len(child.payload):
            yield from (child for child in children_of(raw) if part in child.payload)
            return
        if part in child.payload:
            yield child
        at = raw.children.find(part, start + len(child.payload))


def child_count(raw: RawNode) -> int:
    """Return how many children a node has; raise `IntegrityError` when it is damaged."""
    try:
        rows = _HEADER.size + _HEADER.unpack_from(raw.node)[2]
    except struct.error as exc:
        raise IntegrityError(f"node {hash_text(raw.id)} is damaged: {exc}") from exc
    count, rest = divmod(len(raw.node) - rows, _ROW.size)
    if count < 0 or rest:
        raise IntegrityError(f"node {hash_text(raw.id)} is damaged: it is cut off")
    return int(count)


def child_types(raw: RawNode) -> bytes:
    """Return the type of each child, a byte each; raise `IntegrityError` when it is damaged."""
    return raw.node[len(raw.node) - child_count(raw) * _ROW.size :: _ROW.size]


def child_at(raw: RawNode, number: int) -> Child:
    """Return one child of a node, by its number; raise `IntegrityError` when it is damaged."""
    if not 0 <= number < child_count(raw):
        raise IntegrityError(f"node {hash_text(raw.id)} has no child {number}")
    rows = _HEADER.size + _HEADER.unpack_from(raw.node)[2]
    kind, child, offset, size = _ROW.unpack_from(raw.node, rows + number * _ROW.size)
    payload = raw.children[offset : offset + size]
    if len(payload) != size:
        raise IntegrityError(f"node {hash_text(raw.id)} is damaged: a child lies outside")
    return Child(kind, ObjectHash(int.from_bytes(child, "little")), payload)


def find_child(vnode: RawNode, name: bytes) -> Child | None:
    """Return the entry of a vnode called `name`, found by a search of its bytes.

    None does not say that there is none: somebody else may write a name in another way.

    Raises:
        IntegrityError: the vnode is damaged.
    """
    count = child_count(vnode)
    packed = msgpack.packb(name.decode())
    for kind in (b"\xa4File", b"\xa3Dir"):
        at = vnode.children.find(kind + packed)
        while at >= 0:
            # Payloads lie in the order of their rows.
            after = bisect_right(range(count), at, key=lambda row: _child_offset(vnode, row))
            child = child_at(vnode, after - 1)
            if name_of(child.payload) == name:
                return child
            at = vnode.children.find(kind + packed, at + 1)
    return None


def _child_offset(raw: RawNode, number: int) -> int:
    rows = _HEADER.size + _HEADER.unpack_from(raw.node)[2]
    offset: int = _ROW.unpack_from(raw.node, rows + number * _ROW.size)[2]
    return offset


def encode_node(
    kind: int, id: ObjectHash, parent: ObjectHash | int, payload: bytes, children: Iterable[Child]
) -> RawNode:
    """Return the node in its stored form."""
    head = [_HEADER.pack(kind, little(parent), len(payload)), payload]
    body = []
    offset = 0
    for child in children:
        head.append(_ROW.pack(child.type, little(child.hash), offset, len(child.payload)))
        body.append(child.payload)
        offset += len(child.payload)
    return RawNode(id, b"".join(head), b"".join(body))
