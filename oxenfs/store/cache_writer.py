"""Where the disk cache grows: the segment that a process appends to, and what it was granted there.

Bytes are granted some megabytes at a time, within the limit and before the first of them is
written; what is left over is given back when the segment is full, or the writer is closed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment
from oxenfs.store import cache_rows as rows
from oxenfs.store.ages import Ages
from oxenfs.store.cache_objects import Object
from oxenfs.store.cache_room import Room
from oxenfs.store.cache_trouble import Troubles
from oxenfs.store.eviction import give_back
from oxenfs.store.segments import Extent, Segments, rounded, write_at

OBJECT_BYTES_MAX = 64 << 20

_SEGMENT_BYTES = 64 << 20
_GRANT_BYTES = 4 << 20


class Writer:
    """What one process appends to a cache folder. Safe to use from several threads."""

    def __init__(
        self, env: Environment, segments: Segments, ages: Ages, room: Room, troubles: Troubles
    ) -> None:
        """Append to `segments`, as far as `room` allows; no file is made before it is needed."""
        self._env = env
        self._segments = segments
        self._ages = ages
        self._room = room
        self._troubles = troubles
        self._segment: int | None = None
        self._fd = -1
        self._at = self._end = 0
        self._writing = threading.Lock()
        self._closed = False

    @property
    def unwritten_bytes(self) -> int:
        """How much was granted, and is charged, and is not written yet."""
        return self._end - self._at

    def put(self, objects: Sequence[Object]) -> bool:
        """Keep objects, in one transaction; return False if there is no room for them.

        The limit is kept before a byte is written. May wait for the disk, and evict.

        Raises:
            OSError: the disk fails.
            OxenfsError: the index does.
        """
        with self._writing:
            if self._closed or self._troubles.is_broken:
                return False
            new = self._unknown(objects)
            if not new:
                return True
            size = sum(rounded(len(each.data)) for each in new)
            if size > OBJECT_BYTES_MAX or not self._make_room(size):
                return False
            self._append(new, size)
            return True

    def close(self) -> bool:
        """Give back what was granted and not used; return False if it was closed before."""
        with self._writing:
            if self._closed:
                return False
            self._closed = True
            with contextlib.suppress(OxenfsError, OSError):
                self._retire()
        return True

    def _unknown(self, objects: Sequence[Object]) -> list[Object]:
        """Return those of `objects` that are not here, each once."""
        wanted = {(each.table, each.key): each for each in objects}
        with self._env.read() as txn:
            for table in {each.table for each in objects}:
                keys = [key for kind, key in wanted if kind == table]
                for key in txn.has_many(table, keys):
                    del wanted[table, key]
        return list(wanted.values())

    def _append(self, new: Sequence[Object], size: int) -> None:
        """Write objects of `size` bytes, in whole blocks, into what was granted, and note them."""
        assert self._segment is not None
        at = self._at
        # Behind it even if the write fails: an offset is written once.
        self._at += size
        write_at(self._fd, [each.data for each in new], at)
        added = []
        for each in new:
            added.append(
                (each.table, each.key, Extent(self._segment, at, len(each.data)), each.digest)
            )
            at += rounded(len(each.data))
        with self._env.write() as txn:
            # What another process was faster with.
            late = rows.put_new(txn, added)
            for extent in late:
                rows.doom(txn, extent)
        for each in new:
            self._ages.touch(each.key)
        if late:
            give_back(self._env, self._segments)

    def _make_room(self, size: int) -> bool:
        """Have a segment with `size` granted bytes; return False if that is over the limit."""
        if self._segment is not None and not self._segments.is_there(self._segment, self._fd):
            # Somebody removed the folder.
            self._retire()
        if self._at and self._at + size > self._segment_bytes():
            self._retire()
        if self._at + size <= self._end:
            return True
        for wanted in (max(size, self._grant_bytes()), size):
            if not self._room.make(wanted):
                continue
            if self._segment is None:
                self._begin()
            assert self._segment is not None
            with self._env.write() as txn:
                # Again, with the lock: another process may have been granted the same room.
                more = self._at + wanted - self._end
                if self._room.over_bytes(txn, more) > 0:
                    continue
                self._end += more
                rows.grant(txn, self._segment, self._end, more)
            return True
        return False

    def _begin(self) -> None:
        fd = None
        while fd is None:
            with self._env.write() as txn:
                segment = rows.new_segment(txn)
            # There is a file of that number if the index is a new one, and the files are not.
            fd = self._segments.create(segment)
        self._segment, self._fd, self._at, self._end = segment, fd, 0, 0

    def _retire(self) -> None:
        if self._segment is None:
            return
        segment, fd = self._segment, self._fd
        unused = self._end - self._at
        self._segment, self._fd, self._at, self._end = None, -1, 0, 0
        try:
            with self._env.write() as txn:
                rows.retire(txn, segment, unused)
                empty = rows.is_empty(txn, segment)
                if empty:
                    rows.remove_segment(txn, segment)
            if empty:
                self._segments.remove(segment)
        finally:
            os.close(fd)

    def _segment_bytes(self) -> int:
        # A small cache must be able to give a part of itself back.
        return max(min(_SEGMENT_BYTES, self._room.limit_bytes() // 8), 1 << 20)

    def _grant_bytes(self) -> int:
        return min(_GRANT_BYTES, self._room.limit_bytes() // 64)
