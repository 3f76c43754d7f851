"""What was computed of videos, in the disk cache: under its limit, shared by all mounts."""

from __future__ import annotations

import hashlib

import trio

from oxenfs.store.cache import Cache, Object


class DiskKept:
    """The derived objects of a disk cache. Used from one trio loop."""

    def __init__(self, cache: Cache) -> None:
        """Keep things in `cache`."""
        self._cache = cache
        self._waiting: list[Object] = []
        self._writing = False

    async def get(self, key: bytes) -> bytes | None:
        """Return what was put under `key`, or None. A thread only where the disk is slow."""
        name = _name(key)
        try:
            return self._cache.get(name, wait=False)
        except BlockingIOError:
            return await trio.to_thread.run_sync(self._cache.get, name)

    def has(self, key: bytes) -> bool:
        """Return whether there is something under `key`: a point read."""
        return self._cache.has_derived(_name(key))

    async def put(self, key: bytes, value: bytes) -> None:
        """Keep `value`; those that come while others are written go into one transaction."""
        self._waiting.append(self._cache.derived(_name(key), value))
        if self._writing:
            return
        self._writing = True
        try:
            while self._waiting:
                objects, self._waiting = self._waiting, []
                await trio.to_thread.run_sync(self._cache.put_many, objects)
        finally:
            self._writing = False


def _name(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=32, person=b"oxenfs frames").digest()
