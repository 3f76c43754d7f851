"""Fetches bytes from a remote in threads: in batches and ranges, what is waited for first.

Threads, not the event loop, and not one per request: a few workers take the next job when they are
free. Small blobs that are missed while all are busy so go out together, and what is read ahead
fills their batches up. Nothing here waits for a reader; readers wait for flights.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import trio

from oxenfs.errors import (
    AccessDenied,
    Busy,
    IntegrityError,
    NotFound,
    OxenfsError,
    RemoteUnavailable,
    StaleRevision,
)
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.base import BlobPlace, BlobsMissing, BlobSource
from oxenfs.remote.breaker import Breaker
from oxenfs.store.counters import Counters
from oxenfs.store.flights import WHOLE, Data, Flight, FlightKey, Recent

log = logging.getLogger(__name__)

BATCHES = 8
RANGES = 8
BATCH_BYTES = 1 << 20
BATCH_FILES = 200
AHEAD_BYTES_MAX = 64 << 20
"""Bytes read ahead that may be under way or queued, of all files together."""

_AHEAD_WORKERS = 4
_AHEAD_FILES_MIN = 64
# Twice what is fetched ahead of a reader: a chunk is there until it is read.
_RECENT_BYTES = 48 << 20
_IDLE_S = 10.0
_CLOSE_S = 5.0
_FIRST_WAIT_S = 0.2
_WAIT_MAX_S = 2.0
_STRIKES = 2
_DENIED_S = 5.0
_DENIED_KEPT = 10_000
_KEEP_CHUNKS = 4
_PART_CHUNKS = 16

Keep = Callable[[Sequence[tuple[FlightKey, Data]]], None]
"""Puts what came on disk; called in a worker, after readers have it."""

Told = Callable[[Sequence[tuple[int, Data]]], None]
"""Is told of small blobs that came and that nobody waited for, by tag; called in a worker."""

Ahead = tuple[ObjectHash, int, int]
"""A small blob to be read ahead: hash, size, tag (0: none)."""

Job = Callable[[], object]


class Transfers:
    """All transfers of one mount. Its methods do not block; safe to use from several threads.

    Attributes:
        recent: the last bytes that came; to be changed under `lock`.
        on_ahead: is told of what came ahead; None: nobody is.
    """

    def __init__(
        self,
        source: BlobSource,
        breaker: Breaker,
        counters: Counters,
        keep: Keep,
        timeout_s: float,
    ) -> None:
        """Fetch from `source`; no thread is started before it is needed."""
        self._source = source
        self._breaker = breaker
        self._counters = counters
        self._keep = keep
        self._timeout_s = timeout_s
        self.lock = threading.Lock()
        self.recent = Recent(_RECENT_BYTES)
        self.on_ahead: Told | None = None
        self._more = threading.Condition(self.lock)
        self._flights: dict[FlightKey, Flight] = {}
        self._small: deque[Flight] = deque()
        self._small_ahead: deque[Flight] = deque()
        self._parts: deque[list[Flight]] = deque()
        self._parts_ahead: deque[list[Flight]] = deque()
        self._chores: deque[Job] = deque()
        self._ahead_bytes = 0
        self._batches = self._ranges = self._chores_running = 0
        self._idle = 0
        self._is_coming = False
        self._keeping: set[FlightKey] = set()
        self._workers: set[threading.Thread] = set()
        self._denied: dict[FlightKey, tuple[Exception | None, float]] = {}
        self._closed = False
        self._token: trio.lowlevel.TrioToken | None = None
        breaker.on_trip.append(self._tripped)
        breaker.on_close.append(self._go_on)

    @property
    def in_flight(self) -> int:
        """How many small blobs and chunks are queued or under way."""
        return len(self._flights)

    def small(
        self,
        blob: ObjectHash,
        size: int,
        ahead: Sequence[Ahead] = (),
        *,
        again: bool = False,
    ) -> Flight | Data:
        """Return a small blob, if it came just now, or its flight.

        Args:
            blob: the hash.
            size: what the tree says it has.
            ahead: others, to come with it if there is room.
            again: fetch it even if it is in memory.
        """
        key = (blob, size, WHOLE)
        with self.lock:
            if again:
                self.recent.drop(key)
            found = self._known(key, ahead=False)
            # Before somebody is woken: all of it is to go out in one request.
            self._queue_ahead(ahead)
            if found is None:
                found = self._new(key, None, ahead=False)
                if not found.is_over:
                    self._small.append(found)
                    self._wake_one()
        return found

    def small_ahead(self, blobs: Sequence[Ahead]) -> None:
        """Let small blobs come that nobody waits for yet."""
        with self.lock:
            self._queue_ahead(blobs)
            if blobs and self._may_batch_ahead():
                self._wake_one()

    def has(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a small blob came just now, or is about to."""
        key = (blob, size, WHOLE)
        return key in self.recent or key in self._flights

    def chunks(
        self,
        blob: ObjectHash,
        place: BlobPlace,
        numbers: Sequence[int],
        part_bytes: int = CHUNK_BYTES * _PART_CHUNKS,
        *,
        ahead: bool = False,
        again: bool = False,
    ) -> dict[int, Flight | Data]:
        """Return chunks of a large blob, or their flights; neighbours go out in one request."""
        found: dict[int, Flight | Data] = {}
        part: list[Flight] = []
        limit = max(1, min(part_bytes // CHUNK_BYTES, _PART_CHUNKS))
        with self.lock:
            for number in numbers:
                key = (blob, place.size, number)
                if again:
                    self.recent.drop(key)
                known = self._known(key, ahead)
                if known is not None:
                    found[number] = known
                    continue
                if part and (part[-1].key[2] != number - 1 or len(part) >= limit):
                    self._add_part(part, ahead)
                    part = []
                flight = found[number] = self._new(key, place, ahead)
                if not flight.is_over:
                    part.append(flight)
            if part:
                self._add_part(part, ahead)
        return found

    def is_keeping(self, keys: Iterable[FlightKey]) -> bool:
        """Return whether any of these bytes came and are on their way to the disk."""
        with self.lock:
            return any(key in self._keeping for key in keys)

    def room_ahead(self) -> int:
        """Return how many bytes more may be read ahead now."""
        return AHEAD_BYTES_MAX - self._ahead_bytes

    def chore(self, job: Job) -> None:
        """Run something beside, when a worker has nothing better to do."""
        with self.lock:
            self._chores.append(job)
            self._wake()

    async def wait(self, flight: Flight) -> Data:
        """Return the bytes of a flight when they have come; cancelling it harms nobody else."""
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        with self.lock:
            if not flight.is_over:
                event = trio.Event()
                flight.events.append(event)
                flight.waiting += 1
            else:
                event = None
        if event is not None:
            try:
                await event.wait()
            finally:
                with self.lock:
                    flight.waiting -= 1
                    if not flight.is_over and event in flight.events:
                        flight.events.remove(event)
        if flight.error is not None:
            raise flight.error
        assert flight.data is not None
        return flight.data

    def forget(self, keys: Sequence[FlightKey]) -> None:
        """Drop bytes from memory: they turned out to be wrong."""
        with self.lock:
            for key in keys:
                self.recent.drop(key)

    def close(self) -> None:
        """Fail everything that is under way and end the workers. Blocks up to some seconds."""
        with self.lock:
            self._closed = True
            self._fail_all(RemoteUnavailable("the mount is being stopped"))
            self._chores.clear()
            self._more.notify_all()
            workers = list(self._workers)
        self._source.abort()
        until = time.monotonic() + _CLOSE_S
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
        with self.lock:
            self.recent.clear()

    # Under the lock.

    def _known(self, key: FlightKey, ahead: bool) -> Flight | Data | None:
        data = self.recent.get(key)
        if data is not None:
            return data
        flight = self._flights.get(key)
        if flight is not None and not ahead and not flight.asked:
            self._hurry(flight)
        return flight

    def _hurry(self, flight: Flight) -> None:
        """Let a flight that was only read ahead go before others, as somebody wants it now."""
        flight.asked = True
        self._ahead_bytes -= _length(flight)
        flight.deadline_s = time.monotonic() + self._timeout_s
        if flight.started:
            return
        if flight.key[2] == WHOLE:
            with contextlib.suppress(ValueError):
                self._small_ahead.remove(flight)
                self._small.append(flight)
        else:
            for part in self._parts_ahead:
                if flight in part:
                    self._parts_ahead.remove(part)
                    self._parts.append(part)
                    break
        self._wake()

    def _queue_ahead(self, blobs: Sequence[Ahead]) -> None:
        for blob, size, tag in blobs:
            key = (blob, size, WHOLE)
            if self._known(key, ahead=True) is None:
                flight = self._new(key, None, ahead=True)
                flight.tag = tag
                if not flight.is_over:
                    self._small_ahead.append(flight)

    def _may_batch_ahead(self) -> bool:
        # A few of them wait for company: whatever batch goes out next has room for them.
        return self._batches < _AHEAD_WORKERS and (
            not self._batches or len(self._small_ahead) >= _AHEAD_FILES_MIN
        )

    def _new(self, key: FlightKey, place: BlobPlace | None, ahead: bool) -> Flight:
        flight = Flight(key, place, time.monotonic() + self._timeout_s, asked=not ahead)
        if self._closed:
            flight.error = RemoteUnavailable("the mount is being stopped")
        elif key in self._denied:
            flight.error, until_s = self._denied[key]
            if time.monotonic() > until_s:
                del self._denied[key]
                flight.error = None
        if flight.error is not None:
            return flight
        self._flights[key] = flight
        if ahead:
            self._ahead_bytes += _length(flight)
            self._counters.bytes_ahead += _length(flight)
        return flight

    def _add_part(self, part: list[Flight], ahead: bool) -> None:
        (self._parts_ahead if ahead else self._parts).append(part)
        self._wake()

    def _wake(self) -> None:
        if self._closed:
            return
        if self._idle:
            self._more.notify()
        elif len(self._workers) < BATCHES + RANGES:
            worker = threading.Thread(target=self._work, daemon=True, name="fetch")
            self._workers.add(worker)
            worker.start()

    def _wake_one(self) -> None:
        """Wake a worker for small blobs, unless one is on its way that will take them as well."""
        if not self._is_coming:
            self._is_coming = True
            self._wake()

    def _next(self) -> tuple[str, Job] | None:
        """Return the next job and its kind; None if there is none now."""
        if self._breaker.is_open and (self._small or self._parts) and not self._breaker.may_ask():
            # Somebody else tries; whoever waits here learns from it.
            return None
        if self._parts and self._ranges < RANGES:
            return "range", self._range_job(self._parts.popleft())
        if self._small and self._batches < BATCHES:
            return "batch", self._batch_job(self._take_small())
        if self._breaker.is_open:
            return None
        if self._parts_ahead and self._ranges < _AHEAD_WORKERS:
            return "range", self._range_job(self._parts_ahead.popleft())
        if self._small_ahead and self._may_batch_ahead():
            return "batch", self._batch_job(self._take_small())
        if self._chores and not self._chores_running:
            return "chore", self._chores.popleft()
        return None

    def _take_small(self) -> list[Flight]:
        """Take a batch: what is asked for first, filled up with what is read ahead."""
        taken: list[Flight] = []
        size = 0
        for queue in (self._small, self._small_ahead):
            if queue is self._small_ahead and self._breaker.is_open:
                break
            while queue and len(taken) < BATCH_FILES and (not taken or size < BATCH_BYTES):
                flight = queue.popleft()
                if not flight.is_over and not self._is_forgotten(flight):
                    flight.started = True
                    size += flight.size
                    taken.append(flight)
        return taken

    def _batch_job(self, flights: list[Flight]) -> Job:
        return lambda: self._fetch(flights, self._one_batch)

    def _range_job(self, flights: list[Flight]) -> Job:
        flights = [
            flight for flight in flights if not flight.is_over and not self._is_forgotten(flight)
        ]
        for flight in flights:
            flight.started = True
        return lambda: self._fetch(flights, self._one_range)

    def _is_forgotten(self, flight: Flight) -> bool:
        """Return whether nobody waits any more for what was asked for; end it then."""
        if flight.asked and not flight.waiting and time.monotonic() > flight.deadline_s:
            flight.error = RemoteUnavailable("nobody waited for it any more")
            self._end(flight)
            return True
        return False

    def _end(self, flight: Flight) -> list[trio.Event]:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            if not flight.asked:
                self._ahead_bytes -= _length(flight)
        events, flight.events = flight.events, []
        return events

    def _fail_all(self, error: Exception) -> None:
        events: list[trio.Event] = []
        for flight in list(self._flights.values()):
            flight.error = error
            events += self._end(flight)
        for queue in (self._small, self._small_ahead, self._parts, self._parts_ahead):
            queue.clear()
        self._tell(events)

    def _tell(self, events: list[trio.Event]) -> None:
        if not events or self._token is None:
            return

        def tell() -> None:
            for event in events:
                event.set()

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(tell)

    # In the workers.

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self.lock:
                job = None
                while not self._closed:
                    self._is_coming = False
                    job = self._next()
                    if job is not None:
                        if self._small or self._parts:
                            self._wake()
                        break
                    self._idle += 1
                    woken = self._more.wait(_IDLE_S)
                    self._idle -= 1
                    if not woken and not (self._small or self._parts):
                        break
                if job is None:
                    self._workers.discard(me)
                    return
                kind, call = job
                self._count(kind, 1)
            try:
                call()
            except Exception:
                log.exception("a transfer failed; this is a bug in oxenfs")
            finally:
                with self.lock:
                    self._count(kind, -1)

    def _count(self, kind: str, change: int) -> None:
        if kind == "batch":
            self._batches += change
        elif kind == "range":
            self._ranges += change
        else:
            self._chores_running += change

    def _fetch(self, flights: list[Flight], once: Callable[[list[Flight]], None]) -> None:
        """Fetch until all have come or failed, with pauses where that may help."""
        try:
            self._insist(flights, once)
        except Exception as exc:
            # A mistake of ours is told to whoever waits, too.
            self._fail(flights, exc)
            raise
        finally:
            self._fail(flights, RemoteUnavailable("nothing came"))

    def _insist(self, flights: list[Flight], once: Callable[[list[Flight]], None]) -> None:
        pause_s = _FIRST_WAIT_S
        started_s = time.monotonic()
        while True:
            left = [flight for flight in flights if not flight.is_over]
            if not left or self._closed:
                return
            try:
                once(left)
                self._breaker.answered()
            except BlobsMissing as exc:
                self._breaker.answered()
                lost = [flight for flight in left if flight.key[0] in exc.hashes]
                self._fail(lost or left, _lost(exc))
            except IntegrityError as exc:
                self._breaker.answered()
                self._strike(left, exc)
            except NotFound as exc:
                self._breaker.answered()
                # Not `NotFound`: the file is there, its bytes are lost.
                self._fail(left, _lost(exc))
            except RemoteUnavailable as exc:
                wait_s = pause_s * (1 + random.random() / 2)
                if isinstance(exc, Busy):
                    self._breaker.answered()
                    wait_s = max(wait_s, exc.retry_after_s)
                pause_s = min(2 * pause_s, _WAIT_MAX_S)
                asked = [flight for flight in left if flight.asked]
                self._fail([flight for flight in left if not flight.asked], exc)
                now_s = time.monotonic()
                if not asked:
                    self._breaker.gave_up()
                    return
                late = self._breaker.is_open or now_s + wait_s > max(
                    flight.deadline_s for flight in asked
                )
                if late:
                    if not isinstance(exc, Busy):
                        self._breaker.missed(started_s, str(exc))
                    self._fail(asked, exc)
                    return
                self._counters.retries += 1
                self._sleep(wait_s)
            except OxenfsError as exc:
                # Refused: 401, 403, an answer that is none. Asking again changes nothing.
                self._breaker.answered()
                if isinstance(exc, AccessDenied):
                    self._deny(left, exc)
                self._fail(left, exc)

    def _one_batch(self, flights: list[Flight]) -> None:
        wanted = {flight.key[0]: flight for flight in flights}
        arrived: list[tuple[FlightKey, Data]] = []
        try:
            for group in self._source.batch(list(wanted), self._attempt_s()):
                right: list[tuple[Flight, Data]] = []
                for blob, data in group:
                    flight = wanted[blob]
                    if len(data) == flight.size:
                        right.append((flight, data))
                    else:
                        self._fail([flight], _wrong_size(blob, len(data), flight.size))
                self._arrive(right)
                self._tell_ahead(right)
                arrived += [(flight.key, data) for flight, data in right]
        finally:
            self._kept(arrived)

    def _one_range(self, flights: list[Flight]) -> None:
        for run in _runs(flights):
            place = run[0].place
            assert place is not None
            parts = [bytearray(_length(flight)) for flight in run]
            offset = run[0].key[2] * CHUNK_BYTES
            arrived: list[tuple[FlightKey, Data]] = []
            try:
                views = [memoryview(part) for part in parts]
                for number in self._source.range_into(place, offset, views, self._attempt_s()):
                    self._arrive([(run[number], parts[number])])
                    arrived.append((run[number].key, parts[number]))
                    if len(arrived) >= _KEEP_CHUNKS:
                        arrived, full = [], arrived
                        self._kept(full)
            finally:
                self._kept(arrived)

    def _tell_ahead(self, came: Sequence[tuple[Flight, Data]]) -> None:
        if self.on_ahead is not None:
            unasked = [
                (flight.tag, data) for flight, data in came if flight.tag and not flight.asked
            ]
            if unasked:
                self.on_ahead(unasked)

    def _kept(self, arrived: list[tuple[FlightKey, Data]]) -> None:
        if not arrived:
            return
        try:
            self._keep(arrived)
        finally:
            with self.lock:
                self._keeping.difference_update(key for key, _ in arrived)

    def _attempt_s(self) -> float:
        # One connection that hangs must leave time for another try.
        return self._timeout_s / 2

    def _arrive(self, came: Sequence[tuple[Flight, Data]]) -> None:
        events: list[trio.Event] = []
        with self.lock:
            for flight, data in came:
                # Counted here: whoever has the bytes may at once ask whether they are on disk.
                self._keeping.add(flight.key)
                if not flight.is_over:
                    flight.data = data
                    self.recent.put(flight.key, data)
                    events += self._end(flight)
            self._tell(events)
        if self._breaker.is_open:
            self._breaker.answered()

    def _fail(self, flights: Sequence[Flight], error: Exception) -> None:
        events: list[trio.Event] = []
        with self.lock:
            for flight in flights:
                if not flight.is_over:
                    flight.error = error
                    events += self._end(flight)
            self._tell(events)

    def _strike(self, flights: list[Flight], exc: IntegrityError) -> None:
        """Count a damaged answer against the first that did not come: once may be the way."""
        self._fail([flight for flight in flights if not flight.asked], exc)
        first = next((flight for flight in flights if not flight.is_over), None)
        if first is None:
            return
        first.strikes += 1
        if first.strikes >= _STRIKES:
            self._fail([first], exc)
        else:
            self._counters.retries += 1

    def _deny(self, flights: list[Flight], exc: Exception) -> None:
        """Let who asks again soon be refused without asking: that would be hammering."""
        with self.lock:
            if len(self._denied) > _DENIED_KEPT:
                self._denied.clear()
            until_s = time.monotonic() + _DENIED_S
            self._denied.update({flight.key: (exc, until_s) for flight in flights})

    def _sleep(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._closed and not self._breaker.is_open:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, 0.1))

    def _tripped(self) -> None:
        with self.lock:
            if not self._closed:
                self._fail_all(self._breaker.refusal())
        # Whoever hangs in a dead connection would hold a worker until its own timeout.
        self._source.abort()

    def _go_on(self) -> None:
        with self.lock:
            self._more.notify_all()
            self._wake()


def _length(flight: Flight) -> int:
    _, size, number = flight.key
    return size if number == WHOLE else min(CHUNK_BYTES, size - number * CHUNK_BYTES)


def _runs(flights: list[Flight]) -> Iterator[list[Flight]]:
    """Yield flights of neighbouring chunks together."""
    run: list[Flight] = []
    for flight in flights:
        if run and run[-1].key[2] != flight.key[2] - 1:
            yield run
            run = []
        run.append(flight)
    if run:
        yield run


def _lost(exc: Exception) -> StaleRevision:
    return StaleRevision(
        f"the remote does not have these bytes any more (was the commit pruned?): {exc}"
    )


def _wrong_size(blob: ObjectHash, size: int, wanted: int) -> IntegrityError:
    return IntegrityError(f"blob {hash_text(blob)} has {size} bytes, the tree says {wanted}")
