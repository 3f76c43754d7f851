"""What is here of a remote's blobs: what came last, what is in a buffer, what is on disk.

Nothing here asks the remote. What memory and the page cache have is answered on the event loop,
without an await; where the disk must be waited for, the caller does it in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import blake3

from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.remote.verify import chunk_digest, chunk_range
from oxenfs.store.buffers import Buffers
from oxenfs.store.cache import Cache
from oxenfs.store.cache_objects import Object, chunk_key, small_key
from oxenfs.store.cache_rows import CHUNKS, SMALL, Row
from oxenfs.store.flights import WHOLE, Data, FlightKey, Recent
from oxenfs.store.queued import Ahead
from oxenfs.store.whole import Wholes


class Here:
    """What is here of the blobs of one remote. Used from one trio loop, but for what says `load`.

    Bytes that are returned may lie in a buffer that the next read reuses.
    """

    def __init__(
        self, host: str, cache: Cache | None, recent: Recent | None, wholes: Wholes
    ) -> None:
        """Look for blobs of the server `host`.

        Args:
            host: bytes of one are never shown for another one.
            cache: the disk's; None where there is none.
            recent: what came last; None where nothing comes.
            wholes: which large blobs were found wrong: nothing of before is shown of those.
        """
        self._host = blake3.blake3(host.encode()).digest(length=16)
        self._cache = cache
        self._recent = recent
        self._wholes = wholes
        self._buffers = Buffers()

    # Small blobs.

    def small_key(self, blob: ObjectHash) -> bytes:
        """Return the key of a small blob in the cache."""
        return small_key(self._host, blob)

    def has_small(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a small blob is on disk; one without a byte is everywhere."""
        if size == 0:
            return True
        return self._cache is not None and self._cache.has(SMALL, self.small_key(blob))

    def not_on_disk(self, blobs: list[Ahead]) -> list[Ahead]:
        """Return which small blobs are not on disk."""
        if self._cache is None or not blobs:
            return blobs
        keys = [self.small_key(blob) for blob, _, _ in blobs]
        here = self._cache.has_many(SMALL, keys)
        return [each for each, key in zip(blobs, keys, strict=True) if key not in here]

    def small(self, blob: ObjectHash, size: int) -> memoryview | Row | None:
        """Return a small blob; its row, if the disk must be waited for; None if it is not here."""
        if self._recent is not None:
            data = self._recent.get((blob, size, WHOLE))
            if data is not None:
                return memoryview(data)
        held = self._buffers.holding((blob, size), 0, size)
        if held is not None:
            return held.view[:size]
        if self._cache is None:
            return None
        key = self.small_key(blob)
        row = self._cache.find(SMALL, key)
        if row is None or row.extent.length != size:
            return None
        buffer = self._buffers.take((blob, size), 0, size)
        try:
            if not self._cache.load(SMALL, key, row, buffer.view[:size], wait=False):
                return None
        except BlockingIOError:
            return row
        self._cache.ages.touch(key)
        buffer.key, buffer.start, buffer.stop = (blob, size), 0, size
        return buffer.view[:size]

    def load_small(self, blob: ObjectHash, size: int, row: Row) -> bytearray | None:
        """Return the small blob of that row, in a thread; None if it is damaged, or was evicted."""
        assert self._cache is not None
        data = bytearray(size)
        key = self.small_key(blob)
        if not self._cache.load(SMALL, key, row, memoryview(data), wait=True):
            return None
        self._cache.ages.touch(key)
        return data

    # Large blobs.

    def large_key(self, blob: ObjectHash, size: int) -> bytes:
        """Return the key of a large blob in the cache: that of a chunk without its number."""
        return chunk_key(self._host, blob, size, 0)[:-4]

    def chunks_missing(self, blob: ObjectHash, size: int, first: int, stop: int) -> list[int]:
        """Return the numbers of the chunks from `first` up to `stop` that are not on disk."""
        if self._cache is None:
            return list(range(first, stop))
        rows = self._cache.find_chunks(self.large_key(blob, size), first, stop - first)
        return [first + at for at, row in enumerate(rows) if row is None]

    def is_missing(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a chunk of a large blob is not on disk."""
        here = 0 if self._cache is None else self._cache.large(self.large_key(blob, size)).here
        return here < -(-size // CHUNK_BYTES)

    def range(
        self, blob: ObjectHash, size: int, offset: int, end: int, arrived: Mapping[int, Data]
    ) -> memoryview | list[int]:
        """Return bytes, or the numbers of the chunks that are missing (none: look again).

        Args:
            blob: the hash.
            size: what the tree says it has.
            offset: the first byte.
            end: behind the last one.
            arrived: chunks that the caller has, by number.

        Raises:
            BlockingIOError: the disk must be waited for.
        """
        name = (blob, size, self._wholes.strikes(blob, size))
        held = self._buffers.holding(name, offset, end)
        if held is not None:
            return held.view[offset - held.start : end - held.start]
        start, stop = chunk_range(size, offset, end)
        first, count = start // CHUNK_BYTES, -(-(stop - start) // CHUNK_BYTES)
        here = self._in_memory(blob, size, first, count, arrived)
        if count == 1 and first in here:
            return memoryview(here[first])[offset - start : end - start]
        rows: list[Row | None] = [None] * count
        if len(here) < count and self._cache is not None:
            rows = self._cache.find_chunks(self.large_key(blob, size), first, count)
        missing = [first + at for at in range(count) if rows[at] is None and first + at not in here]
        if missing:
            return missing
        buffer = self._buffers.take(name, start, stop - start)
        if not self._compose(
            blob, size, start, buffer.view[: stop - start], here, rows, wait=False
        ):
            return []
        buffer.key, buffer.start, buffer.stop = name, start, stop
        return buffer.view[offset - start : end - start]

    def load_range(
        self, blob: ObjectHash, size: int, offset: int, end: int, arrived: Mapping[int, Data]
    ) -> memoryview | None:
        """Do as `range` with waiting for the disk, in a thread; None if something is missing."""
        assert self._cache is not None
        start, stop = chunk_range(size, offset, end)
        first, count = start // CHUNK_BYTES, -(-(stop - start) // CHUNK_BYTES)
        here = self._in_memory(blob, size, first, count, arrived)
        rows = self._cache.find_chunks(self.large_key(blob, size), first, count)
        if any(rows[at] is None and first + at not in here for at in range(count)):
            return None
        view = memoryview(bytearray(stop - start))
        if not self._compose(blob, size, start, view, here, rows, wait=True):
            return None
        return view[offset - start : end - start]

    def _compose(
        self,
        blob: ObjectHash,
        size: int,
        start: int,
        view: memoryview,
        here: Mapping[int, Data],
        rows: Sequence[Row | None],
        *,
        wait: bool,
    ) -> bool:
        """Fill `view` with whole chunks from memory and disk; return whether all were right."""
        first = start // CHUNK_BYTES
        wanted: list[tuple[bytes, Row, memoryview]] = []
        prefix = self.large_key(blob, size)
        for at, row in enumerate(rows):
            part = view[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]
            data = here.get(first + at)
            if data is not None:
                part[:] = data
            else:
                assert row is not None
                wanted.append((prefix + (first + at).to_bytes(4, "big"), row, part))
        return not wanted or (
            self._cache is not None and self._cache.load_chunks(wanted, wait=wait)
        )

    def _in_memory(
        self, blob: ObjectHash, size: int, first: int, count: int, arrived: Mapping[int, Data]
    ) -> dict[int, Data]:
        here = {
            number: arrived[number] for number in range(first, first + count) if number in arrived
        }
        if self._recent is not None:
            for number in range(first, first + count):
                if number not in here:
                    data = self._recent.get((blob, size, number))
                    if data is not None:
                        here[number] = data
        return here

    # Both.

    def object_key(self, key: FlightKey) -> tuple[str, bytes]:
        """Return the table and the key, in the cache, of what a flight brings."""
        blob, size, number = key
        if number == WHOLE:
            return SMALL, self.small_key(blob)
        return CHUNKS, chunk_key(self._host, blob, size, number)

    def keep(
        self, arrived: Sequence[tuple[FlightKey, Data]]
    ) -> dict[tuple[ObjectHash, int], bytes]:
        """Put what came on disk, in any thread.

        Returns:
            the keys of the large blobs of which something was kept.
        """
        if self._cache is None:
            return {}
        objects = []
        larges: dict[tuple[ObjectHash, int], bytes] = {}
        for (blob, size, number), data in arrived:
            if number == WHOLE:
                objects.append(Object(SMALL, self.small_key(blob), data))
            else:
                prefix = larges.setdefault((blob, size), self.large_key(blob, size))
                key = prefix + number.to_bytes(4, "big")
                objects.append(Object(CHUNKS, key, data, chunk_digest(data)))
        return larges if self._cache.put_many(objects) else {}
