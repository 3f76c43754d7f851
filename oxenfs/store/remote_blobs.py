"""Blobs of a remote that is elsewhere: from what is here of them, or by a transfer.

A blob up to 1 MiB is fetched whole and by hash, and was checked before its first byte is served. Of
a larger one, chunks of 256 KiB are fetched by range. Their number of bytes is checked, their
contents cannot be, as servers give a hash of the whole only: that is checked as soon as all chunks
are here (`oxenfs.store.whole`), or before the first byte if the mount is to verify in full.

What `oxenfs.store.remote_here` finds in memory and in the page cache is returned without an await.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

import trio

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.base import BlobPlace, BlobSource
from oxenfs.remote.breaker import Breaker
from oxenfs.store.cache import Cache
from oxenfs.store.claims import Claims
from oxenfs.store.counters import Counters
from oxenfs.store.flights import WHOLE, Data, FlightKey
from oxenfs.store.remote_here import Here
from oxenfs.store.remote_readers import LargeReader, SmallReader, Tags
from oxenfs.store.siblings import SMALL_BYTES_MAX, Sibling
from oxenfs.store.small_ahead import SmallAhead
from oxenfs.store.transfers import Transfers
from oxenfs.store.waiting import Waiting
from oxenfs.store.whole import Wholes

_DISK_READS = 16
_TURNS = 6
_STEP_CHUNKS = 64
_LATE_S = 0.05


class RemoteBlobs:
    """All blobs of one remote. Used from one trio loop.

    Attributes:
        counters: what was done.
        cache: None where there is none: then only memory is used.
        here: what needs no transfer.
        ahead: what comes of small files before it is asked for.
        transfers: None if only the cache may be used.
        wholes: which large blobs were found wrong.
    """

    def __init__(
        self,
        source: BlobSource | None,
        host: str,
        cache: Cache | None,
        *,
        breaker: Breaker | None = None,
        counters: Counters | None = None,
        timeout_s: float = 30.0,
        verify_full: bool = False,
    ) -> None:
        """Show the blobs of a server.

        Args:
            source: where bytes come from; None if only the cache may be used.
            host: the server; bytes of one are never shown for another one.
            cache: closed by whoever opened it, after this.
            breaker: shared with others who ask the same server.
            counters: shared with others who count.
            timeout_s: after it a read fails.
            verify_full: serve no byte of a large blob before all of it was checked.
        """
        self.cache = cache
        self.counters = counters or Counters()
        self.verify_full = verify_full
        self._breaker = breaker or Breaker()
        self._disk = trio.CapacityLimiter(_DISK_READS)
        self.transfers: Transfers | None = None
        if source is not None:
            claims = None if cache is None else Claims(cache, lambda key: self.here.object_key(key))
            self.transfers = Transfers(
                source, self._breaker, self.counters, self._keep, timeout_s, claims
            )
        self.wholes = Wholes(cache, self._forget)
        recent = None if self.transfers is None else self.transfers.recent
        self.here = Here(host, cache, recent, self.wholes)
        self._waiting = Waiting(self.transfers, self._breaker, timeout_s)
        self.ahead = SmallAhead(self.here, self.transfers, self._breaker)
        self._checking: dict[tuple[ObjectHash, int], trio.Lock] = {}

    def open(
        self,
        blob: ObjectHash,
        size: int,
        place: Callable[[], BlobPlace],
        sibling: Callable[[], Sibling] | None = None,
    ) -> SmallReader | LargeReader:
        """Return a reader of `blob`; nothing is fetched before it reads.

        Args:
            blob: the hash.
            size: what the tree says it has, in bytes.
            place: a file that has it.
            sibling: where that stands in its folder, for reading ahead.
        """
        if size <= SMALL_BYTES_MAX:
            return SmallReader(self, blob, size, sibling)
        return LargeReader(self, blob, place())

    def close(self) -> None:
        """Stop all transfers. Blocks up to some seconds."""
        if self.transfers is not None:
            self.transfers.close()

    # Small blobs.

    async def small(
        self,
        blob: ObjectHash,
        size: int,
        sibling: Sibling | None = None,
        tags: Tags | None = None,
    ) -> memoryview:
        """Return a small blob; it may lie in a buffer that the next read reuses.

        Args:
            blob: the hash.
            size: what the tree says it has.
            sibling: given with the first read of a file: others of its folder come with it.
            tags: of the rows of the sibling's folder, for `SmallAhead.tell`.

        Raises:
            IntegrityError: the remote does not have it, or has other bytes.
            RemoteUnavailable: it did not come in time.
        """
        started_s = time.monotonic()
        ahead = [] if sibling is None else self.ahead.note_read(sibling, tags)
        for _ in range(_TURNS):
            found = self.here.small(blob, size)
            if found is not None and ahead:
                self._waiting.transfers().small_ahead(ahead)
                ahead = []
            if isinstance(found, memoryview):
                self.counters.hits += 1
                return found
            if found is None:
                break
            load = functools.partial(self.here.load_small, blob, size, found)
            data = await trio.to_thread.run_sync(load, limiter=self._disk)
            if data is not None:
                self.counters.hits += 1
                return memoryview(data)
        self.counters.misses += 1
        flight = self._waiting.transfers().small(blob, size, ahead)
        return memoryview(await self._waiting.arrival(flight, started_s))

    async def fetch_small(self, blobs: Sequence[tuple[ObjectHash, int]]) -> int:
        """Fetch small blobs, whether they are here or not; return how many bytes came.

        They are on disk when this returns, if there is room for them.
        """
        transfers = self._waiting.transfers()
        started_s = time.monotonic()
        flights = [transfers.small(blob, size, again=True) for blob, size in blobs if size]
        size = 0
        for flight in flights:
            size += len(await self._waiting.arrival(flight, started_s))
        await self._waiting.kept([(blob, size, WHOLE) for blob, size in blobs])
        return size

    # Large blobs.

    async def range(self, blob: ObjectHash, place: BlobPlace, offset: int, end: int) -> memoryview:
        """Return bytes of a large blob; they may lie in a buffer that the next read reuses."""
        size = place.size
        self.wholes.check_bad(blob, size)
        started_s = time.monotonic()
        first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        arrived: dict[int, Data] = {}
        hit = True
        for _ in range(_TURNS):
            try:
                found = self.here.range(blob, size, offset, end, arrived)
            except BlockingIOError:
                load = functools.partial(
                    self.here.load_range, blob, size, offset, end, dict(arrived)
                )
                view = await trio.to_thread.run_sync(load, limiter=self._disk)
                if view is not None:
                    self._count(hit)
                    return view
                continue
            if isinstance(found, memoryview):
                self._count(hit)
                return found
            hit = False
            if not found:
                # Damaged, and dropped: look again.
                continue
            flights = self._waiting.transfers().chunks(blob, place, found)
            for number in range(first, last + 1):
                if number in flights:
                    arrived[number] = await self._waiting.arrival(flights[number], started_s)
        raise IntegrityError(f"blob {hash_text(blob)} cannot be kept together in the cache")

    def range_ahead(
        self, blob: ObjectHash, place: BlobPlace, first: int, stop: int, part_bytes: int
    ) -> None:
        """Let chunks come that a reader is about to ask for."""
        if self.transfers is None or self._breaker.is_open:
            return
        missing = self.here.chunks_missing(blob, place.size, first, stop)
        if missing:
            self.transfers.chunks(blob, place, missing, part_bytes, ahead=True)

    async def whole(self, blob: ObjectHash, place: BlobPlace) -> None:
        """Have all of a large blob in the cache, its hash checked.

        Raises:
            IntegrityError: the remote has other bytes, twice.
            OxenfsError: the cache cannot hold it.
        """
        size = place.size
        if self.wholes.is_checked(self.here.large_key(blob, size), size):
            return
        lock = self._checking.setdefault((blob, size), trio.Lock())
        async with lock:
            for _ in range(_TURNS):
                self.wholes.check_bad(blob, size)
                await self.fetch_all(blob, place)
                check = functools.partial(
                    self.wholes.check, blob, size, self.here.large_key(blob, size)
                )
                if await trio.to_thread.run_sync(check, limiter=self._disk):
                    self._checking.pop((blob, size), None)
                    return
                # What came last may not be on disk yet.
                await trio.sleep(_LATE_S)
        self.wholes.check_bad(blob, size)
        raise OxenfsError(
            f"a file of {size} bytes does not fit into the cache, so it cannot be checked as a "
            "whole; mount with a larger --cache-size, or without --verify full"
        )

    async def fetch_all(
        self, blob: ObjectHash, place: BlobPlace, progress: Callable[[int], None] | None = None
    ) -> int:
        """Fetch what is missing of a large blob, some requests at a time; return how many bytes.

        Args:
            blob: the hash.
            place: a file that has it.
            progress: called with the number of bytes that were here, or came.
        """
        fetched = 0
        count = -(-place.size // CHUNK_BYTES)
        for first in range(0, count, _STEP_CHUNKS):
            stop = min(first + _STEP_CHUNKS, count)
            missing = self.here.chunks_missing(blob, place.size, first, stop)
            if missing:
                flights = self._waiting.transfers().chunks(blob, place, missing, again=True)
                for flight in flights.values():
                    fetched += len(await self._waiting.arrival(flight, time.monotonic()))
                await self._waiting.kept([(blob, place.size, number) for number in missing])
            if progress is not None:
                progress(min(stop * CHUNK_BYTES, place.size) - first * CHUNK_BYTES)
        return fetched

    # Both.

    def _count(self, hit: bool) -> None:
        if hit:
            self.counters.hits += 1
        else:
            self.counters.misses += 1

    def _keep(self, arrived: Sequence[tuple[FlightKey, Data]]) -> None:
        """Put what came on disk; in a worker, when readers have it already."""
        larges = self.here.keep(arrived)
        if self.transfers is None:
            return
        for (blob, size), prefix in larges.items():
            if self.wholes.is_due(blob, size, prefix):
                self.transfers.chore(functools.partial(self.wholes.check, blob, size, prefix))

    def _forget(self, blob: ObjectHash, size: int) -> None:
        """Drop a large blob from memory, in any thread: it turned out to be wrong."""
        self.counters.mismatched += 1
        if self.transfers is not None:
            count = -(-size // CHUNK_BYTES)
            self.transfers.forget([(blob, size, number) for number in range(count)])
