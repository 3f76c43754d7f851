"""The disk cache: verified bytes of blobs, and what was derived from them, under one limit.

Objects (`oxenfs.store.cache_objects`: small blobs whole, chunks of large ones, derived objects) lie
in segments (`oxenfs.store.segments`); the index (`oxenfs.store.cache_rows`) says where. The index
is a hint and the bytes are checked against a digest whenever they are read: what is not right is
dropped, and is a miss. Several processes may use one folder; a process may be killed at any moment.

Everything is done for the best: a cache that cannot be written, or is full of pinned blobs, keeps
nothing, and says so in the log. No error of the disk reaches a reader.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import xxhash

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment
from oxenfs.store import cache_rows as rows
from oxenfs.store.ages import Ages
from oxenfs.store.cache_objects import Object, derived_key, is_right
from oxenfs.store.cache_room import Room
from oxenfs.store.cache_rows import CHUNKS, DERIVED, Row
from oxenfs.store.cache_trouble import WARN_AGAIN_S, Troubles
from oxenfs.store.cache_writer import Writer
from oxenfs.store.eviction import give_back
from oxenfs.store.segments import Buffer, Segments

log = logging.getLogger(__name__)


class Cache:
    """One cache folder. Safe to use from several threads and processes; see `open_cache`.

    Attributes:
        folder: where it is.
        room: its limit, what counts towards it, what is pinned.
        writer: appends to it.
        healed: how many damaged objects were dropped by this process.
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
        self.bytes_read = 0
        self._troubles = Troubles(folder)
        self.room = Room(folder, env, self.segments, self.ages, self._troubles)
        self.writer = Writer(env, self.segments, self.ages, self.room, self._troubles)
        self._healed_s = 0.0

    @staticmethod
    def derived(key: bytes, value: Buffer) -> Object:
        """Return a derived object as `put_many` takes it; `get` finds it by `key`."""
        return Object(DERIVED, derived_key(key), value, xxhash.xxh3_128_digest(value))

    def get(self, key: bytes, *, wait: bool = True) -> bytes | None:
        """Return the derived object `key`, None if it is not here.

        Args:
            key: up to 500 bytes, any; whatever the object depends on must be in it.
            wait: whether the disk may be waited for.

        Raises:
            BlockingIOError: `wait` is false, and the disk would have to be waited for.
        """
        name = derived_key(key)
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
        return self.has(DERIVED, derived_key(key))

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
            self._troubles.note(exc)
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
            self._troubles.note(exc)
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
            self._troubles.note(exc)
            return False

    def has_many(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        """Return the keys of those objects that are here, without looking at them."""
        try:
            with self.env.read() as txn:
                return txn.has_many(table, keys)
        except OxenfsError as exc:
            self._troubles.note(exc)
            return set()

    def discard(self, table: str, key: bytes, row: Row, why: str) -> None:
        """Drop a damaged object, if it is still the one that `row` says."""
        try:
            with self.env.write() as txn:
                if not rows.drop(txn, table, key, row.extent):
                    return
        except OxenfsError as exc:
            self._troubles.note(exc)
            return
        self.healed += 1
        now = time.monotonic()
        if self.healed == 1 or now - self._healed_s > WARN_AGAIN_S:
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
            give_back(self.env, self.segments)

    def put_many(self, objects: Sequence[Object]) -> bool:
        """Keep objects, in one transaction; return False if there is no room or no disk for them.

        The limit is kept before a byte is written. May wait for the disk, and evict.
        """
        try:
            return self.writer.put(objects)
        except OSError as exc:
            self._troubles.note(OxenfsError(f"the cache in {self.folder}: {exc.strerror}"))
        except OxenfsError as exc:
            self._troubles.note(exc)
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
            self._troubles.note(exc)
            return False

    def close(self) -> None:
        """Give back what was granted and not used, and close everything."""
        if not self.writer.close():
            return
        self.segments.close()
        self.ages.close()
        self.env.close()


def _is_next(row: Row, other: Row) -> bool:
    """Return whether `other` lies directly behind `row`."""
    one, two = row.extent, other.extent
    return one.segment == two.segment and one.offset + one.length == two.offset
