"""What was computed of videos, in the disk cache: under its limit, shared by all mounts."""

from __future__ import annotations

import hashlib

import trio

from oxenfs.store.cache import Cache


class DiskKept:
    """The derived objects of a disk cache. Used from one trio loop."""

    def __init__(self, cache: Cache) -> None:
        """Keep things in `cache`."""
        self._cache = cache
        self._waiting: dict[bytes, bytes] = {}
        self._being_written: dict[bytes, bytes] = {}
        self._lock = trio.Lock()

    async def get(self, key: bytes) -> bytes | None:
        """Return what was put under `key`, or None. A thread only where the disk is slow."""
        name = _name(key)
        for waiting in (self._waiting, self._being_written):
            if name in waiting:
                return waiting[name]
        try:
            return self._cache.get(name, wait=False)
        except BlockingIOError:
            return await trio.to_thread.run_sync(self._cache.get, name)

    def has(self, key: bytes) -> bool:
        """Return whether there is something under `key`: a point read."""
        name = _name(key)
        return name in self._waiting or name in self._being_written or self._cache.has_derived(name)

    def put(self, key: bytes, value: bytes) -> None:
        """Keep `value`, in memory until `write`."""
        self._waiting[_name(key)] = value

    async def write(self) -> None:
        """Write what waits, in one transaction."""
        async with self._lock:
            if not self._waiting:
                return
            self._being_written, self._waiting = self._waiting, {}
            try:
                await trio.to_thread.run_sync(self._write, list(self._being_written.items()))
            finally:
                self._being_written = {}

    def _write(self, some: list[tuple[bytes, bytes]]) -> None:
        self._cache.put_many([self._cache.derived(name, value) for name, value in some])


def _name(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=32, person=b"oxenfs frames").digest()
