"""A change set whose blobs are stored, in a temporary file between the halves of a publish.

First every content is read and stored, which may take hours and needs no lock; then the tree is
built from these records while the branch is held. Memory stays flat however many there are.
"""

from __future__ import annotations

import enum
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from oxenfs.model import ObjectHash
from oxenfs.remote.payloads import FilePayload


class Op(enum.IntEnum):
    """What a record does at its path."""

    PUT = 0
    MAKE_DIRECTORY = 1
    REMOVE = 2


class Record(NamedTuple):
    """One change.

    Attributes:
        file: what to put; its `last_commit` is 0, as the commit has no id yet. None for others.
    """

    op: Op
    path: bytes
    file: FilePayload | None = None


class Spool:
    """Records in the order in which they were added. The file has no name: a crash leaves none."""

    def __init__(self, folder: Path) -> None:
        """Open an empty spool on the disk of `folder`."""
        self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115
        self._packer = msgpack.Packer()
        self.count = 0

    def add(self, record: Record) -> None:
        """Append a record."""
        self._file.write(self._packer.pack(_fields(record)))
        self.count += 1

    def records(self) -> Iterator[Record]:
        """Yield all records from the first one on; may be called again when it is through."""
        self._file.seek(0)
        for fields in msgpack.Unpacker(self._file, max_buffer_size=1 << 24):
            yield _record(*fields)

    def close(self) -> None:
        """Drop the file."""
        self._file.close()


def pack_record(record: Record) -> bytes:
    """Return a record as bytes, for `unpack_record`."""
    packed: bytes = msgpack.packb(_fields(record))
    return packed


def unpack_record(raw: bytes) -> Record:
    """Return the record in `raw`."""
    return _record(*msgpack.unpackb(raw))


def _fields(record: Record) -> tuple[int, bytes, Any]:
    if (file := record.file) is None:
        return int(record.op), record.path, None
    return (
        int(record.op),
        record.path,
        (
            file.name,
            None if file.metadata_hash is None else file.metadata_hash.to_bytes(16, "big"),
            file.hash.to_bytes(16, "big"),
            file.combined.to_bytes(16, "big"),
            file.size,
            file.mtime_ns,
            file.data_type,
            file.metadata,
            file.mime_type,
            file.extension,
        ),
    )


def _record(op: int, path: bytes, fields: Any) -> Record:
    return Record(Op(op), path, None if fields is None else _file(*fields))


def _file(
    name: str,
    metadata_hash: bytes | None,
    hash: bytes,
    combined: bytes,
    size: int,
    mtime_ns: int,
    data_type: str,
    metadata: Any,
    mime_type: str,
    extension: str,
) -> FilePayload:
    return FilePayload(
        name,
        None if metadata_hash is None else _hash(metadata_hash),
        _hash(hash),
        _hash(combined),
        size,
        ObjectHash(0),
        mtime_ns,
        data_type,
        metadata,
        mime_type,
        extension,
    )


def _hash(raw: bytes) -> ObjectHash:
    return ObjectHash(int.from_bytes(raw, "big"))
