"""Stops asking a remote that does not answer: later questions fail at once while one tries again.

Without it every question to a dead server waits for its own deadline, and everybody behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from oxenfs.errors import RemoteUnavailable

PROBE_S = 5.0
"""A probe that takes longer than this is no reason any more to keep another one back."""


class Breaker:
    """Closed: all may ask. Open: one at a time may. Safe to use from several threads.

    Attributes:
        on_trip: called, in the thread of whoever missed a deadline, when it opens.
        on_close: called when an answer came while it was open.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin closed."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._answered_s = monotonic()
        self._reason: str | None = None
        self._probing_since_s: float | None = None
        self.on_trip: list[Callable[[], None]] = []
        self.on_close: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether the remote is taken for dead."""
        return self._reason is not None

    def refusal(self) -> RemoteUnavailable:
        """Return the error for a question that is not even asked."""
        return RemoteUnavailable(f"the server does not answer ({self._reason}); it is tried again")

    def may_ask(self) -> bool:
        """Return whether the caller may ask; while it is open, that makes the caller the probe."""
        with self._lock:
            if self._reason is None:
                return True
            now = self._monotonic()
            if self._probing_since_s is not None and now - self._probing_since_s < PROBE_S:
                return False
            self._probing_since_s = now
            return True

    def answered(self) -> None:
        """Note that the remote gave an answer, whichever."""
        self._answered_s = self._monotonic()
        if self._reason is None:
            return
        with self._lock:
            was_open = self._reason is not None
            self._reason = None
            self._probing_since_s = None
        if was_open:
            for call in self.on_close:
                call()

    def missed(self, since_s: float, reason: str) -> None:
        """Note that a question asked at `since_s` got no answer in time.

        It opens only if nobody else got one meanwhile: one connection that hangs is no dead server.
        """
        with self._lock:
            self._probing_since_s = None
            was_open = self._reason is not None
            if not was_open and self._answered_s >= since_s:
                return
            self._reason = reason
        if not was_open:
            for call in self.on_trip:
                call()

    def gave_up(self) -> None:
        """Note that whoever was allowed to ask did not ask, or learnt nothing."""
        with self._lock:
            self._probing_since_s = None
