"""The hash of a large blob, checked when all of it is here: servers give none of its parts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import xxhash

from oxenfs.errors import IntegrityError
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.store.cache import Cache
from oxenfs.store.cache_rows import CHUNKS

log = logging.getLogger(__name__)

_STRIKES = 2
_ROWS_AT_ONCE = 256


class Wholes:
    """Which large blobs were found wrong in this mount. Safe to use from several threads.

    A blob that is wrong is dropped, so that it is fetched once more; if it is wrong again, reading
    it is an error from then on.
    """

    def __init__(self, cache: Cache | None, forget: Callable[[ObjectHash, int], None]) -> None:
        """Check what is in `cache`; `forget` is called with a blob and size that is wrong."""
        self._cache = cache
        self._forget = forget
        self._strikes: dict[tuple[ObjectHash, int], int] = {}
        self._due: set[tuple[ObjectHash, int]] = set()
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def strikes(self, blob: ObjectHash, size: int) -> int:
        """Return how often the blob was found wrong."""
        return self._strikes.get((blob, size), 0) if self._strikes else 0

    def check_bad(self, blob: ObjectHash, size: int) -> None:
        """Raise `IntegrityError` if the blob was wrong too often."""
        if self.strikes(blob, size) >= _STRIKES:
            raise IntegrityError(
                f"the remote's bytes of blob {hash_text(blob)} do not have its hash "
                f"({size} bytes, fetched {_STRIKES} times)"
            )

    def is_checked(self, prefix: bytes, size: int) -> bool:
        """Return whether all of the blob with that key is here, and was found right."""
        if self._cache is None:
            return False
        known = self._cache.large(prefix)
        return known.checked and known.here == _chunks(size)

    def is_due(self, blob: ObjectHash, size: int, prefix: bytes) -> bool:
        """Return whether all of a blob is here and nobody is about to check it; the caller must."""
        if self._cache is None:
            return False
        known = self._cache.large(prefix)
        if known.checked or known.here != _chunks(size):
            return False
        with self._lock:
            if (blob, size) in self._due:
                return False
            self._due.add((blob, size))
        return True

    def check(self, blob: ObjectHash, size: int, prefix: bytes) -> bool:
        """Return whether all of a blob is here and right; blocks, reads all of it.

        If it is wrong, it is dropped, and counted. One at a time: two who found the same mistake
        would count it twice.
        """
        with self._checking:
            return self._check(blob, size, prefix)

    def _check(self, blob: ObjectHash, size: int, prefix: bytes) -> bool:
        with self._lock:
            self._due.discard((blob, size))
        if self._cache is None:
            return False
        if self.is_checked(prefix, size):
            return True
        digest = xxhash.xxh3_128()
        view = memoryview(bytearray(CHUNK_BYTES))
        count = _chunks(size)
        for first in range(0, count, _ROWS_AT_ONCE):
            rows = self._cache.find_chunks(prefix, first, min(_ROWS_AT_ONCE, count - first))
            for number, row in enumerate(rows, first):
                part = view[: min(CHUNK_BYTES, size - number * CHUNK_BYTES)]
                if row is None or row.extent.length != len(part):
                    return False
                key = prefix + number.to_bytes(4, "big")
                if not self._cache.load(CHUNKS, key, row, part, wait=True):
                    return False
                digest.update(part)
        if digest.intdigest() == blob:
            self._cache.set_checked(prefix, count)
            return True
        # Dropped before it is counted: whoever sees the count fetches everything anew.
        self._cache.drop_blob(prefix, count)
        self._forget(blob, size)
        with self._lock:
            strikes = self._strikes[(blob, size)] = self.strikes(blob, size) + 1
        log.error(
            "blob %s of %d bytes does not have its hash; %s",
            hash_text(blob),
            size,
            "it is fetched again" if strikes < _STRIKES else "reading it is an error from now on",
        )
        return False


def _chunks(size: int) -> int:
    return -(-size // CHUNK_BYTES)
