"""Files that arrive, as changes for a commit: stored, described, with a path that was checked."""

from __future__ import annotations

import time
from collections.abc import Mapping

from oxenfs.model import Author, ObjectHash, tree_order
from oxenfs.remote.describe import combined_hash, describe
from oxenfs.remote.local.receive import Receiver
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.payloads import FilePayload
from oxenfs.server.revisions import path_of


def put_record(path: bytes, blob: ObjectHash, size: int, head: bytes) -> Record:
    """Return the change that puts a stored blob at `path`, as a file of this moment.

    Args:
        path: checked.
        blob: its hash.
        size: of all of it.
        head: its first bytes; all of a small one, so that text can be counted.
    """
    name = path.rpartition(b"/")[2].decode()
    about = describe(name, head, len(head) == size)
    file = FilePayload(
        name,
        about.metadata_hash,
        blob,
        combined_hash(blob, about.metadata_hash),
        size,
        ObjectHash(0),
        time.time_ns(),
        about.data_type,
        about.metadata,
        about.mime_type,
        about.extension,
    )
    return Record(Op.PUT, path, file)


def stored_record(remote: LocalRemote, path: bytes, blob: ObjectHash) -> Record:
    """Return the change that puts a blob which is here already; raise `NotFound`."""
    size = remote.locate(blob).size
    head = remote.read(blob, 0, min(size, 1 << 20))
    return put_record(path, blob, size, head)


def first_commit(
    remote: LocalRemote, branch: str, files: Mapping[bytes, bytes], message: str, author: Author
) -> ObjectHash:
    """Commit small files to a branch of an empty repository, and return the commit."""
    receiver = Receiver(remote)
    try:
        records = []
        for path, content in files.items():
            blob = receiver.add_bytes(content)
            checked = path_of(path.decode())
            records.append(put_record(checked, blob, len(content), content))
        receiver.flush()
    finally:
        receiver.close()
    records.sort(key=lambda record: tree_order(record.path))
    return remote.publisher.publish_stored(branch, None, records, message, author, remote.root)
