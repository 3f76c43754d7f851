"""How much the disk cache may hold: its limit, what counts towards it, what is exempt from it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, Transaction
from oxenfs.store import cache_rows as rows
from oxenfs.store.ages import Ages
from oxenfs.store.cache_folder import TREE
from oxenfs.store.cache_rows import DERIVED, SMALL
from oxenfs.store.cache_trouble import Troubles
from oxenfs.store.eviction import choose, give_back
from oxenfs.store.segments import Segments, rounded

LIMIT_BYTES = 20 << 30
"""How much is kept where nothing else is said."""

_RESERVE_BYTES = 64 << 20
# Rows of what was granted are written after the grant, and folders take up something too.
_GROWTH_PART, _GROWTH_BYTES_MIN, _GROWTH_BYTES_MAX = 128, 64 << 10, 2 << 20
# Evicting makes room for more than is wanted now, so that it is not done for every object.
_SPARE = 0.03


class Totals(NamedTuple):
    """What is in a cache.

    Attributes:
        limit_bytes, used_bytes: used is what is charged: bytes granted to a writer count already,
            and so do index and listings.
        pinned_bytes: the sizes of all pinned blobs, here or not.
        blobs: small ones, and large ones of which at least one chunk is here.
        derived: objects that are no blobs.
    """

    limit_bytes: int
    used_bytes: int
    pinned_bytes: int
    blobs: int
    derived: int


class Room:
    """The room of one cache folder. Safe to use from several threads and processes.

    Attributes:
        evicted: how many objects were evicted by this process.
    """

    def __init__(
        self, folder: Path, env: Environment, segments: Segments, ages: Ages, troubles: Troubles
    ) -> None:
        """Keep the limit that the index `env` of the cache in `folder` has."""
        self.evicted = 0
        self._folder = folder
        self._env = env
        self._segments = segments
        self._ages = ages
        self._troubles = troubles

    def limit_bytes(self) -> int:
        """Return the limit of the folder; raise `OxenfsError` if the index cannot be read."""
        with self._env.read() as txn:
            return rows.number(txn, rows.LIMIT)

    def set_limit(self, limit_bytes: int) -> None:
        """Set the limit of the folder, for all who use it, and evict down to it."""
        with self._env.write() as txn:
            rows.set_number(txn, rows.LIMIT, limit_bytes)
        self.shrink()

    def totals(self) -> Totals:
        """Return what is in the cache; raise `OxenfsError` if the index cannot be read."""
        with self._env.read() as txn:
            return Totals(
                limit_bytes=rows.number(txn, rows.LIMIT),
                used_bytes=rows.number(txn, rows.USED) + self._own_bytes(),
                pinned_bytes=rows.number(txn, rows.PINNED),
                blobs=txn.count(SMALL) + txn.count("large"),
                derived=txn.count(DERIVED),
            )

    def over_bytes(self, txn: Transaction, more_bytes: int) -> int:
        """Return by how much `more_bytes` would exceed the room there is; up to 0: they fit."""
        return rows.number(txn, rows.USED) + more_bytes - self._for_objects(txn)

    def make(self, size: int) -> bool:
        """Evict until `size` more bytes fit; return whether they do, and the disk has them."""
        return not self._is_disk_full(size) and self.shrink(size)

    def shrink(self, spare_bytes: int = 0) -> bool:
        """Evict until `spare_bytes` more would be within the limit; return whether they are."""
        while True:
            with self._env.read() as txn:
                over = self.over_bytes(txn, spare_bytes)
                if over <= 0:
                    return True
                over += int(rows.number(txn, rows.LIMIT) * _SPARE)
            dropped = choose(self._env, self._ages, over)
            self.evicted += dropped
            give_back(self._env, self._segments)
            if not dropped:
                with self._env.read() as txn:
                    return self.over_bytes(txn, spare_bytes) <= 0

    def pin(self, blobs: Iterable[tuple[bytes, int]]) -> int:
        """Exempt blobs (small key, size) from eviction, here or not; return how many are new.

        Raises:
            OxenfsError: all that is pinned would not fit into the limit; nothing is pinned then.
        """
        made = 0
        with self._env.write() as txn:
            for key, size in blobs:
                made += rows.pin(txn, key, rounded(size))
            pinned, room = rows.number(txn, rows.PINNED), self._for_objects(txn)
            if pinned > room:
                raise OxenfsError(
                    f"pinned files of {pinned} bytes do not fit into a cache of {room} bytes; "
                    "mount with a larger --cache-size, or unpin others"
                )
        return made

    def unpin(self, blobs: Iterable[bytes]) -> int:
        """Undo `pin` for blobs by their small keys; return how many were pinned."""
        with self._env.write() as txn:
            return sum(rows.unpin(txn, key) for key in blobs)

    def _for_objects(self, txn: Transaction) -> int:
        """Return how many bytes of objects there may be: the limit without what else is there.

        Neither index nor listings get smaller. A quarter of the limit is left to objects whatever
        they take, or a limit that was much larger before would leave nothing.
        """
        limit = rows.number(txn, rows.LIMIT)
        growing = min(_GROWTH_BYTES_MIN + limit // _GROWTH_PART, _GROWTH_BYTES_MAX)
        return limit - min(self._own_bytes() + growing, limit - limit // 4)

    def _own_bytes(self) -> int:
        found = self._ages.size_bytes
        for folder in (self._env.path, self._folder.with_name(TREE)):
            for name in ("data.mdb", "lock.mdb"):
                with contextlib.suppress(OSError):
                    found += (folder / name).stat().st_blocks * 512
        return found

    def _is_disk_full(self, wanted: int) -> bool:
        # The index needs a little room even to forget something.
        status = os.statvfs(self._folder)
        reserve = min(_RESERVE_BYTES, status.f_blocks * status.f_frsize // 16)
        if status.f_bavail * status.f_frsize >= wanted + reserve:
            return False
        self._troubles.note(OxenfsError(f"the disk of the cache {self._folder} is full"))
        return True
