"""The index of the disk cache: which object lies where, what is pinned, how much is used.

Everything here works in a transaction of the caller's. Tables:

| table | key | value |
|---|---|---|
| `small`, `chunks`, `derived` | an object's key | segment, offset, length, digest |
| `where` | segment, offset | the object that lies there: for eviction, and to empty a segment |
| `large` | a large blob | how many of its chunks are here, whether its hash was checked |
| `segments` | segment | bytes charged to the limit on its account |
| `writing` | segment | bytes granted to the process that appends to it |
| `doomed` | segment, offset | length: no object any more, not yet given back to the file system |
| `pins` | host and blob | size |
| `totals` | a name | a number |

Bytes are charged when they are granted, before they are written, and discharged after they were
given back: whenever a process is killed, no more than what is charged is on the disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from oxenfs.kv import Transaction
from oxenfs.store.segments import Extent, rounded

SMALL, CHUNKS, DERIVED = "small", "chunks", "derived"
TABLES = [
    *[SMALL, CHUNKS, DERIVED, "where", "large", "segments", "writing", "doomed", "pins", "totals"],
]
USED, PINNED, LIMIT, NEXT_SEGMENT, HAND, EVICTED = (
    *("used", "pinned", "limit", "next-segment", "hand", "evicted"),
)

BLOB_KEY_BYTES = 32
"""Host and hash, with which the key of a small blob, and of each chunk of a large one, begins."""

_KINDS = {SMALL: b"s", CHUNKS: b"c", DERIVED: b"d"}
_TABLE_OF = {letter: table for table, letter in _KINDS.items()}
_ROW = struct.Struct("<IQI")
_WHERE = struct.Struct(">IQ")
_LARGE = struct.Struct("<IB")
_NUMBER = struct.Struct("<q")
_SEGMENT = struct.Struct(">I")
_CHUNK_NUMBER_BYTES = 4


class Row(NamedTuple):
    """Where an object lies.

    Attributes:
        digest: of its bytes; empty where the key says it.
    """

    extent: Extent
    digest: bytes


class Large(NamedTuple):
    """What is known of a large blob.

    Attributes:
        here: how many of its chunks are in the cache.
        checked: whether its whole hash was found right, with all of those.
    """

    here: int
    checked: bool


class Lying(NamedTuple):
    """An object as the table `where` has it."""

    extent: Extent
    table: str
    key: bytes


def pack_row(extent: Extent, digest: bytes) -> bytes:
    """Return the value of an object's row."""
    return _ROW.pack(*extent) + digest


def unpack_row(value: bytes) -> Row:
    """Return what `pack_row` was given."""
    return Row(Extent(*_ROW.unpack_from(value)), value[_ROW.size :])


def number(txn: Transaction, name: str) -> int:
    """Return one of the totals; 0 if it was never set."""
    value = txn.get("totals", name.encode())
    return 0 if value is None else int(_NUMBER.unpack(value)[0])


def set_number(txn: Transaction, name: str, value: int) -> None:
    """Set one of the totals."""
    txn.put("totals", name.encode(), _NUMBER.pack(value))


def charge(txn: Transaction, segment: int, size: int) -> None:
    """Add `size` bytes (or take them away) to what is used, on account of a segment."""
    key = _SEGMENT.pack(segment)
    value = txn.get("segments", key)
    charged = 0 if value is None else int(_NUMBER.unpack(value)[0])
    txn.put("segments", key, _NUMBER.pack(charged + size))
    set_number(txn, USED, number(txn, USED) + size)


def new_segment(txn: Transaction) -> int:
    """Return a number that no segment had."""
    found = number(txn, NEXT_SEGMENT)
    set_number(txn, NEXT_SEGMENT, found + 1)
    return found


def grant(txn: Transaction, segment: int, end: int, size: int) -> None:
    """Let the writer of `segment` go on to `end`, `size` bytes further than before."""
    txn.put("writing", _SEGMENT.pack(segment), _NUMBER.pack(end))
    charge(txn, segment, size)


def retire(txn: Transaction, segment: int, unused: int) -> None:
    """Note that nobody appends to `segment` any more; `unused` granted bytes were not written."""
    txn.delete("writing", _SEGMENT.pack(segment))
    charge(txn, segment, -unused)


def recharge(txn: Transaction, segment: int) -> None:
    """Charge exactly what lies, or is doomed, in a segment that nobody writes to."""
    key = _SEGMENT.pack(segment)
    value = txn.get("segments", key)
    charged = 0 if value is None else int(_NUMBER.unpack(value)[0])
    held = sum(rounded(each.extent.length) for each in lying_in(txn, segment))
    for _, length in txn.scan("doomed", key):
        held += rounded(int(_NUMBER.unpack(length)[0]))
    charge(txn, segment, held - charged)


def writers(txn: Transaction) -> dict[int, int]:
    """Return the segments that are, or were when somebody died, appended to, and their ends."""
    return {
        int(_SEGMENT.unpack(key)[0]): int(_NUMBER.unpack(value)[0])
        for key, value in txn.scan("writing")
    }


