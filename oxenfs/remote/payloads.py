"""Payloads of Merkle nodes as msgpack, to values and back.

A payload is `[{version: fields}]` as rmp-serde writes it, with hashes big-endian. Whether a damaged
one is found here or by its hash, it is never half believed: each field's type is checked.

Source: the node format of Oxen 0.25 to 0.65 (`V0_25_0`), seen in repositories of the client.
"""

from __future__ import annotations

import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgpack

from oxenfs.errors import IntegrityError
from oxenfs.model import Author, Commit, ObjectHash

COMMIT, DIRECTORY, VNODE, FILE = range(4)
VERSION = "V0_25_0"
LENGTH_MAX = 1 << 16
"""The most items that an array or map in a payload may say it has: columns of a table."""

_NS = 1_000_000_000
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, struct.error, OverflowError, UnicodeError)


class DirectoryPayload(NamedTuple):
    """A directory as its parent and its own node have it.

    Attributes:
        name: last component; empty for the root.
        entries: number of direct children.
        size: bytes of all files below.
        last_commit: the commit that last changed anything below.
        counts, sizes: number and bytes of all files below, by data type.
    """

    name: str
    id: ObjectHash
    entries: int
    size: int
    last_commit: ObjectHash
    mtime_ns: int
    counts: dict[str, int]
    sizes: dict[str, int]


class FilePayload(NamedTuple):
    """A file as its vnode has it.

    Attributes:
        hash: xxh3-128 of the content: the name of its blob.
        metadata: facts by data type, or None; `metadata_hash` is None with it.
        combined: xxh3-128 of hash and metadata hash; without metadata the hash.
    """

    name: str
    metadata_hash: ObjectHash | None
    hash: ObjectHash
    combined: ObjectHash
    size: int
    last_commit: ObjectHash
    mtime_ns: int
    data_type: str
    metadata: Any
    mime_type: str
    extension: str
    chunk_hashes: tuple[ObjectHash, ...] = ()
    chunk_type: Any = "SingleFile"
    storage: Any = "Disk"


class VnodePayload(NamedTuple):
    """A bucket of a directory's entries."""

    id: ObjectHash
    entries: int


Payload = Commit | DirectoryPayload | VnodePayload | FilePayload


def decode_payload(kind: int, raw: bytes) -> Payload:
    """Return the payload as a value; raise `IntegrityError` when it is not one of that kind."""
    try:
        payload: Payload = _DECODERS[kind](*_fields(raw))
        return payload
    except (*_DAMAGE, msgpack.UnpackException) as exc:
        raise IntegrityError(f"a Merkle node is damaged or of an unknown version: {exc!r}") from exc


def encode_payload(payload: Payload) -> bytes:
    """Return the payload as msgpack, the bytes that the official client writes."""
    if isinstance(payload, FilePayload):
        mtime_s, mtime_ns = divmod(payload.mtime_ns, _NS)
        metadata_hash = payload.metadata_hash
        fields: list[Any] = [
            "File",
            payload.name,
            None if metadata_hash is None else metadata_hash.to_bytes(16, "big"),
            payload.hash.to_bytes(16, "big"),
            payload.combined.to_bytes(16, "big"),
            payload.size,
            payload.last_commit.to_bytes(16, "big"),
            mtime_s,
            mtime_ns,
            payload.data_type,
            payload.metadata,
            payload.mime_type,
            payload.extension,
            [chunk.to_bytes(16, "big") for chunk in payload.chunk_hashes],
            payload.chunk_type,
            payload.storage,
        ]
    elif isinstance(payload, DirectoryPayload):
        mtime_s, mtime_ns = divmod(payload.mtime_ns, _NS)
        fields = [
            "Dir",
            payload.name,
            payload.id.to_bytes(16, "big"),
            payload.entries,
            payload.size,
            payload.last_commit.to_bytes(16, "big"),
            mtime_s,
            mtime_ns,
            payload.counts,
            payload.sizes,
        ]
    elif isinstance(payload, VnodePayload):
        fields = [payload.id.to_bytes(16, "big"), "VNode", payload.entries]
    else:
        fields = [
            payload.id.to_bytes(16, "big"),
            "Commit",
            [parent.to_bytes(16, "big") for parent in payload.parents],
            payload.message,
            payload.author.name,
            payload.author.email,
            timestamp_fields(payload.timestamp_ns),
        ]
    packed: bytes = _packing.packer.pack([{VERSION: fields}])
    return packed


def name_of(payload: bytes) -> bytes:
    """Return the name in the payload of a file or directory; raise `IntegrityError`."""
    try:
        fields = _fields(payload)
        if fields[0] not in ("File", "Dir"):
            raise ValueError(f"an entry of type {fields[0]!r:.40}")
        return str(fields[1]).encode()
    except (*_DAMAGE, msgpack.UnpackException) as exc:
        raise IntegrityError(f"a Merkle node is damaged or of an unknown version: {exc!r}") from exc


