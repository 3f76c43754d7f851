"""Trees and archives with anything at all in them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgpack

from oxenfs.model import Author, Commit, ObjectHash
from oxenfs.remote.archive_nodes import node_members
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    FILE,
    VERSION,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    encode_payload,
)
from oxenfs.remote.wire import Child, encode_node

HEAD = ObjectHash(0xC0FFEE << 96 | 1)
ROOT = ObjectHash(0xD1 << 120 | 2)
BUCKET = ObjectHash(0xB0 << 120 | 3)
AUTHOR = Author("Ada", "ada@example.com")
BLOB = b"the bytes of a file"
BLOB_ID = xxh3(BLOB)


def packed(fields: list[Any]) -> bytes:
    """Return fields as a payload; bytes that are no UTF-8 may be in strings."""
    raw: bytes = msgpack.packb([{VERSION: fields}], unicode_errors="surrogateescape")
    return raw


def fields_of_file(name: Any, **other: Any) -> list[Any]:
    """Return the fields of a file, some of them replaced; names may be of any type."""
    file = FilePayload(
        "?", None, BLOB_ID, BLOB_ID, len(BLOB), HEAD, 10**18, "text", None, "text/plain", "txt"
    )
    fields: list[Any] = msgpack.unpackb(encode_payload(file))[0][VERSION]
    fields[1] = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    places = {"hash": 3, "size": 5, "commit": 6, "mtime_s": 7, "mtime_ns": 8, "data_type": 9}
    places |= {"metadata": 10, "chunks": 13}
    for what, value in other.items():
        fields[places[what]] = value
    return fields


def file(name: Any, **other: Any) -> Child:
    return Child(FILE, BLOB_ID, packed(fields_of_file(name, **other)))


def folder(name: str, id: ObjectHash = ROOT, **other: Any) -> Child:
    payload = DirectoryPayload(name, id, 1, 5, HEAD, 0, {"text": 1}, {"text": 5})
    return Child(DIRECTORY, id, encode_payload(payload._replace(**other)))


def bucket(children: Iterable[Child], id: ObjectHash = BUCKET) -> RawNode:
    listed = list(children)
    return encode_node(VNODE, id, ROOT, encode_payload(VnodePayload(id, len(listed))), listed)


class Tree(NamedTuple):
    """The nodes of a commit that are sent."""

    commit: RawNode
    root: RawNode
    buckets: tuple[RawNode, ...]

    def nodes(self) -> list[RawNode]:
        return [self.commit, self.root, *self.buckets]


def tree(children: Iterable[Child] = (), **root: Any) -> Tree:
    """Return a commit whose root has these children, whatever they are."""
    vnode = bucket(children)
    payload = DirectoryPayload("", ROOT, 1, 5, HEAD, 0, {"text": 1}, {"text": 5})._replace(**root)
    row = Child(VNODE, BUCKET, encode_payload(VnodePayload(BUCKET, 1)))
    own = encode_node(DIRECTORY, ROOT, HEAD, encode_payload(payload), [row])
    return Tree(commit_of(ROOT), own, (vnode,))


def commit_of(root: ObjectHash, **other: Any) -> RawNode:
    commit = Commit(HEAD, (), AUTHOR, "m", 10**18)
    payload = encode_payload(commit)
    child = Child(DIRECTORY, root, folder("", root).payload)
    return encode_node(COMMIT, HEAD, 0, payload, other.get("children", [child]))


def archive(nodes: Iterable[RawNode], prefix: str = "tree/nodes/") -> bytes:
    return b"".join(write_members(node_members(nodes, prefix)))


def tarred(members: Mapping[str, bytes], **fields: Any) -> bytes:
    """Return a tar.gz as `tarfile` writes it, with fields of the last member's header set."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w:gz", format=fields.pop("format", tarfile.GNU_FORMAT)
    ) as tar:
        for number, (name, data) in enumerate(members.items(), 1):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if number == len(members):
                for what, value in fields.items():
                    setattr(info, what, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def with_header(data: bytes, at: int, value: bytes) -> bytes:
    """Return a tar.gz whose first header has other bytes somewhere, and a checksum that fits."""
    raw = bytearray(gzip.decompress(data))
    raw[at : at + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return gzip.compress(bytes(raw), 1)


def raw_entries(payloads: Iterable[bytes]) -> RawNode:
    """Return a bucket whose children have these payloads, sound or not."""
    return bucket(Child(FILE, ObjectHash(number), raw) for number, raw in enumerate(payloads, 1))
