"""Flights that another process has: it is waited for, for a while, instead of fetching them too.

Two mounts with one cache folder read the same files, or read ahead what the other one reads. What
one of them fetches the other finds on disk; if it does not come, it is fetched after all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from oxenfs.store.arrivals import Arrivals
from oxenfs.store.claims import Claims
from oxenfs.store.flights import Data, Flight
from oxenfs.store.queued import Queued

_WAIT_S_MAX = 5.0
# Looked for: nothing tells a process that another one's bytes are on disk.
_LOOK_S = 0.005
# So many looks at the disk for one at whether the other process has given up.
_CLAIM_TURNS = 4


class Others:
    """What this process leaves to others. Safe to use from several threads."""

    def __init__(
        self,
        claims: Claims | None,
        lock: threading.Lock,
        queued: Queued,
        arrivals: Arrivals,
        timeout_s: float,
    ) -> None:
        """Begin with nothing; flights are changed under `lock`.

        Args:
            claims: None if nothing is shared with anybody.
            lock: that of `queued`.
            queued: where flights go that are fetched after all.
            arrivals: where those end that came.
            timeout_s: after it a read fails; others are waited for much shorter.
        """
        self._claims = claims
        self._lock = lock
        self._queued = queued
        self._arrivals = arrivals
        self._wait_s = min(_WAIT_S_MAX, timeout_s / 3)
        self._waiting: list[tuple[Flight, float]] = []

    @property
    def is_waited_for(self) -> bool:
        """Whether there is something for `watch`."""
        return bool(self._waiting)

    def mine(self, flights: list[Flight]) -> list[Flight]:
        """Return those that this process is to fetch, claimed, for `release`; watch the others."""
        claims = self._claims
        if claims is None or not claims.are_shared():
            return flights
        mine: list[Flight] = []
        left: list[Flight] = []
        for flight in flights:
            (mine if flight.alone or claims.claim(flight.key) else left).append(flight)
        # What came between the look at the disk and the claim.
        came = claims.here(mine)
        self._arrive(came)
        self.release([flight for flight, _ in came])
        if left:
            until_s = time.monotonic() + self._wait_s
            with self._lock:
                self._waiting += [(flight, until_s) for flight in left]
                self._queued.wake()
        return [flight for flight in mine if not flight.is_over]

    def release(self, flights: Sequence[Flight]) -> None:
        """Let others have what was fetched, or was not."""
        if self._claims is not None:
            self._claims.release([flight.key for flight in flights])

    def watch(self) -> None:
        """Wait until nothing is left to others any more. Runs in a worker."""
        turn = 0
        while True:
            with self._lock:
                self._waiting = [each for each in self._waiting if not each[0].is_over]
                if self._queued.closed:
                    self._waiting.clear()
                if not self._waiting:
                    return
                waiting = list(self._waiting)
            turn += 1
            self._settle(waiting, may_claim=turn % _CLAIM_TURNS == 0)
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Give all claims back."""
        if self._claims is not None:
            self._claims.close()

    def _settle(self, waiting: Sequence[tuple[Flight, float]], *, may_claim: bool) -> None:
        assert self._claims is not None
        came = self._claims.here([flight for flight, _ in waiting])
        self._arrive(came)
        now = time.monotonic()
        again: list[Flight] = []
        for flight, until_s in waiting:
            if flight.is_over:
                continue
            if now > until_s:
                flight.alone = True
                again.append(flight)
            elif may_claim and self._claims.claim(flight.key):
                # It was given back: by whoever failed, had no room on disk, or died.
                self._claims.release([flight.key])
                again.append(flight)
        if again:
            left = set(again)
            with self._lock:
                self._waiting = [each for each in self._waiting if each[0] not in left]
                self._queued.again(again)

    def _arrive(self, came: Sequence[tuple[Flight, Data]]) -> None:
        if came:
            self._arrivals.arrive(came)
            self._arrivals.keep([(flight.key, data) for flight, data in came])
