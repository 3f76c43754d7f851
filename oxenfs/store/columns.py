"""A directory's entries as columns in one byte string: what a listing is made of.

1M entries take about 63 MB here and would take over 1 GB as Python objects. The columns are read
by `memoryview.cast` without copying.

Layout (little-endian, each column at a multiple of its item size):

    header        8s magic, u32 entries, u32 slots of the hash table, u32 commits, u32 flags,
                  u64 length of the names block
    sizes         u64 each      bytes of a file, 0 for a directory
    mtimes        i64 each      Unix nanoseconds
    hashes        16 bytes BE   blob of a file, node id of a directory
    commits       16 bytes BE   the distinct commits that last changed the entries
    commit index  u32 each      row in `commits`
    offsets       u32 each + 1  of the names; the last one is the length of the block
    slots         u32 each      open addressing by xxh3-64 of the name: row + 1, 0 = free
    kinds         u8 each       `oxenfs.model.Kind`
    names         sorted as bytes, each followed by a NUL
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import xxhash

from oxenfs.errors import IntegrityError
from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.rows import Row

_HEADER = struct.Struct("<8sIIIIQ")
_MAGIC = b"oxcols01"
_ALL_FILES = 1
_ALL_DIRECTORIES = 2


_COMPARED_MAX = 4096


class Listing:
    """A directory's entries, sorted by name; an immutable snapshot.

    Attributes:
        count: number of entries.
        sizes, mtimes, kinds, offsets: columns as memoryviews of ints.
        commit_rows: of each entry, the row in `commits` of the one that last changed it.
        names: the names block, each name followed by a NUL.
        all_files, all_directories: every entry is one; both are true for an empty directory.
        exact: one byte per row, 0 where the size is a bound that may not be kept; None where all
            sizes are what they are.
    """

    __slots__ = (
        "_commits",
        "_hashes",
        "_mask",
        "_slots",
        "all_directories",
        "all_files",
        "bytes",
        "commit_rows",
        "count",
        "exact",
        "kinds",
        "mtimes",
        "names",
        "offsets",
        "sizes",
    )

    def __init__(self, columns: bytes) -> None:
        """Lay views over `columns`; raise `IntegrityError` if they are not `columns_of`'s."""
        view = memoryview(columns)
        self.bytes = len(columns)
        self.exact: memoryview[int] | None = None
        try:
            magic, count, slots, commits, flags, names = _HEADER.unpack_from(columns)
        except struct.error as exc:
            raise IntegrityError("columns of a directory are cut off") from exc
        total = _HEADER.size + 16 * count + 16 * count + 16 * commits
        total += 4 * count + 4 * (count + 1) + 4 * slots + count + names
        # Without a free slot, looking for a name that is not there would never end.
        sound = total == len(columns) and slots > count and not slots & (slots - 1)
        if magic != _MAGIC or not sound:
            raise IntegrityError("columns of a directory are of another version, or cut off")
        self.count: int = count
        self.all_files = bool(flags & _ALL_FILES)
        self.all_directories = bool(flags & _ALL_DIRECTORIES)
        self._mask: int = slots - 1
        at = _HEADER.size

        def column(length: int, item: Literal["B", "I", "q", "Q"]) -> memoryview[int]:
            nonlocal at
            at += length
            return view[at - length : at].cast(item)

        self.sizes: memoryview[int] = column(8 * count, "Q")
        self.mtimes: memoryview[int] = column(8 * count, "q")
        self._hashes = column(16 * count, "B")
        self._commits = column(16 * commits, "B")
        self.commit_rows: memoryview[int] = column(4 * count, "I")
        self.offsets: memoryview[int] = column(4 * (count + 1), "I")
        self._slots: memoryview[int] = column(4 * slots, "I")
        self.kinds: memoryview[int] = column(count, "B")
        self.names = view[at:]

    def is_same(self, other: Listing) -> bool:
        """Return whether `other` has the same names, and equal bytes in each row.

        Of what is large, only whether it is the same object: this is asked for each file opened.
        """
        if self is other:
            return True
        if self.count != other.count or self.count > _COMPARED_MAX:
            return False
        return bool(self._hashes == other._hashes and self.names == other.names)

    def find(self, name: bytes) -> int:
        """Return the row of the entry called `name`, or -1."""
        slots = self._slots
        mask = self._mask
        offsets = self.offsets
        slot = xxhash.xxh3_64_intdigest(name) & mask
        while row := slots[slot]:
            if self.names[offsets[row - 1] : offsets[row] - 1] == name:
                return row - 1
            slot = (slot + 1) & mask
        return -1

    def name(self, row: int) -> bytes:
        """Return the name of the entry in `row`."""
        return bytes(self.names[self.offsets[row] : self.offsets[row + 1] - 1])

    def names_between(self, start: int, stop: int) -> list[bytes]:
        """Return the names of a run of rows, at the price of one copy and one split."""
        if start >= stop:
            return []
        block = self.names[self.offsets[start] : self.offsets[stop] - 1]
        return bytes(block).split(b"\0")

    def hash(self, row: int) -> ObjectHash:
        """Return the blob hash of a file, or the node id of a directory."""
        return ObjectHash(int.from_bytes(self._hashes[16 * row : 16 * row + 16], "big"))

    def hashes_between(self, start: int, stop: int) -> bytes:
        """Return the hashes of a run of rows, 16 bytes each."""
        return bytes(self._hashes[16 * start : 16 * stop])

    def commits(self) -> list[bytes]:
        """Return the distinct commits that last changed the entries, 16 bytes each."""
        block = bytes(self._commits)
        return [block[at : at + 16] for at in range(0, len(block), 16)]

    def last_commit(self, row: int) -> ObjectHash:
        """Return the commit that last changed the entry in `row`."""
        at = 16 * self.commit_rows[row]
        return ObjectHash(int.from_bytes(self._commits[at : at + 16], "big"))

    def entry(self, row: int) -> Row:
        """Return all that `columns_of` was given for `row`."""
        return Row(
            self.name(row),
            self.kinds[row],
            self.hash(row).to_bytes(16, "big"),
            self.sizes[row],
            self.mtimes[row],
            self.last_commit(row).to_bytes(16, "big"),
        )

    def is_directory(self, row: int) -> bool:
        """Return whether the entry in `row` is a directory."""
        return self.kinds[row] == Kind.DIRECTORY

    def __len__(self) -> int:
        """Return the number of entries."""
        return self.count


