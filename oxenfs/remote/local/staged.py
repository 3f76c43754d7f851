"""What is staged in a workspace: one change per path, in the repository's index.

Table `staged`: the workspace's area (8 bytes) and the path, with NUL for the slash so that keys
have tree order, to a packed record. LMDB keys have 511 bytes at most: of a longer path the key has
the beginning and its xxh3-128.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import xxhash

from oxenfs.kv import Transaction
from oxenfs.model import tree_order
from oxenfs.remote.local.spool import Op, Record, pack_record, unpack_record

AREA_BYTES = 8
_PREFIX_BYTES = 470


class Area:
    """The staged changes of one workspace, within one transaction."""

    def __init__(self, txn: Transaction, area: bytes) -> None:
        """See or change the area with the id `area`."""
        self._txn = txn
        self._area = area

    def get(self, path: bytes) -> Record | None:
        """Return what is staged at exactly `path`."""
        value = self._txn.get("staged", self._key(path))
        return None if value is None else unpack_record(value)

    def put(self, record: Record) -> None:
        """Stage a change; what is staged below its path goes, as do files above it."""
        self.drop_below(record.path)
        if record.op is not Op.REMOVE:
            above = record.path
            while b"/" in above:
                above = above.rpartition(b"/")[0]
                found = self.get(above)
                if found is not None and found.op is Op.PUT:
                    self.drop(above)
        self._txn.put("staged", self._key(record.path), pack_record(record))

    def drop(self, path: bytes) -> bool:
        """Unstage what is at exactly `path`; return whether there was anything."""
        return self._txn.delete("staged", self._key(path))

    def drop_below(self, path: bytes) -> int:
        """Unstage what is below `path`, and return how much that was."""
        below = [record.path for record in self.below(path)]
        for inner in below:
            self.drop(inner)
        return len(below)

    def below(self, path: bytes) -> Iterator[Record]:
        """Yield what is staged below `path`, in tree order; everything below an empty one."""
        prefix = path + b"/" if path else b""
        start = self._area + prefix.replace(b"/", b"\0")[:_PREFIX_BYTES]
        for record in _in_order(self._txn.scan("staged", start)):
            if record.path.startswith(prefix):
                yield record

    def _key(self, path: bytes) -> bytes:
        ordered = path.replace(b"/", b"\0")
        if len(ordered) >= _PREFIX_BYTES:
            ordered = ordered[:_PREFIX_BYTES] + xxhash.xxh3_128_digest(ordered)
        return self._area + ordered


def sweep(txn: Transaction, used: Iterable[bytes]) -> None:
    """Drop the changes of areas that no workspace has any more."""
    areas = set(used)
    unused = [key for key in txn.keys("staged") if key[:AREA_BYTES] not in areas]
    for key in unused:
        txn.delete("staged", key)


def _in_order(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[Record]:
    for _, group in groupby(rows, key=lambda row: row[0][: AREA_BYTES + _PREFIX_BYTES]):
        records = [unpack_record(value) for _, value in group]
        if len(records) > 1:
            records.sort(key=lambda record: tree_order(record.path))
        yield from records