class _Packing(threading.local):
    """A packer per thread: one per payload would allocate and free a buffer of 1 MiB each time."""

    def __init__(self) -> None:
        self.packer = msgpack.Packer()


_packing = _Packing()


def _fields(raw: bytes) -> list[Any]:
    # Whatever length a damaged header claims is allocated before it is found to be wrong.
    most = min(len(raw), LENGTH_MAX)
    value = msgpack.unpackb(raw, strict_map_key=False, max_array_len=most, max_map_len=most)
    fields = value[0][VERSION]
    if not isinstance(fields, list):
        raise TypeError("fields are not a list")
    return fields


def _check_types(wanted: type, *values: object) -> None:
    # Not isinstance: True is an int, but is not written as one.
    for value in values:
        if type(value) is not wanted:
            raise TypeError(f"a {type(value).__name__} where a {wanted.__name__} should be")


def _check_totals(totals: dict[str, int]) -> None:
    _check_types(dict, totals)
    _check_types(str, *totals)
    _check_types(int, *totals.values())


def _hash(raw: bytes) -> ObjectHash:
    if not isinstance(raw, bytes) or len(raw) != 16:
        raise ValueError("a hash is not 16 bytes")
    return ObjectHash(int.from_bytes(raw, "big"))


def _decode_commit(
    id: bytes,
    kind: str,
    parents: list[bytes],
    message: str,
    author: str,
    email: str,
    timestamp: list[int],
) -> Commit:
    _expect(kind, "Commit")
    _check_types(str, message, author, email)
    _check_types(list, parents, timestamp)
    _check_types(int, *timestamp)
    year, day, hour, minute, second, ns, *offset = timestamp
    hours, minutes, seconds = offset
    moment = datetime(year, 1, 1, hour, minute, second, tzinfo=UTC) + timedelta(
        days=day - 1, hours=-hours, minutes=-minutes, seconds=-seconds
    )
    return Commit(
        _hash(id),
        tuple(_hash(parent) for parent in parents),
        Author(author, email),
        message,
        int(moment.timestamp()) * _NS + ns,
    )


def _decode_directory(
    kind: str,
    name: str,
    id: bytes,
    entries: int,
    size: int,
    last_commit: bytes,
    mtime_s: int,
    mtime_ns: int,
    counts: dict[str, int],
    sizes: dict[str, int],
) -> DirectoryPayload:
    _expect(kind, "Dir")
    _check_types(str, name)
    _check_types(int, entries, size, mtime_s, mtime_ns)
    _check_totals(counts)
    _check_totals(sizes)
    stamp = mtime_s * _NS + mtime_ns
    return DirectoryPayload(
        name, _hash(id), entries, size, _hash(last_commit), stamp, counts, sizes
    )


def _decode_vnode(id: bytes, kind: str, entries: int) -> VnodePayload:
    _expect(kind, "VNode")
    _check_types(int, entries)
    return VnodePayload(_hash(id), entries)


def _decode_file(
    kind: str,
    name: str,
    metadata_hash: bytes | None,
    hash: bytes,
    combined: bytes,
    size: int,
    last_commit: bytes,
    mtime_s: int,
    mtime_ns: int,
    data_type: str,
    metadata: Any,
    mime_type: str,
    extension: str,
    chunk_hashes: list[bytes],
    chunk_type: Any,
    storage: Any,
) -> FilePayload:
    _expect(kind, "File")
    _check_types(str, name, data_type, mime_type, extension)
    _check_types(int, size, mtime_s, mtime_ns)
    _check_types(list, chunk_hashes)
    return FilePayload(
        name,
        None if metadata_hash is None else _hash(metadata_hash),
        _hash(hash),
        _hash(combined),
        size,
        _hash(last_commit),
        mtime_s * _NS + mtime_ns,
        data_type,
        metadata,
        mime_type,
        extension,
        tuple(_hash(chunk) for chunk in chunk_hashes),
        chunk_type,
        storage,
    )


def _expect(kind: str, wanted: str) -> None:
    if kind != wanted:
        raise ValueError(f"a {kind!r} where a {wanted} should be")


def timestamp_fields(ns: int) -> list[int]:
    """Return year, day of the year, hour, minute, second, nanosecond and the offset, UTC."""
    seconds, rest = divmod(ns, _NS)
    moment = datetime.fromtimestamp(seconds, UTC)
    day = moment.timetuple().tm_yday
    return [moment.year, day, moment.hour, moment.minute, moment.second, rest, 0, 0, 0]


_DECODERS: dict[int, Any] = {
    COMMIT: _decode_commit,
    DIRECTORY: _decode_directory,
    VNODE: _decode_vnode,
    FILE: _decode_file,
}
