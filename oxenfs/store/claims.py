"""Who fetches what into a cache folder that several processes use.

A claim is a lock of one byte of a file in that folder, at the place that an object's key leads to.
The kernel gives it back when its process ends, however that happens. It is a hint, as everything
about a cache: who cannot claim fetches without, and a byte too much is fetched, never a wrong one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Sequence

import xxhash

from oxenfs.store.cache import Cache
from oxenfs.store.cache_folder import USERS
from oxenfs.store.cache_rows import CHUNKS, SMALL
from oxenfs.store.flights import Data, Flight, FlightKey
from oxenfs.store.queued import length

_FILE = "claims"
_LOOK_S = 0.5
_PLACES = 1 << 62

KeyOf = Callable[[FlightKey], tuple[str, bytes]]
"""Returns the table and the key of what a flight brings, as the cache has it."""


class Claims:
    """The claims of this process. Safe to use from several threads."""

    def __init__(self, cache: Cache, key_of: KeyOf) -> None:
        """Claim what goes to `cache`; no file is made before there are others."""
        self._cache = cache
        self._key_of = key_of
        self._fd = -1
        self._shared = False
        self._looked_s = float("-inf")

    def are_shared(self) -> bool:
        """Return whether other processes use the folder; half a second old at the most."""
        now = time.monotonic()
        if now - self._looked_s > _LOOK_S:
            self._looked_s = now
            with contextlib.suppress(OSError):
                self._shared = len(list((self._cache.folder / USERS).iterdir())) > 1
        return self._shared

    def claim(self, key: FlightKey) -> bool:
        """Return whether this process may fetch something: no other one is about to."""
        try:
            if self._fd < 0:
                path = self._cache.folder / _FILE
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place(key))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            # No locks here, or no file: as if nobody else was there.
            return True
        return True

    def release(self, keys: Sequence[FlightKey]) -> None:
        """Give claims back, of which some may not be held."""
        if self._fd < 0:
            return
        for key in keys:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._place(key))

    def here(self, flights: Sequence[Flight]) -> list[tuple[Flight, Data]]:
        """Return what is on disk by now, with its bytes. Waits for the disk."""
        keys = {flight: self._key_of(flight.key) for flight in flights}
        found: list[tuple[Flight, Data]] = []
        for table in (SMALL, CHUNKS):
            wanted = {key: flight for flight, (kind, key) in keys.items() if kind == table}
            for key in self._cache.has_many(table, list(wanted)) if wanted else ():
                data = self._load(table, key, length(wanted[key]))
                if data is not None:
                    found.append((wanted[key], data))
        return found

    def close(self) -> None:
        """Give everything back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _load(self, table: str, key: bytes, size: int) -> bytearray | None:
        row = self._cache.find(table, key)
        if row is None or row.extent.length != size:
            return None
        data = bytearray(size)
        if not self._cache.load(table, key, row, memoryview(data), wait=True):
            return None
        self._cache.ages.touch(key)
        return data

    def _place(self, key: FlightKey) -> int:
        return int(xxhash.xxh3_64_intdigest(self._key_of(key)[1])) % _PLACES
