"""Fetches bytes from a remote in threads: in batches and ranges, what is waited for first.

Threads, not the event loop, and not one per request: a few workers take the next job when they are
free. Small blobs that are missed while all are busy so go out together, and what is read ahead
fills their batches up. Nothing here waits for a reader; readers wait for flights.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.remote.base import BlobPlace, BlobSource
from oxenfs.remote.breaker import Breaker
from oxenfs.store.arrivals import Arrivals, Keep, Told
from oxenfs.store.attempts import Attempts
from oxenfs.store.claims import Claims
from oxenfs.store.counters import Counters
from oxenfs.store.flights import WHOLE, Data, Flight, FlightKey
from oxenfs.store.others import Others
from oxenfs.store.queued import Ahead, Queued

log = logging.getLogger(__name__)

BATCHES = 8
RANGES = 10
AHEAD_BYTES_MAX = 64 << 20
"""Bytes read ahead that may be under way or queued, of all files together."""

_AHEAD_BATCHES = 4
_AHEAD_RANGES = 6
_AHEAD_FILES_MIN = 64
_IDLE_S = 10.0
_CLOSE_S = 5.0
_PART_CHUNKS = 16

Job = Callable[[], object]


class Transfers:
    """All transfers of one mount. Its methods do not block; safe to use from several threads.

    Attributes:
        lock: for everything that is shared with the workers.
        recent: the last bytes that came; to be changed under `lock`.
        wait: returns the bytes of a flight, see `Arrivals.wait`.
        is_keeping: whether bytes came and are on their way to the disk.
    """

    def __init__(
        self,
        source: BlobSource,
        breaker: Breaker,
        counters: Counters,
        keep: Keep,
        timeout_s: float,
        claims: Claims | None = None,
    ) -> None:
        """Fetch from `source`; no thread is started before it is needed."""
        self._source = source
        self._breaker = breaker
        self.lock = threading.Lock()
        self._more = threading.Condition(self.lock)
        self._queued = Queued(counters, timeout_s, self._wake)
        self._arrivals = Arrivals(self.lock, self._queued, keep)
        shared = (self.lock, self._queued, self._arrivals)
        self._others = Others(claims, *shared, timeout_s)
        self._attempts = Attempts(source, breaker, counters, timeout_s, *shared, self._others)
        self.recent = self._queued.recent
        self.wait = self._arrivals.wait
        self.is_keeping = self._arrivals.is_keeping
        self._chores: deque[Job] = deque()
        self._running = {"batch": 0, "range": 0, "chore": 0, "watch": 0}
        self._idle = 0
        self._is_coming = False
        self._workers: set[threading.Thread] = set()
        breaker.on_trip.append(self._tripped)
        breaker.on_close.append(self._go_on)

    @property
    def in_flight(self) -> int:
        """How many small blobs and chunks are queued or under way."""
        return len(self._queued.flights)

    def tell_ahead(self, told: Told) -> None:
        """Let `told` hear of small blobs that came and that nobody waited for."""
        self._arrivals.on_ahead = told

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
        queued = self._queued
        with self.lock:
            if again:
                self.recent.drop(key)
            found = queued.known(key, ahead=False)
            # Before somebody is woken: all of it is to go out in one request.
            queued.add_ahead(ahead)
            if found is None:
                found = queued.new(key, None, ahead=False)
                if not found.is_over:
                    queued.small.append(found)
                    self._wake_one()
        return found

    def small_ahead(self, blobs: Sequence[Ahead]) -> None:
        """Let small blobs come that nobody waits for yet."""
        with self.lock:
            self._queued.add_ahead(blobs)
            if blobs and self._may_batch_ahead():
                self._wake_one()

    def has(self, blob: ObjectHash, size: int) -> bool:
        """Return whether a small blob came just now, or is about to."""
        key = (blob, size, WHOLE)
        return key in self.recent or key in self._queued.flights

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
        queued = self._queued
        with self.lock:
            for number in numbers:
                key = (blob, place.size, number)
                if again:
                    self.recent.drop(key)
                known = queued.known(key, ahead=ahead)
                if known is not None:
                    found[number] = known
                    continue
                if part and (part[-1].key[2] != number - 1 or len(part) >= limit):
                    queued.add_part(part, ahead=ahead)
                    part = []
                flight = found[number] = queued.new(key, place, ahead=ahead)
                if not flight.is_over:
                    part.append(flight)
            if part:
                queued.add_part(part, ahead=ahead)
        return found

    def room_ahead(self) -> int:
        """Return how many bytes more may be read ahead now."""
        return AHEAD_BYTES_MAX - self._queued.ahead_bytes

    def chore(self, job: Job) -> None:
        """Run something beside, when a worker has nothing better to do."""
        with self.lock:
            self._chores.append(job)
            self._wake()

    def forget(self, keys: Iterable[FlightKey]) -> None:
        """Drop bytes from memory: they turned out to be wrong."""
        with self.lock:
            for key in keys:
                self.recent.drop(key)

    def close(self) -> None:
        """Fail everything that is under way and end the workers. Blocks up to some seconds."""
        with self.lock:
            self._queued.closed = True
            self._arrivals.fail_all(RemoteUnavailable("the mount is being stopped"))
            self._chores.clear()
            self._more.notify_all()
            workers = list(self._workers)
        self._source.abort()
        until = time.monotonic() + _CLOSE_S
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
        self._others.close()
        with self.lock:
            self.recent.clear()

    # Under the lock.

    def _may_batch_ahead(self) -> bool:
        # A few of them wait for company: whatever batch goes out next has room for them.
        batches = self._running["batch"]
        return batches < _AHEAD_BATCHES and (
            not batches or len(self._queued.small_ahead) >= _AHEAD_FILES_MIN
        )

    def _wake(self) -> None:
        if self._queued.closed:
            return
        if self._idle:
            self._more.notify()
        elif len(self._workers) < BATCHES + RANGES + 1:
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
        queued, attempts, running = self._queued, self._attempts, self._running
        is_open = self._breaker.is_open
        if self._others.is_waited_for and not running["watch"]:
            return "watch", self._others.watch
        if is_open and queued.urgent and not self._breaker.may_ask():
            # Somebody else tries; whoever waits here learns from it.
            return None
        if queued.parts and running["range"] < RANGES:
            return "range", functools.partial(attempts.part, queued.take_part(ahead=False))
        if queued.small and running["batch"] < BATCHES:
            return "batch", functools.partial(attempts.batch, queued.take_small(ahead=not is_open))
        if is_open:
            return None
        if queued.parts_ahead and running["range"] < _AHEAD_RANGES:
            return "range", functools.partial(attempts.part, queued.take_part(ahead=True))
        if queued.small_ahead and self._may_batch_ahead():
            return "batch", functools.partial(attempts.batch, queued.take_small(ahead=True))
        if self._chores and not running["chore"]:
            return "chore", self._chores.popleft()
        return None

    # In the workers.

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self.lock:
                job = None
                while not self._queued.closed:
                    self._is_coming = False
                    job = self._next()
                    if job is not None:
                        if self._queued.urgent:
                            self._wake()
                        break
                    self._idle += 1
                    woken = self._more.wait(_IDLE_S)
                    self._idle -= 1
                    if not woken and not self._queued.urgent:
                        break
                if job is None:
                    self._workers.discard(me)
                    return
                kind, call = job
                self._running[kind] += 1
            try:
                call()
            except Exception:
                log.exception("a transfer failed; this is a bug in oxenfs")
            finally:
                with self.lock:
                    self._running[kind] -= 1

    def _tripped(self) -> None:
        with self.lock:
            if not self._queued.closed:
                self._arrivals.fail_all(self._breaker.refusal())
        # Whoever hangs in a dead connection would hold a worker until its own timeout.
        self._source.abort()

    def _go_on(self) -> None:
        with self.lock:
            self._more.notify_all()
            self._wake()
