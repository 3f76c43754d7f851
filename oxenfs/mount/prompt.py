"""Takes the next request without a trip through trio's scheduler when one is already there.

pyfuse3 waits for each request by `trio.Lock` and `trio.lowlevel.wait_readable`; each of them goes
round the event loop even when it need not wait, which is half of what a small request costs.
pyfuse3 finds both by its module attribute `trio` (its asyncio mode is made the same way), so
`install` puts a stand-in there. Nothing else of pyfuse3 is touched, and when the attribute is not
what we expect, everything stays as it was.
"""

from __future__ import annotations

import logging
import select
import time
from types import ModuleType, TracebackType
from typing import Any

import pyfuse3
import trio

log = logging.getLogger(__name__)

_TURNS_BETWEEN_CHECKPOINTS = 32

# Whoever reads small files asks again at once, and waking a sleeping core takes longer than that.
# It costs this much CPU per burst of requests at the most; `poll` lets other threads run meanwhile.
SPIN_NS = 50_000


class PromptLock:
    """A lock that is taken without a checkpoint when it is free.

    Whoever runs may take it again before a task that waits: a worker that never has to wait keeps
    the lock, so a stream of small requests causes no task switches. A waiting task is woken at
    each release but tries again from the start, and gets the lock as soon as the worker waits for
    anything.
    """

    def __init__(self) -> None:
        """Begin free."""
        self._held = False
        self._lot = trio.lowlevel.ParkingLot()
        self._woken = False

    async def __aenter__(self) -> None:
        """Take the lock."""
        while self._held:
            await self._lot.park()
            self._woken = False
        self._held = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it."""
        self._held = False
        if not self._woken and self._lot:
            self._woken = True
            self._lot.unpark()


class _PromptLowlevel:
    """`trio.lowlevel`, but for `wait_readable`."""

    def __init__(self) -> None:
        self._poller: select.poll | None = None
        self._fd = -1
        self._turn = 0

    async def wait_readable(self, fd: int) -> None:
        """Return when `fd` is readable; mostly without a checkpoint if it is so within 50 us.

        One call in 32 always goes through the scheduler, or other tasks would starve.
        """
        if fd != self._fd:
            self._fd = fd
            self._poller = select.poll()
            self._poller.register(fd, select.POLLIN)
        self._turn += 1
        if self._turn % _TURNS_BETWEEN_CHECKPOINTS and self._poller is not None:
            if self._poller.poll(0):
                return
            until = time.perf_counter_ns() + SPIN_NS
            while time.perf_counter_ns() < until:
                if self._poller.poll(0):
                    return
        await trio.lowlevel.wait_readable(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)


class _PromptTrio:
    """`trio`, but for what is above."""

    Lock = PromptLock

    def __init__(self) -> None:
        self.lowlevel = _PromptLowlevel()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install() -> bool:
    """Let pyfuse3 wait promptly; return whether it does. Before `pyfuse3.main`."""
    if not isinstance(getattr(pyfuse3, "trio", None), ModuleType | _PromptTrio):
        log.info("pyfuse3 has no attribute `trio`: requests are waited for in the plain way")
        return False
    pyfuse3.trio = _PromptTrio()  # type: ignore[attr-defined]
    return True