def put_new(txn: Transaction, added: Sequence[tuple[str, bytes, Extent, bytes]]) -> list[Extent]:
    """Add objects (table, key, extent, digest); return the extents of those that are here already.

    In a few calls of LMDB, each of which may cost a turn at the interpreter's lock.
    """
    late: list[Extent] = []
    where: list[tuple[bytes, bytes]] = []
    for table in (SMALL, CHUNKS, DERIVED):
        wanted = {key: (extent, digest) for kind, key, extent, digest in added if kind == table}
        if not wanted:
            continue
        here = txn.has_many(table, list(wanted))
        items = []
        for key, (extent, digest) in wanted.items():
            if key in here:
                late.append(extent)
                continue
            items.append((key, pack_row(extent, digest)))
            where.append((_WHERE.pack(extent.segment, extent.offset), _lying(extent, table, key)))
            if table == CHUNKS:
                _count(txn, key, 1)
        txn.put_many(table, items)
    txn.put_many("where", where)
    return late


def drop(txn: Transaction, table: str, key: bytes, extent: Extent) -> bool:
    """Remove an object, if it still lies at `extent`, and doom its bytes; return whether it did."""
    value = txn.get(table, key)
    if value is None or unpack_row(value).extent != extent:
        return False
    txn.delete(table, key)
    txn.delete("where", _WHERE.pack(extent.segment, extent.offset))
    doom(txn, extent)
    if table == CHUNKS:
        _count(txn, key, -1)
    return True


def doom(txn: Transaction, extent: Extent) -> None:
    """Note that these bytes are to be given back."""
    txn.put("doomed", _WHERE.pack(extent.segment, extent.offset), _NUMBER.pack(extent.length))


def doomed(txn: Transaction) -> list[Extent]:
    """Return what is to be given back, in order."""
    return [_extent(key, int(_NUMBER.unpack(value)[0])) for key, value in txn.scan("doomed")]


def redeem(txn: Transaction, extent: Extent) -> None:
    """Discharge bytes that were given back; twice is once."""
    if txn.delete("doomed", _WHERE.pack(extent.segment, extent.offset)):
        charge(txn, extent.segment, -rounded(extent.length))


def is_empty(txn: Transaction, segment: int) -> bool:
    """Return whether nothing lies in `segment` and nobody writes to it."""
    key = _SEGMENT.pack(segment)
    return not (
        txn.has("writing", key)
        or next(txn.keys("where", key), None)
        or next(txn.keys("doomed", key), None)
    )


def remove_segment(txn: Transaction, segment: int) -> None:
    """Forget an empty segment, and whatever is still charged for it."""
    value = txn.get("segments", _SEGMENT.pack(segment))
    if value is not None:
        set_number(txn, USED, number(txn, USED) - int(_NUMBER.unpack(value)[0]))
        txn.delete("segments", _SEGMENT.pack(segment))


def segments(txn: Transaction) -> list[int]:
    """Return the numbers of all segments."""
    return [int(_SEGMENT.unpack(key)[0]) for key in txn.keys("segments")]


def lying_in(txn: Transaction, segment: int) -> Iterator[Lying]:
    """Yield the objects in `segment`, by offset."""
    for key, value in txn.scan("where", _SEGMENT.pack(segment)):
        yield _unpack_lying(key, value)


def lying_from(txn: Transaction, segment: int, offset: int) -> Iterator[Lying]:
    """Yield all objects from a place on, to the end of the last segment."""
    for key, value in txn.after("where", _WHERE.pack(segment, offset)):
        yield _unpack_lying(key, value)


def large(txn: Transaction, blob: bytes) -> Large:
    """Return what is known of the large blob `blob` (a chunk's key without the number)."""
    value = txn.get("large", blob)
    if value is None:
        return Large(0, checked=False)
    here, checked = _LARGE.unpack(value)
    return Large(here, bool(checked))


def set_checked(txn: Transaction, blob: bytes, chunks: int) -> bool:
    """Note that a large blob's hash is right; only if all its `chunks` are still here."""
    if large(txn, blob).here != chunks:
        return False
    txn.put("large", blob, _LARGE.pack(chunks, 1))
    return True


def is_pinned(txn: Transaction, table: str, key: bytes) -> bool:
    """Return whether an object belongs to a pinned blob."""
    return table != DERIVED and txn.has("pins", key[:BLOB_KEY_BYTES])


def pin(txn: Transaction, blob: bytes, size: int) -> bool:
    """Keep the blob (host and hash) from eviction; return False if it was pinned already."""
    if txn.has("pins", blob):
        return False
    txn.put("pins", blob, _NUMBER.pack(size))
    set_number(txn, PINNED, number(txn, PINNED) + size)
    return True


def unpin(txn: Transaction, blob: bytes) -> bool:
    """Undo `pin`; return False if it was not pinned."""
    value = txn.get("pins", blob)
    if value is None:
        return False
    txn.delete("pins", blob)
    set_number(txn, PINNED, number(txn, PINNED) - int(_NUMBER.unpack(value)[0]))
    return True


def _count(txn: Transaction, key: bytes, change: int) -> None:
    blob = key[:-_CHUNK_NUMBER_BYTES]
    before = large(txn, blob)
    here = before.here + change
    if here > 0:
        # What comes to a whole that was checked, or goes from it, leaves it unchecked.
        txn.put("large", blob, _LARGE.pack(here, 0))
    else:
        txn.delete("large", blob)


def _extent(where: bytes, length: int) -> Extent:
    segment, offset = _WHERE.unpack(where)
    return Extent(segment, offset, length)


def _lying(extent: Extent, table: str, key: bytes) -> bytes:
    return _NUMBER.pack(extent.length) + _KINDS[table] + key


def _unpack_lying(key: bytes, value: bytes) -> Lying:
    extent = _extent(key, int(_NUMBER.unpack_from(value)[0]))
    at = _NUMBER.size
    return Lying(extent, _TABLE_OF[value[at : at + 1]], value[at + 1 :])
