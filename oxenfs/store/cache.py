"""The disk cache: verified bytes of blobs, and what was derived from them, under one limit.

Objects (small blobs whole, chunks of large ones, derived objects) lie in segments
(`oxenfs.store.segments`); the index (`oxenfs.store.cache_rows`) says where. The index is a hint and
the bytes are checked against a digest whenever they are read: what is not right is dropped, and is
a miss. Several processes may use one folder; a process may be killed at any moment.

Everything is done for the best: a cache that cannot be written, or is full of pinned blobs, keeps
nothing, and says so in the log. No error of the disk reaches a reader.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import blake3
import xxhash

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import Environment, Transaction
from oxenfs.store import cache_rows as rows
from oxenfs.store.ages import Ages
from oxenfs.store.cache_rows import CHUNKS, DERIVED, SMALL, Row
from oxenfs.store.eviction import choose, give_back
from oxenfs.store.segments import Extent, Segments, rounded, write_at

log = logging.getLogger(__name__)

LIMIT_BYTES = 20 << 30
"""How much is kept where nothing else is said."""

DERIVED_KEY_BYTES_MAX = 500
OBJECT_BYTES_MAX = 64 << 20

_SEGMENT_BYTES = 64 << 20
_GRANT_BYTES = 4 << 20
_RESERVE_BYTES = 64 << 20
_WARN_AGAIN_S = 60.0
# Evicting makes room for more than is wanted now, so that it is not done for every object.
_SPARE = 0.03

Buffer = bytes | bytearray | memoryview


class Object(NamedTuple):
    """Something to keep.

    Attributes:
        table: `SMALL`, `CHUNKS` or `DERIVED`.
        key: see `Cache.small_key`, `Cache.chunk_key`.
        digest: empty for small blobs, whose hash is in their key.
    """

    table: str
    key: bytes
    data: Buffer
    digest: bytes = b""


class Totals(NamedTuple):
    """What is in a cache.

    Attributes:
        limit_bytes, used_bytes: used is what is charged: bytes granted to a writer count already.
        pinned_bytes: the sizes of all pinned blobs, here or not.
        blobs: small ones, and large ones of which at least one chunk is here.
        derived: objects that are no blobs.
    """

    limit_bytes: int
    used_bytes: int
    pinned_bytes: int
    blobs: int
    derived: int


class Cache:
    """One cache folder. Safe to use from several threads and processes; see `open_cache`.

    Attributes:
        folder: where it is.
        healed: how many damaged objects were dropped by this process.
        evicted: how many objects were evicted by this process.
        bytes_read: from its files, by this process.
    """

    def __init__(self, folder: Path, env: Environment, limit_bytes: int = 0) -> None:
        """Use `folder`, with its index `env`, which is closed with the cache.

        Args:
            folder: which other processes may use as well.
            env: the index.
            limit_bytes: what a new folder is to hold, for the size of its tables.
        """
        self.folder = folder
        self.env = env
        self.segments = Segments(folder / "data")
        self.ages = Ages(folder / "ages", limit_bytes)
        self.healed = 0
        self.evicted = 0
        self.bytes_read = 0
        self._writer: int | None = None
        self._writer_fd = -1
        self._at = self._end = 0
        self._writing = threading.Lock()
        self._warned_s = self._healed_s = 0.0
        self._closed = False
        self._broken = False

    @staticmethod
    def small_key(host: bytes, blob: int) -> bytes:
        """Return the key of a small blob; `host` is 16 bytes."""
        return host + blob.to_bytes(16, "big")

    @staticmethod
    def chunk_key(host: bytes, blob: int, size: int, number: int) -> bytes:
        """Return the key of chunk `number` of a large blob that is said to have `size` bytes.

        The size is part of it: two trees may claim one hash, and only one of them be right.
        """
        return b"%b%b%b%b" % (
            host,
            blob.to_bytes(16, "big"),
            size.to_bytes(8, "big"),
            number.to_bytes(4, "big"),
        )

    @staticmethod
    def derived(key: bytes, value: Buffer) -> Object:
        """Return a derived object as `put_many` takes it; `get` finds it by `key`."""
        return Object(DERIVED, _derived_key(key), value, xxhash.xxh3_128_digest(value))

    def get(self, key: bytes, *, wait: bool = True) -> bytes | None:
        """Return the derived object `key`, None if it is not here.

        Args:
            key: up to 500 bytes, any; whatever the object depends on must be in it.
            wait: whether the disk may be waited for.

        Raises:
            BlockingIOError: `wait` is false, and the disk would have to be waited for.
        """
        name = _derived_key(key)
        row = self.find(DERIVED, name)
        if row is None:
            return None
        data = bytearray(row.extent.length)
        if not self.load(DERIVED, name, row, memoryview(data), wait=wait):
            return None
        self.ages.touch(name)
        return bytes(data)

    def has_derived(self, key: bytes) -> bool:
        """Return whether the derived object `key` is here, without looking at it."""
        return self.has(DERIVED, _derived_key(key))

    def put(self, key: bytes, value: Buffer) -> None:
        """Keep a derived object, for as long as there is room. May wait for the disk.

        An object that is here already stays as it is: equal keys mean equal values.
        """
        self.put_many([self.derived(key, value)])

    def find(self, table: str, key: bytes) -> Row | None:
        """Return where an object lies, None if it is not here. A point read: for the loop."""
        try:
            value = self.env.get(table, key)
            return None if value is None else rows.unpack_row(value)
        except OxenfsError as exc:
            self._trouble(exc)
            return None

    def find_chunks(self, blob: bytes, first: int, count: int) -> list[Row | None]:
        """Return where chunks of a large blob lie; `blob` is a chunk's key without the number."""
        try:
            with self.env.read() as txn:
                values = [
                    txn.get(CHUNKS, blob + number.to_bytes(4, "big"))
                    for number in range(first, first + count)
                ]
            return [None if value is None else rows.unpack_row(value) for value in values]
        except OxenfsError as exc:
            self._trouble(exc)
            return [None] * count

    def load(self, table: str, key: bytes, row: Row, view: memoryview, *, wait: bool) -> bool:
        """Fill `view` with an object's bytes, checked; return False if they are not right.

        What is damaged is dropped. What was evicted meanwhile is no damage.

        Raises:
            BlockingIOError: `wait` is false, and the disk would have to be waited for.
        """
        try:
            if self.segments.read_into(row.extent, [view], wait=wait) and is_right(
                table, key, row, view
            ):
                self.bytes_read += len(view)
                return True
            why = "its bytes are not the ones that were written"
        except BlockingIOError:
            raise
        except OSError as exc:
            self.segments.forget(row.extent.segment)
            why = exc.strerror or str(exc)
        self.discard(table, key, row, why)
        return False

    def load_chunks(self, wanted: Sequence[tuple[bytes, Row, memoryview]], *, wait: bool) -> bool:
        """Fill each view with the chunk of that key and row; return False if one is not right.

        Neighbours in one segment are read at once. Otherwise as `load`.
        """
        right = True
        start = 0
        while start < len(wanted):
            stop = start + 1
            while stop < len(wanted) and _is_next(wanted[stop - 1][1], wanted[stop][1]):
                stop += 1
            run = wanted[start:stop]
            start = stop
            try:
                views = [view for _, _, view in run]
                whole = self.segments.read_into(run[0][1].extent, views, wait=wait)
            except BlockingIOError:
                raise
            except OSError:
                whole = False
            for key, row, view in run:
                if whole and len(view) == row.extent.length and is_right(CHUNKS, key, row, view):
                    self.bytes_read += len(view)
                    self.ages.touch(key)
                else:
                    # One by one, to find out which it is.
                    right &= self.load(CHUNKS, key, row, view, wait=True)
        return right

    def has(self, table: str, key: bytes) -> bool:
        """Return whether an object is here, without looking at it."""
        try:
            return self.env.has(table, key)
        except OxenfsError as exc:
            self._trouble(exc)
            return False

    def has_many(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        """Return the keys of those objects that are here, without looking at them."""
        try:
            with self.env.read() as txn:
                return txn.has_many(table, keys)
        except OxenfsError as exc:
            self._trouble(exc)
            return set()

    def discard(self, table: str, key: bytes, row: Row, why: str) -> None:
        """Drop a damaged object, if it is still the one that `row` says."""
        try:
            with self.env.write() as txn:
                if not rows.drop(txn, table, key, row.extent):
                    return
        except OxenfsError as exc:
            self._trouble(exc)
            return
        self.healed += 1
        now = time.monotonic()
        if self.healed == 1 or now - self._healed_s > _WARN_AGAIN_S:
            self._healed_s = now
            log.warning("dropped a damaged object of the cache: %s (%d by now)", why, self.healed)

    def drop_blob(self, blob: bytes, chunks: int) -> None:
        """Drop all chunks of a large blob; `blob` is a chunk's key without the number."""
        with contextlib.suppress(OxenfsError), self.env.write() as txn:
            for number in range(chunks):
                key = blob + number.to_bytes(4, "big")
                value = txn.get(CHUNKS, key)
                if value is not None:
                    rows.drop(txn, CHUNKS, key, rows.unpack_row(value).extent)
        with contextlib.suppress(OxenfsError):
            self.give_back()

    def put_many(self, objects: Sequence[Object]) -> bool:
        """Keep objects, in one transaction; return False if there is no room or no disk for them.

        The limit is kept before a byte is written. May wait for the disk, and evict.
        """
        try:
            with self._writing:
                return self._put_many(objects)
        except OSError as exc:
            self._trouble(OxenfsError(f"the cache in {self.folder}: {exc.strerror}"))
        except OxenfsError as exc:
            self._trouble(exc)
        return False

    def large(self, blob: bytes) -> rows.Large:
        """Return what is known of a large blob; `blob` is a chunk's key without the number."""
        try:
            with self.env.read() as txn:
                return rows.large(txn, blob)
        except OxenfsError:
            return rows.Large(0, checked=False)

    def set_checked(self, blob: bytes, chunks: int) -> bool:
        """Note that a large blob is right as a whole; False if not all of it is here any more."""
        try:
            with self.env.write() as txn:
                return rows.set_checked(txn, blob, chunks)
        except OxenfsError as exc:
            self._trouble(exc)
            return False

    def pin(self, blobs: Iterable[tuple[bytes, int]]) -> int:
        """Exempt blobs (small key, size) from eviction, here or not; return how many are new.

        Raises:
            OxenfsError: all that is pinned would not fit into the limit; nothing is pinned then.
        """
        made = 0
        with self.env.write() as txn:
            for key, size in blobs:
                made += rows.pin(txn, key, rounded(size))
            pinned, room = rows.number(txn, rows.PINNED), self._room(txn)
            if pinned > room:
                raise OxenfsError(
                    f"pinned files of {pinned} bytes do not fit into a cache of {room} bytes; "
                    "mount with a larger --cache-size, or unpin others"
                )
        return made

    def unpin(self, blobs: Iterable[bytes]) -> int:
        """Undo `pin` for blobs by their small keys; return how many were pinned."""
        with self.env.write() as txn:
            return sum(rows.unpin(txn, key) for key in blobs)

    def totals(self) -> Totals:
        """Return what is in it; raise `OxenfsError` if the index cannot be read."""
        with self.env.read() as txn:
            return Totals(
                limit_bytes=rows.number(txn, rows.LIMIT),
                used_bytes=rows.number(txn, rows.USED) + self._own_bytes(),
                pinned_bytes=rows.number(txn, rows.PINNED),
                blobs=txn.count(SMALL) + txn.count("large"),
                derived=txn.count(DERIVED),
            )

    def set_limit(self, limit_bytes: int) -> None:
        """Set the limit of the folder, for all who use it, and evict down to it."""
        with self.env.write() as txn:
            rows.set_number(txn, rows.LIMIT, limit_bytes)
        self.shrink()

    def shrink(self, spare_bytes: int = 0) -> bool:
        """Evict until `spare_bytes` more would be within the limit; return whether they are."""
        while True:
            with self.env.read() as txn:
                over = rows.number(txn, rows.USED) + spare_bytes - self._room(txn)
                if over <= 0:
                    return True
                over += int(rows.number(txn, rows.LIMIT) * _SPARE)
            dropped = choose(self.env, self.ages, over)
            self.evicted += dropped
            self.give_back()
            if not dropped:
                with self.env.read() as txn:
                    return rows.number(txn, rows.USED) + spare_bytes <= self._room(txn)

    def give_back(self) -> None:
        """Return the bytes of what was dropped to the file system."""
        give_back(self.env, self.segments)

    def close(self) -> None:
        """Give back what was granted and not used, and close everything."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(OxenfsError, OSError):
                self._retire()
        self.segments.close()
        self.ages.close()
        self.env.close()

    def _put_many(self, objects: Sequence[Object]) -> bool:
        if self._closed or self._broken:
            return False
        new = self._unknown(objects)
        if not new:
            return True
        size = sum(rounded(len(each.data)) for each in new)
        if size > OBJECT_BYTES_MAX or not self._make_room(size):
            return False
        assert self._writer is not None
        start = self._at
        # Behind it even if the write fails: an offset is written once.
        self._at += size
        write_at(self._writer_fd, [each.data for each in new], start)
        added = []
        at = start
        for each in new:
            added.append(
                (each.table, each.key, Extent(self._writer, at, len(each.data)), each.digest)
            )
            at += rounded(len(each.data))
        with self.env.write() as txn:
            # What another process was faster with.
            late = rows.put_new(txn, added)
            for extent in late:
                rows.doom(txn, extent)
        for each in new:
            self.ages.touch(each.key)
        if late:
            self.give_back()
        return True

    def _unknown(self, objects: Sequence[Object]) -> list[Object]:
        """Return those of `objects` that are not here, each once."""
        wanted = {(each.table, each.key): each for each in objects}
        with self.env.read() as txn:
            for table in {each.table for each in objects}:
                keys = [key for kind, key in wanted if kind == table]
                for key in txn.has_many(table, keys):
                    del wanted[table, key]
        return list(wanted.values())

    def _make_room(self, size: int) -> bool:
        """Have a segment with `size` granted bytes; return False if that is over the limit."""
        if self._writer is not None and not self.segments.is_there(self._writer, self._writer_fd):
            # Somebody removed the folder.
            self._retire()
        if self._at and self._at + size > self._segment_bytes():
            self._retire()
        if self._at + size <= self._end:
            return True
        for wanted in (max(size, self._grant_bytes()), size):
            if self._is_disk_full(wanted) or not self.shrink(wanted):
                continue
            if self._writer is None:
                self._begin()
            assert self._writer is not None
            with self.env.write() as txn:
                # Again, with the lock: another process may have been granted the same room.
                more = self._at + wanted - self._end
                if rows.number(txn, rows.USED) + more > self._room(txn):
                    continue
                self._end += more
                rows.grant(txn, self._writer, self._end, more)
            return True
        return False

    def _begin(self) -> None:
        fd = None
        while fd is None:
            with self.env.write() as txn:
                segment = rows.new_segment(txn)
            # There is a file of that number if the index is a new one, and the files are not.
            fd = self.segments.create(segment)
        self._writer, self._writer_fd, self._at, self._end = segment, fd, 0, 0

    def _retire(self) -> None:
        if self._writer is None:
            return
        segment, fd = self._writer, self._writer_fd
        unused = self._end - self._at
        self._writer, self._writer_fd, self._at, self._end = None, -1, 0, 0
        try:
            with self.env.write() as txn:
                rows.retire(txn, segment, unused)
                empty = rows.is_empty(txn, segment)
                if empty:
                    rows.remove_segment(txn, segment)
            if empty:
                self.segments.remove(segment)
        finally:
            os.close(fd)

    def _segment_bytes(self) -> int:
        # A small cache must be able to give a part of itself back.
        return max(min(_SEGMENT_BYTES, self._limit() // 8), 1 << 20)

    def _grant_bytes(self) -> int:
        return min(_GRANT_BYTES, self._limit() // 64)

    def _room(self, txn: Transaction) -> int:
        """Return how many bytes of objects there may be: the limit without what the index takes.

        An index never gets smaller. A quarter is the most that it is counted for, or a limit that
        was much larger before would leave nothing.
        """
        limit = rows.number(txn, rows.LIMIT)
        return limit - min(self._own_bytes(), limit // 4)

    def _own_bytes(self) -> int:
        with contextlib.suppress(OSError):
            index = (self.env.path / "data.mdb").stat().st_blocks * 512
            return self.ages.size_bytes + index
        return self.ages.size_bytes

    def _limit(self) -> int:
        with self.env.read() as txn:
            return rows.number(txn, rows.LIMIT)

    def _is_disk_full(self, wanted: int) -> bool:
        # The index needs a little room even to forget something.
        status = os.statvfs(self.folder)
        reserve = min(_RESERVE_BYTES, status.f_blocks * status.f_frsize // 16)
        if status.f_bavail * status.f_frsize >= wanted + reserve:
            return False
        self._trouble(OxenfsError(f"the disk of the cache {self.folder} is full"))
        return True

    def _trouble(self, exc: OxenfsError) -> None:
        if isinstance(exc, IntegrityError):
            # Nothing is written to it any more, and the next start makes a new one.
            self._broken = True
            with contextlib.suppress(OSError):
                (self.folder / DAMAGED).touch(mode=0o600)
        now = time.monotonic()
        if now - self._warned_s > _WARN_AGAIN_S or not self._warned_s:
            self._warned_s = now
            log.warning("not cached: %s", exc)


DAMAGED = "index-is-damaged"
"""A file of this name in a cache's folder: the index is not to be opened again."""


def is_right(table: str, key: bytes, row: Row, data: Buffer) -> bool:
    """Return whether `data` has the digest of the object that `row` and `key` are about.

    Small blobs have their own xxh3-128 in their key. Others keep a digest; of a chunk the
    xxh3-128 is compared, which finds damage, and its BLAKE3 by `oxenfs cache verify`.
    """
    found = xxhash.xxh3_128_digest(data)
    return found == (key[16:32] if table == SMALL else row.digest[-16:])


def _is_next(row: Row, other: Row) -> bool:
    """Return whether `other` lies directly behind `row`."""
    one, two = row.extent, other.extent
    return one.segment == two.segment and one.offset + one.length == two.offset


def _derived_key(key: bytes) -> bytes:
    if len(key) > DERIVED_KEY_BYTES_MAX:
        raise ValueError(f"a key of {len(key)} bytes")
    return blake3.blake3(key).digest()
