"""A remote that tries again what may work the next time: a decorator around any remote.

Only questions are asked again, never `publish`, which may have happened although its answer was
lost. Iterators are not resumed: whoever reads a tree or a history decides.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from oxenfs.errors import Busy, IntegrityError, NoServer, OxenfsError, RemoteUnavailable
from oxenfs.model import Author
from oxenfs.remote.asking import Asking
from oxenfs.remote.base import Beginning, Remote
from oxenfs.remote.breaker import Breaker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long.

    Attributes:
        tries: calls in all.
        deadline_s: no new try begins after this.
        first_wait_s: before the second try; doubled each time, with up to half as much at random.
    """

    tries: int = 4
    deadline_s: float = 30.0
    first_wait_s: float = 0.2


class Retrying(Asking):
    """Repeats calls that failed for a reason that may pass, with growing pauses.

    A damaged answer is asked for once more: it may have been damaged on the way.
    """

    def __init__(
        self,
        inner: Remote,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        *,
        met: bool = True,
    ) -> None:
        """Ask `inner`, unless `breaker` is open; `sleep` and `monotonic` are the clock's.

        `met` says whether it has answered before. A server that is away may come back, and is worth
        waiting for; where none has been seen yet, the address is wrong: that is told at once.
        """
        super().__init__(inner)
        self._patience = patience or Patience()
        self._sleep = sleep
        self._monotonic = monotonic
        self.breaker = breaker or Breaker(monotonic)
        self.retries = 0
        self._met = met

    def begin(self, branch: str, author: Author) -> None:
        """Make the first branch, if the remote can; not repeated."""
        if isinstance(self._inner, Beginning):
            self._inner.begin(branch, author)

    def ask(self, call: Callable[[], T]) -> T:
        """Call until it works, the patience ends or the breaker opens; raise the last error."""
        if not self.breaker.may_ask():
            raise self.breaker.refusal()
        started = self._monotonic()
        try:
            found = self._insist(call)
        except RemoteUnavailable as exc:
            if isinstance(exc, Busy):
                self.breaker.answered()
            else:
                self.breaker.missed(started, str(exc))
            raise
        except OxenfsError:
            self._met = True
            self.breaker.answered()
            raise
        self._met = True
        self.breaker.answered()
        return found

    def _insist(self, call: Callable[[], T]) -> T:
        started = self._monotonic()
        pause = self._patience.first_wait_s
        left = self._patience.tries
        damaged = False
        while True:
            left -= 1
            try:
                return call()
            except (RemoteUnavailable, IntegrityError) as exc:
                if isinstance(exc, IntegrityError):
                    if damaged:
                        raise
                    damaged = True
                if isinstance(exc, NoServer) and not self._met:
                    raise
                wait = pause * (1 + random.random() / 2)
                if isinstance(exc, Busy):
                    wait = max(wait, exc.retry_after_s)
                elapsed = self._monotonic() - started
                if not left or elapsed + wait > self._patience.deadline_s:
                    raise
            self.retries += 1
            self._sleep(wait)
            pause *= 2
