"""The ends of flights: readers on the loop hear of them, then the disk, then the kernel's cache."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence

import trio

from oxenfs.store.flights import Data, Flight, FlightKey
from oxenfs.store.queued import Queued

Keep = Callable[[Sequence[tuple[FlightKey, Data]]], None]
"""Puts what came on disk; called in a worker, after readers have it."""

Told = Callable[[Sequence[tuple[int, Data]]], None]
"""Is told of small blobs that came and that nobody waited for, by tag; called in a worker."""


class Arrivals:
    """Ends flights, from any thread. `wait` is for the loop.

    Attributes:
        on_ahead: is told of what came ahead; None: nobody is.
    """

    def __init__(self, lock: threading.Lock, queued: Queued, keep: Keep) -> None:
        """End those of `queued`, under `lock`."""
        self._lock = lock
        self._queued = queued
        self._keep = keep
        self._keeping: set[FlightKey] = set()
        self._token: trio.lowlevel.TrioToken | None = None
        self.on_ahead: Told | None = None

    async def wait(self, flight: Flight) -> Data:
        """Return the bytes of a flight when they have come; cancelling it harms nobody else."""
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        with self._lock:
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
                with self._lock:
                    flight.waiting -= 1
                    if not flight.is_over and event in flight.events:
                        flight.events.remove(event)
        if flight.error is not None:
            raise flight.error
        assert flight.data is not None
        return flight.data

    def arrive(self, came: Sequence[tuple[Flight, Data]]) -> None:
        """Let whoever waits have what came."""
        events: list[trio.Event] = []
        with self._lock:
            for flight, data in came:
                # Counted here: whoever has the bytes may at once ask whether they are on disk.
                self._keeping.add(flight.key)
                if not flight.is_over:
                    flight.data = data
                    self._queued.recent.put(flight.key, data)
                    events += self._queued.end(flight)
            self.tell(events)

    def fail(self, flights: Sequence[Flight], error: Exception) -> None:
        """End those that are not over."""
        events: list[trio.Event] = []
        with self._lock:
            for flight in flights:
                if not flight.is_over:
                    flight.error = error
                    events += self._queued.end(flight)
            self.tell(events)

    def fail_all(self, error: Exception) -> None:
        """End all there are. Under the lock."""
        self.tell(self._queued.fail_all(error))

    def tell(self, events: list[trio.Event]) -> None:
        """Set events of the loop."""
        if not events or self._token is None:
            return

        def tell() -> None:
            for event in events:
                event.set()

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(tell)

    def tell_ahead(self, came: Sequence[tuple[Flight, Data]]) -> None:
        """Tell of what came and nobody waited for."""
        if self.on_ahead is not None:
            unasked = [
                (flight.tag, data) for flight, data in came if flight.tag and not flight.asked
            ]
            if unasked:
                self.on_ahead(unasked)

    def keep(self, arrived: list[tuple[FlightKey, Data]]) -> None:
        """Put on disk what arrived."""
        if not arrived:
            return
        try:
            self._keep(arrived)
        finally:
            with self._lock:
                self._keeping.difference_update(key for key, _ in arrived)

    def is_keeping(self, keys: Iterable[FlightKey]) -> bool:
        """Return whether any of these bytes came and are on their way to the disk."""
        with self._lock:
            return any(key in self._keeping for key in keys)