def columns_of(rows: Sequence[Row]) -> bytes:
    """Return the columns for `rows`, which are sorted by name and have no name twice.

    About a microsecond per row; 200,000 rows take a fifth of a second, so call it in a thread.
    """
    count = len(rows)
    slots = 1 << max(1, (count * 3 // 2).bit_length())
    if not rows:
        flags = _ALL_FILES | _ALL_DIRECTORIES
        return _HEADER.pack(_MAGIC, 0, slots, 0, flags, 0) + bytes(4 + 4 * slots)
    names, kinds, hashes, sizes, mtimes, commits = zip(*rows, strict=True)
    distinct = {commit: number for number, commit in enumerate(dict.fromkeys(commits))}
    table = array("I", bytes(4 * slots))
    offsets = array("I", [0])
    mask = slots - 1
    digest = xxhash.xxh3_64_intdigest
    end = 0
    for row, name in enumerate(names, 1):
        slot = digest(name) & mask
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = row
        end += len(name) + 1
        offsets.append(end)
    directories = kinds.count(Kind.DIRECTORY)
    flags = (not directories) * _ALL_FILES | (directories == count) * _ALL_DIRECTORIES
    return b"".join(
        (
            _HEADER.pack(_MAGIC, count, slots, len(distinct), flags, end),
            array("Q", sizes).tobytes(),
            array("q", mtimes).tobytes(),
            b"".join(hashes),
            b"".join(distinct),
            array("I", map(distinct.__getitem__, commits)).tobytes(),
            offsets.tobytes(),
            table.tobytes(),
            bytes(kinds),
            b"\0".join(names),
            b"\0",
        )
    )


def columns_alike(names: Sequence[bytes], kind: Kind, mtime_ns: int) -> bytes:
    """Return the columns of entries of which nothing is known but their names, and no hash table.

    A tenth of the price of `columns_of`. Names are found by whoever knows how they are made: `find`
    finds none.
    """
    count = len(names)
    # As empty as a table may be: it must have a free slot.
    slots = 1 << count.bit_length()
    flags = (kind != Kind.DIRECTORY or not count) * _ALL_FILES
    flags |= (kind == Kind.DIRECTORY or not count) * _ALL_DIRECTORIES
    block = b"\0".join(names) + b"\0" * bool(names)
    offsets = array("I", accumulate(map(len, names), _with_nul, initial=0))
    return b"".join(
        (
            _HEADER.pack(_MAGIC, count, slots, 1, flags, len(block)),
            bytes(8 * count),
            (array("q", [mtime_ns]) * count).tobytes(),
            bytes(16 * count + 16 + 4 * count),
            offsets.tobytes(),
            bytes(4 * slots),
            bytes([int(kind)]) * count,
            block,
        )
    )


def _with_nul(end: int, length: int) -> int:
    return end + length + 1
