"""Blobs of a remote that is elsewhere: from memory, the disk cache, or a transfer.

A blob up to 1 MiB is fetched whole and by hash, and was checked before its first byte is served. Of
a larger one, chunks of 256 KiB are fetched by range. Their number of bytes is checked, their
contents cannot be, as servers give a hash of the whole only: that is checked as soon as all chunks
are here (`oxenfs.store.whole`), or before the first byte if the mount is to verify in full.

What memory and the page cache have is answered on the event loop, without an await.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence

import blake3
import trio

from oxenfs.errors import IntegrityError, OxenfsError, RemoteUnavailable
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.base import BlobPlace, BlobSource
from oxenfs.remote.breaker import Breaker
from oxenfs.remote.verify import chunk_digest, chunk_range
from oxenfs.store.buffers import Buffers
from oxenfs.store.cache import Cache
from oxenfs.store.cache_objects import Object, chunk_key, small_key
from oxenfs.store.cache_rows import CHUNKS, SMALL, Row
from oxenfs.store.counters import Counters
from oxenfs.store.flights import WHOLE, Data, Flight, FlightKey
from oxenfs.store.remote_readers import LargeReader, SmallReader, Tags
from oxenfs.store.siblings import SMALL_BYTES_MAX, Sibling, Siblings
from oxenfs.store.transfers import Ahead, Told, Transfers
from oxenfs.store.whole import Wholes

OPEN_WAIT_S = 0.9
"""How long a read waits while the remote is taken for dead and somebody else tries it."""

_DISK_READS = 16
_TURNS = 6
_STEP_CHUNKS = 64
_LATE_S = 0.05
_TOLD_MAX = 100_000


OFFLINE = "offline: these bytes are not in the cache (mount without --offline, or prefetch before)"


class RemoteBlobs:
    """All blobs of one remote. Used from one trio loop.

    Attributes:
        counters: what was done.
        cache: None where there is none: then only memory is used.
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
        self.timeout_s = timeout_s
        self.buffers = Buffers()
        self._source = source
        self._breaker = breaker or Breaker()
        self._host = blake3.blake3(host.encode()).digest(length=16)
        self._siblings = Siblings()
        self._disk = trio.CapacityLimiter(_DISK_READS)
        self.transfers: Transfers | None = None
        if source is not None:
            self.transfers = Transfers(source, self._breaker, self.counters, self._keep, timeout_s)
        self.wholes = Wholes(cache, self._forget)
        # Tags of what came ahead and was told, until somebody opens it.
        self._told: set[int] = set()
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

    def small_key(self, blob: ObjectHash) -> bytes:
        """Return the key of a small blob in the cache."""
        return small_key(self._host, blob)

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
            tags: of the rows of the sibling's folder, for `tell_ahead`.

        Raises:
            IntegrityError: the remote does not have it, or has other bytes.
            RemoteUnavailable: it did not come in time.
        """
        started_s = time.monotonic()
        ahead = [] if sibling is None else self._ahead_of(sibling, tags)
        for _ in range(_TURNS):
            found = self._small_now(blob, size)
            if found is not None and ahead:
                self._transfers().small_ahead(ahead)
                ahead = []
            if isinstance(found, memoryview):
                self.counters.hits += 1
                return found
            if found is None:
                break
            load = functools.partial(self._load_small, blob, size, found)
            data = await trio.to_thread.run_sync(load, limiter=self._disk)
            if data is not None:
                self.counters.hits += 1
                return memoryview(data)
        self.counters.misses += 1
        flight = self._transfers().small(blob, size, ahead)
        return memoryview(await self._arrival(flight, started_s))

    async def fetch_small(self, blobs: Sequence[tuple[ObjectHash, int]]) -> int:
        """Fetch small blobs, whether they are here or not; return how many bytes came.

        They are on disk when this returns, if there is room for them.
        """
        transfers = self._transfers()
        started_s = time.monotonic()
        flights = [transfers.small(blob, size, again=True) for blob, size in blobs if size]
        size = 0
        for flight in flights:
            size += len(await self._arrival(flight, started_s))
        await self._kept([(blob, size, WHOLE) for blob, size in blobs])
        return size

    def tell_ahead(self, told: Told) -> None:
        """Call `told`, in a worker, with small blobs that came before anybody asked for them.

        Those of which readers know tags (`SmallReader.tags`).
        """
        if self.transfers is not None:

            def note(came: Sequence[tuple[int, Data]]) -> None:
                if len(self._told) > _TOLD_MAX:
                    self._told.clear()
                # Before: it may be read as soon as it is told.
                self._told.update(tag for tag, _ in came)
                told(came)

            self.transfers.on_ahead = note

    def note_told(self, sibling: Sibling, tags: Tags) -> None:
        """Note that a file was closed without a read: whoever was told of it may have had it."""
        tag = tags(sibling.row)
        if tag in self._told:
            self._told.discard(tag)
            ahead = self._ahead_of(sibling, tags)
            if ahead:
                self._transfers().small_ahead(ahead)

    def _ahead_of(self, sibling: Sibling, tags: Tags | None) -> list[Ahead]:
        """Note the first read of a small file; return others of its folder that are to come."""
        transfers = self.transfers
        if transfers is None or self._breaker.is_open:
            return []
        found: list[Ahead] = []
        room = transfers.room_ahead()
        listing = sibling.listing
        tag = _no_tag if tags is None else tags

        def ahead(rows: list[int]) -> int:
            nonlocal room
            missing = self._missing(
                [(listing.hash(row), listing.sizes[row], tag(row)) for row in rows]
            )
            before = len(found)
            for each in missing:
                if each[1] <= room:
                    room -= each[1]
                    found.append(each)
            return len(found) - before

        self._siblings.read(sibling, ahead)
        return found

    def _missing(self, blobs: list[Ahead]) -> list[Ahead]:
        """Return which small blobs are neither kept nor on their way."""
        assert self.transfers is not None
        transfers = self.transfers
        wanted = [each for each in blobs if not transfers.has(each[0], each[1])]
        if self.cache is None or not wanted:
            return wanted
        keys = [self.small_key(blob) for blob, _, _ in wanted]
        here = self.cache.has_many(SMALL, keys)
        return [each for each, key in zip(wanted, keys, strict=True) if key not in here]

    def has_small(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a small blob is kept, in memory or on disk."""
        if size == 0:
            return True
        return self.cache is not None and self.cache.has(SMALL, self.small_key(blob))

    def _small_now(self, blob: ObjectHash, size: int) -> memoryview | Row | None:
        """Return a small blob; its row, if the disk must be waited for; None if it is not here."""
        if self.transfers is not None:
            data = self.transfers.recent.get((blob, size, WHOLE))
            if data is not None:
                return memoryview(data)
        held = self.buffers.holding((blob, size), 0, size)
        if held is not None:
            return held.view[:size]
        if self.cache is None:
            return None
        key = self.small_key(blob)
        row = self.cache.find(SMALL, key)
        if row is None or row.extent.length != size:
            return None
        buffer = self.buffers.take((blob, size), 0, size)
        try:
            if not self.cache.load(SMALL, key, row, buffer.view[:size], wait=False):
                return None
        except BlockingIOError:
            return row
        self.cache.ages.touch(key)
        buffer.key, buffer.start, buffer.stop = (blob, size), 0, size
        return buffer.view[:size]

    def _load_small(self, blob: ObjectHash, size: int, row: Row) -> bytearray | None:
        assert self.cache is not None
        data = bytearray(size)
        key = self.small_key(blob)
        if not self.cache.load(SMALL, key, row, memoryview(data), wait=True):
            return None
        self.cache.ages.touch(key)
        return data

    # Large blobs.

    def large_key(self, blob: ObjectHash, size: int) -> bytes:
        """Return the key of a large blob in the cache: that of a chunk without its number."""
        return chunk_key(self._host, blob, size, 0)[:-4]

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
                found = self._range_now(blob, size, offset, end, arrived)
            except BlockingIOError:
                load = functools.partial(self._load_range, blob, size, offset, end, dict(arrived))
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
            flights = self._transfers().chunks(blob, place, found)
            for number in range(first, last + 1):
                if number in flights:
                    arrived[number] = await self._arrival(flights[number], started_s)
        raise IntegrityError(f"blob {hash_text(blob)} cannot be kept together in the cache")

    def chunks_missing(self, blob: ObjectHash, size: int, first: int, stop: int) -> list[int]:
        """Return the numbers of the chunks from `first` up to `stop` that are not on disk."""
        if self.cache is None:
            return list(range(first, stop))
        rows = self.cache.find_chunks(self.large_key(blob, size), first, stop - first)
        return [first + at for at, row in enumerate(rows) if row is None]

    def is_missing(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a chunk of a large blob is not on disk."""
        here = 0 if self.cache is None else self.cache.large(self.large_key(blob, size)).here
        return here < -(-size // CHUNK_BYTES)

    def range_ahead(
        self, blob: ObjectHash, place: BlobPlace, first: int, stop: int, part_bytes: int
    ) -> None:
        """Let chunks come that a reader is about to ask for."""
        if self.transfers is None or self._breaker.is_open:
            return
        missing = self.chunks_missing(blob, place.size, first, stop)
        if missing:
            self.transfers.chunks(blob, place, missing, part_bytes, ahead=True)

    async def whole(self, blob: ObjectHash, place: BlobPlace) -> None:
        """Have all of a large blob in the cache, its hash checked.

        Raises:
            IntegrityError: the remote has other bytes, twice.
            OxenfsError: the cache cannot hold it.
        """
        size = place.size
        if self.wholes.is_checked(self.large_key(blob, size), size):
            return
        lock = self._checking.setdefault((blob, size), trio.Lock())
        async with lock:
            for _ in range(_TURNS):
                self.wholes.check_bad(blob, size)
                await self.fetch_all(blob, place)
                check = functools.partial(self.wholes.check, blob, size, self.large_key(blob, size))
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
            missing = self.chunks_missing(blob, place.size, first, stop)
            if missing:
                flights = self._transfers().chunks(blob, place, missing, again=True)
                for flight in flights.values():
                    fetched += len(await self._arrival(flight, time.monotonic()))
                await self._kept([(blob, place.size, number) for number in missing])
            if progress is not None:
                progress(min(stop * CHUNK_BYTES, place.size) - first * CHUNK_BYTES)
        return fetched

    def _range_now(
        self, blob: ObjectHash, size: int, offset: int, end: int, arrived: Mapping[int, Data]
    ) -> memoryview | list[int]:
        """Return the bytes, or the numbers of the chunks that are missing (none: look again).

        Raises:
            BlockingIOError: the disk must be waited for.
        """
        name = (blob, size, self.wholes.strikes(blob, size))
        held = self.buffers.holding(name, offset, end)
        if held is not None:
            return held.view[offset - held.start : end - held.start]
        start, stop = chunk_range(size, offset, end)
        first, count = start // CHUNK_BYTES, -(-(stop - start) // CHUNK_BYTES)
        here = self._in_memory(blob, size, first, count, arrived)
        if count == 1 and first in here:
            return memoryview(here[first])[offset - start : end - start]
        rows: list[Row | None] = [None] * count
        if len(here) < count and self.cache is not None:
            rows = self.cache.find_chunks(self.large_key(blob, size), first, count)
        missing = [first + at for at in range(count) if rows[at] is None and first + at not in here]
        if missing:
            return missing
        buffer = self.buffers.take(name, start, stop - start)
        if not self._compose(
            blob, size, start, buffer.view[: stop - start], here, rows, wait=False
        ):
            return []
        buffer.key, buffer.start, buffer.stop = name, start, stop
        return buffer.view[offset - start : end - start]

    def _load_range(
        self, blob: ObjectHash, size: int, offset: int, end: int, arrived: Mapping[int, Data]
    ) -> memoryview | None:
        """Do the same with waiting for the disk, in a thread; None if something is missing."""
        assert self.cache is not None
        start, stop = chunk_range(size, offset, end)
        first, count = start // CHUNK_BYTES, -(-(stop - start) // CHUNK_BYTES)
        here = self._in_memory(blob, size, first, count, arrived)
        rows = self.cache.find_chunks(self.large_key(blob, size), first, count)
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
        return not wanted or (self.cache is not None and self.cache.load_chunks(wanted, wait=wait))

    def _in_memory(
        self, blob: ObjectHash, size: int, first: int, count: int, arrived: Mapping[int, Data]
    ) -> dict[int, Data]:
        here = {
            number: arrived[number] for number in range(first, first + count) if number in arrived
        }
        if self.transfers is not None:
            for number in range(first, first + count):
                if number not in here:
                    data = self.transfers.recent.get((blob, size, number))
                    if data is not None:
                        here[number] = data
        return here

    # Both.

    def _count(self, hit: bool) -> None:
        if hit:
            self.counters.hits += 1
        else:
            self.counters.misses += 1

    def _transfers(self) -> Transfers:
        if self.transfers is None:
            raise RemoteUnavailable(OFFLINE)
        return self.transfers

    async def _kept(self, keys: Sequence[FlightKey]) -> None:
        """Wait until what readers have is on disk, too: that is a matter of milliseconds."""
        while True:
            if not self._transfers().is_keeping(keys):
                return
            await trio.sleep(_LATE_S / 10)

    async def _arrival(self, flight: Flight | Data, started_s: float) -> Data:
        """Return the bytes of a flight; raise `RemoteUnavailable` at the deadline of the read."""
        if not isinstance(flight, Flight):
            return flight
        taken_for_dead = self._breaker.is_open
        limit_s = OPEN_WAIT_S if taken_for_dead else started_s + self.timeout_s - time.monotonic()
        with trio.move_on_after(max(limit_s, 0)):
            return await self._transfers().wait(flight)
        if taken_for_dead:
            raise self._breaker.refusal()
        reason = f"no answer within {self.timeout_s:g} s"
        self._breaker.missed(started_s, reason)
        raise RemoteUnavailable(f"{reason}; it may come yet")

    def _keep(self, arrived: Sequence[tuple[FlightKey, Data]]) -> None:
        """Put what came on disk; in a worker, when readers have it already."""
        if self.cache is None:
            return
        objects = []
        larges: dict[tuple[ObjectHash, int], bytes] = {}
        for (blob, size, number), data in arrived:
            if number == WHOLE:
                objects.append(Object(SMALL, self.small_key(blob), data))
            else:
                prefix = larges.setdefault((blob, size), self.large_key(blob, size))
                key = prefix + number.to_bytes(4, "big")
                objects.append(Object(CHUNKS, key, data, chunk_digest(data)))
        if not self.cache.put_many(objects) or self.transfers is None:
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


def _no_tag(row: int) -> int:
    return 0
