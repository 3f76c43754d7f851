"""How long a reader waits for bytes on their way, and what it is told when they do not come."""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio

from oxenfs.errors import RemoteUnavailable
from oxenfs.remote.breaker import Breaker
from oxenfs.store.flights import Data, Flight, FlightKey
from oxenfs.store.transfers import Transfers

OPEN_WAIT_S = 0.9
"""How long a read waits while the remote is taken for dead and somebody else tries it."""

OFFLINE = "offline: these bytes are not in the cache (mount without --offline, or prefetch before)"

_KEPT_AGAIN_S = 0.005


class Waiting:
    """The waiting of all readers of one remote. Used from one trio loop."""

    def __init__(self, transfers: Transfers | None, breaker: Breaker, timeout_s: float) -> None:
        """Wait for `transfers`, None offline, up to `timeout_s` from the start of a read."""
        self._transfers = transfers
        self._breaker = breaker
        self._timeout_s = timeout_s

    def transfers(self) -> Transfers:
        """Return what there is to wait for; raise `RemoteUnavailable` offline."""
        if self._transfers is None:
            raise RemoteUnavailable(OFFLINE)
        return self._transfers

    async def arrival(self, flight: Flight | Data, started_s: float) -> Data:
        """Return the bytes of a flight; raise `RemoteUnavailable` at the deadline of the read.

        Cancelling it leaves the flight to others.
        """
        if not isinstance(flight, Flight):
            return flight
        taken_for_dead = self._breaker.is_open
        limit_s = OPEN_WAIT_S if taken_for_dead else started_s + self._timeout_s - time.monotonic()
        with trio.move_on_after(max(limit_s, 0)):
            return await self.transfers().wait(flight)
        if taken_for_dead:
            raise self._breaker.refusal()
        reason = f"no answer within {self._timeout_s:g} s"
        self._breaker.missed(started_s, reason)
        raise RemoteUnavailable(f"{reason}; it may come yet")

    async def kept(self, keys: Sequence[FlightKey]) -> None:
        """Wait until what readers have is on disk, too: that is a matter of milliseconds."""
        while True:
            if not self.transfers().is_keeping(keys):
                return
            await trio.sleep(_KEPT_AGAIN_S)
