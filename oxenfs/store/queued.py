"""What is wanted of a remote and has not come: flights, and the order in which they go out."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.remote.base import BlobPlace
from oxenfs.store.counters import Counters
from oxenfs.store.flights import WHOLE, Data, Flight, FlightKey, Recent

if TYPE_CHECKING:
    import trio

BATCH_BYTES = 1 << 20
BATCH_FILES = 200
# Half as much again as is fetched ahead of a reader: a chunk is there until it is read.
RECENT_BYTES = 48 << 20

_DENIED_S = 5.0
_DENIED_KEPT = 10_000

Ahead = tuple[ObjectHash, int, int]
"""A small blob to be read ahead: hash, size, tag (0: none)."""


class Queued:
    """All flights of one mount, and the queues of those that nobody fetches yet.

    Small blobs and parts of large ones (neighbouring chunks that go out in one request), each in
    two queues: what somebody waits for, and what is only read ahead. Used under one lock.

    Attributes:
        flights: those that have not ended.
        recent: the last bytes that came.
        small, small_ahead, parts, parts_ahead: the queues.
        ahead_bytes: read ahead, queued or under way, and not asked for.
        closed: whether nothing is taken any more.
        wake: called when a worker may have something to do.
    """

    def __init__(self, counters: Counters, timeout_s: float, wake: Callable[[], None]) -> None:
        """Begin without any; `wake` is called when a worker may have something to do."""
        self._counters = counters
        self._timeout_s = timeout_s
        self.wake = wake
        self.flights: dict[FlightKey, Flight] = {}
        self.recent = Recent(RECENT_BYTES)
        self.small: deque[Flight] = deque()
        self.small_ahead: deque[Flight] = deque()
        self.parts: deque[list[Flight]] = deque()
        self.parts_ahead: deque[list[Flight]] = deque()
        self.ahead_bytes = 0
        self.closed = False
        self._denied: dict[FlightKey, tuple[Exception | None, float]] = {}

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what nobody fetches yet."""
        return bool(self.small or self.parts)

    def known(self, key: FlightKey, *, ahead: bool) -> Flight | Data | None:
        """Return bytes that came just now, or their flight; one that was read ahead hurries."""
        data = self.recent.get(key)
        if data is not None:
            return data
        flight = self.flights.get(key)
        if flight is not None and not ahead and not flight.asked:
            self._hurry(flight)
        return flight

    def new(self, key: FlightKey, place: BlobPlace | None, *, ahead: bool) -> Flight:
        """Return a new flight, to be queued unless it is over: refused just now, or closed."""
        flight = Flight(key, place, time.monotonic() + self._timeout_s, asked=not ahead)
        if self.closed:
            flight.error = RemoteUnavailable("the mount is being stopped")
        elif key in self._denied:
            flight.error, until_s = self._denied[key]
            if time.monotonic() > until_s:
                del self._denied[key]
                flight.error = None
        if flight.error is not None:
            return flight
        self.flights[key] = flight
        if ahead:
            self.ahead_bytes += length(flight)
            self._counters.bytes_ahead += length(flight)
        return flight

    def add_ahead(self, blobs: Sequence[Ahead]) -> None:
        """Queue small blobs that nobody waits for."""
        for blob, size, tag in blobs:
            key = (blob, size, WHOLE)
            if self.known(key, ahead=True) is None:
                flight = self.new(key, None, ahead=True)
                flight.tag = tag
                if not flight.is_over:
                    self.small_ahead.append(flight)

    def add_part(self, part: list[Flight], *, ahead: bool) -> None:
        """Queue neighbouring chunks, to be fetched by one request."""
        (self.parts_ahead if ahead else self.parts).append(part)
        self.wake()

    def again(self, flights: Sequence[Flight]) -> None:
        """Queue flights once more that were taken, and that nobody fetches."""
        for flight in flights:
            flight.started = False
            if flight.key[2] == WHOLE:
                (self.small if flight.asked else self.small_ahead).append(flight)
        chunks = sorted((f for f in flights if f.key[2] != WHOLE), key=lambda flight: flight.key)
        for part in runs(chunks):
            self.add_part(part, ahead=not any(flight.asked for flight in part))
        self.wake()

    def take_small(self, *, ahead: bool) -> list[Flight]:
        """Take a batch: what is asked for first, filled up with what is read ahead if `ahead`."""
        taken: list[Flight] = []
        size = 0
        for queue in (self.small, self.small_ahead) if ahead else (self.small,):
            while queue and len(taken) < BATCH_FILES and (not taken or size < BATCH_BYTES):
                flight = queue.popleft()
                if not flight.is_over and not self._is_forgotten(flight):
                    flight.started = True
                    size += flight.size
                    taken.append(flight)
        return taken

    def take_part(self, *, ahead: bool) -> list[Flight]:
        """Take the chunks of the next part that are still wanted."""
        part = (self.parts_ahead if ahead else self.parts).popleft()
        part = [f for f in part if not f.is_over and not self._is_forgotten(f)]
        for flight in part:
            flight.started = True
        return part

    def end(self, flight: Flight) -> list[trio.Event]:
        """Forget a flight that is over; return what is to be set for those who wait."""
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
            if not flight.asked:
                self.ahead_bytes -= length(flight)
        events, flight.events = flight.events, []
        return events

    def fail_all(self, error: Exception) -> list[trio.Event]:
        """End all flights; return what is to be set for those who wait."""
        events: list[trio.Event] = []
        for flight in list(self.flights.values()):
            flight.error = error
            events += self.end(flight)
        for queue in (self.small, self.small_ahead, self.parts, self.parts_ahead):
            queue.clear()
        return events

    def deny(self, flights: Sequence[Flight], exc: Exception) -> None:
        """Let who asks again soon be refused without asking: that would be hammering."""
        if len(self._denied) > _DENIED_KEPT:
            self._denied.clear()
        until_s = time.monotonic() + _DENIED_S
        self._denied.update({flight.key: (exc, until_s) for flight in flights})

    def _hurry(self, flight: Flight) -> None:
        """Let a flight that was only read ahead go before others, as somebody wants it now."""
        flight.asked = True
        self.ahead_bytes -= length(flight)
        flight.deadline_s = time.monotonic() + self._timeout_s
        if flight.started:
            return
        if flight.key[2] == WHOLE:
            with contextlib.suppress(ValueError):
                self.small_ahead.remove(flight)
                self.small.append(flight)
        else:
            for part in self.parts_ahead:
                if flight in part:
                    self.parts_ahead.remove(part)
                    self.parts.append(part)
                    break
        self.wake()

    def _is_forgotten(self, flight: Flight) -> bool:
        """Return whether nobody waits any more for what was asked for; end it then."""
        if flight.asked and not flight.waiting and time.monotonic() > flight.deadline_s:
            flight.error = RemoteUnavailable("nobody waited for it any more")
            self.end(flight)
            return True
        return False


def runs(flights: Sequence[Flight]) -> Iterator[list[Flight]]:
    """Yield flights of neighbouring chunks together."""
    run: list[Flight] = []
    for flight in flights:
        if run and (run[-1].key[:2], run[-1].key[2] + 1) != (flight.key[:2], flight.key[2]):
            yield run
            run = []
        run.append(flight)
    if run:
        yield run


def length(flight: Flight) -> int:
    """Return how many bytes a flight brings."""
    _, size, number = flight.key
    return size if number == WHOLE else min(CHUNK_BYTES, size - number * CHUNK_BYTES)
