"""Fetches the flights of one request, again and again while that may help. Runs in a worker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

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
from oxenfs.remote.base import BlobsMissing, BlobSource
from oxenfs.remote.breaker import Breaker
from oxenfs.store.arrivals import Arrivals
from oxenfs.store.counters import Counters
from oxenfs.store.flights import Data, Flight, FlightKey
from oxenfs.store.others import Others
from oxenfs.store.queued import Queued, length, runs

_FIRST_WAIT_S = 0.2
_WAIT_MAX_S = 2.0
_STRIKES = 2
_KEEP_CHUNKS = 4

_Once = Callable[[list[Flight]], None]


class Attempts:
    """How bytes are fetched from one source. Safe to use from several threads."""

    def __init__(
        self,
        source: BlobSource,
        breaker: Breaker,
        counters: Counters,
        timeout_s: float,
        lock: threading.Lock,
        queued: Queued,
        arrivals: Arrivals,
        others: Others,
    ) -> None:
        """Fetch from `source` what is not left to `others`; ends of flights go to `arrivals`."""
        self._source = source
        self._breaker = breaker
        self._counters = counters
        self._timeout_s = timeout_s
        self._lock = lock
        self._queued = queued
        self._arrivals = arrivals
        self._others = others

    def batch(self, flights: list[Flight]) -> None:
        """Fetch small blobs by one request, until all have come or failed."""
        self._fetch(flights, self._one_batch)

    def part(self, flights: list[Flight]) -> None:
        """Fetch chunks of a large blob, a request for each run of them."""
        self._fetch(flights, self._one_part)

    def _fetch(self, flights: list[Flight], once: _Once) -> None:
        mine: list[Flight] = []
        try:
            mine = self._others.mine(flights)
            if mine:
                self._insist(mine, once)
            else:
                self._breaker.gave_up()
        except Exception as exc:
            # A mistake of ours is told to whoever waits, too.
            self._arrivals.fail(flights, exc)
            raise
        finally:
            # After the end of the last try: what came is on disk.
            self._others.release(mine)
            self._arrivals.fail(mine, RemoteUnavailable("nothing came"))

    def _insist(self, flights: list[Flight], once: _Once) -> None:
        pause_s = _FIRST_WAIT_S
        started_s = time.monotonic()
        fail = self._arrivals.fail
        while True:
            left = [flight for flight in flights if not flight.is_over]
            if not left or self._queued.closed:
                return
            try:
                once(left)
                self._breaker.answered()
            except BlobsMissing as exc:
                self._breaker.answered()
                lost = [flight for flight in left if flight.key[0] in exc.hashes]
                fail(lost or left, _lost(exc))
            except IntegrityError as exc:
                self._breaker.answered()
                self._strike(left, exc)
            except NotFound as exc:
                self._breaker.answered()
                # Not `NotFound`: the file is there, its bytes are lost.
                fail(left, _lost(exc))
            except RemoteUnavailable as exc:
                wait_s = pause_s * (1 + random.random() / 2)
                if isinstance(exc, Busy):
                    self._breaker.answered()
                    wait_s = max(wait_s, exc.retry_after_s)
                pause_s = min(2 * pause_s, _WAIT_MAX_S)
                asked = [flight for flight in left if flight.asked]
                fail([flight for flight in left if not flight.asked], exc)
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
                    fail(asked, exc)
                    return
                self._counters.retries += 1
                self._sleep(wait_s)
            except OxenfsError as exc:
                # Refused: 401, 403, an answer that is none. Asking again changes nothing.
                self._breaker.answered()
                if isinstance(exc, AccessDenied):
                    with self._lock:
                        self._queued.deny(left, exc)
                fail(left, exc)

    def _one_batch(self, flights: list[Flight]) -> None:
        wanted = {flight.key[0]: flight for flight in flights}
        arrived: list[tuple[FlightKey, Data]] = []
        try:
            for group in self._source.batch(list(wanted), self._attempt_s):
                right: list[tuple[Flight, Data]] = []
                for blob, data in group:
                    flight = wanted[blob]
                    if len(data) == flight.size:
                        right.append((flight, data))
                    else:
                        self._arrivals.fail([flight], _wrong_size(blob, len(data), flight.size))
                self._arrive(right)
                self._arrivals.tell_ahead(right)
                arrived += [(flight.key, data) for flight, data in right]
        finally:
            self._arrivals.keep(arrived)

    def _one_part(self, flights: list[Flight]) -> None:
        for run in runs(flights):
            place = run[0].place
            assert place is not None
            parts = [bytearray(length(flight)) for flight in run]
            offset = run[0].key[2] * CHUNK_BYTES
            arrived: list[tuple[FlightKey, Data]] = []
            try:
                views = [memoryview(part) for part in parts]
                for number in self._source.range_into(place, offset, views, self._attempt_s):
                    self._arrive([(run[number], parts[number])])
                    arrived.append((run[number].key, parts[number]))
                    if len(arrived) >= _KEEP_CHUNKS:
                        arrived, full = [], arrived
                        self._arrivals.keep(full)
            finally:
                self._arrivals.keep(arrived)

    def _arrive(self, came: list[tuple[Flight, Data]]) -> None:
        self._arrivals.arrive(came)
        if self._breaker.is_open:
            self._breaker.answered()

    @property
    def _attempt_s(self) -> float:
        # One connection that hangs must leave time for another try.
        return self._timeout_s / 2

    def _strike(self, flights: list[Flight], exc: IntegrityError) -> None:
        """Count a damaged answer against the first that did not come: once may be the way."""
        self._arrivals.fail([flight for flight in flights if not flight.asked], exc)
        first = next((flight for flight in flights if not flight.is_over), None)
        if first is None:
            return
        first.strikes += 1
        if first.strikes >= _STRIKES:
            self._arrivals.fail([first], exc)
        else:
            self._counters.retries += 1

    def _sleep(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._queued.closed and not self._breaker.is_open:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, 0.1))


def _lost(exc: Exception) -> StaleRevision:
    return StaleRevision(
        f"the remote does not have these bytes any more (was the commit pruned?): {exc}"
    )


def _wrong_size(blob: ObjectHash, size: int, wanted: int) -> IntegrityError:
    return IntegrityError(f"blob {hash_text(blob)} has {size} bytes, the tree says {wanted}")
