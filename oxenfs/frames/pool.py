"""The decoding children of a mount: starts, feeds, watches and ends them.

A child is given runs of frames and sends files back; it reads videos through us, by ranges. One
that stays on one video leaves others waiting behind it: those move to another child, a new one if
need be. One that dies takes nothing with it: what it was to do is given to another, twice at most.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import AsyncIterator

import trio

from oxenfs.errors import DecodeError, OxenfsError
from oxenfs.frames.child import Child
from oxenfs.frames.jobs import Job

log = logging.getLogger(__name__)

CHILDREN = min(max(len(os.sched_getaffinity(0)), 2), 8)
"""One for each processor: those of small pictures decode in one thread."""
_SPARE = 4
"""How many more there may be where some are stuck."""
_PATIENCE_S = 2.0
_SILENCE_S = 90.0
_WATCH_S = 0.25
_IDLE_S = 20.0
_ATTEMPTS = 3
_NEAR = 32


class Pool:
    """The children of a mount. Used from one trio loop, inside `running`.

    Attributes:
        failures: the last error of our own reads, by video: to be raised as it was.
    """

    def __init__(self, children: int = CHILDREN) -> None:
        """Use up to `children` of them, more only where some are stuck."""
        self._base = children
        self._children: list[Child] = []
        self._ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._started = trio.Event()
        self.failures: dict[str, OxenfsError] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let jobs be given inside; at the end all children are killed."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._started.set()
            nursery.start_soon(self._watch)
            try:
                yield
            finally:
                self._nursery = None
                self._started = trio.Event()
                nursery.cancel_scope.cancel()

    def prepare(self) -> None:
        """Start a child ahead of the first job, as it takes a fifth of a second."""
        if self._nursery is not None and not self._children:
            self._start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the children."""
        return [child.process.pid for child in self._children]

    async def give(self, job: Job) -> None:
        """Let a child do `job`; returns when it knows."""
        await self._started.wait()
        await self._assign(job)

    async def urge(self, job: Job, frame: int) -> None:
        """Let a job come next: somebody waits for one of its frames now."""
        if frame in job.awaited:
            return
        job.awaited.add(frame)
        job.urgent = True
        if job.child is not None and job.id in job.child.jobs:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await job.child.tell({"t": "urge", "id": job.id, "frame": frame})

    async def _assign(self, job: Job) -> None:
        job.attempts += 1
        await self._hand(job, self._choose(job))

    async def _hand(self, job: Job, child: Child) -> None:
        # A number of its own each time: what an earlier child says about it counts no more.
        job.id = next(self._ids)
        job.child = child
        child.jobs[job.id] = job
        await child.give(job)

    def _choose(self, job: Job, but: Child | None = None) -> Child:
        """Return who is to do a job: somebody free, who knows the video if possible."""
        others = [child for child in self._children if child is not but]
        if but is None and job.urgent:
            for child in others:
                if any(_neighbours(job, other) for other in child.jobs.values()):
                    return child  # on the way to that one, or just behind it

        def burden(child: Child) -> tuple[int, bool, int]:
            return (child.urgent, job.video.key not in child.videos, len(child.jobs))

        best = min(others, key=burden, default=None)
        if best is not None and best.urgent == 0 and (job.urgent or not best.jobs):
            return best
        if best is not None and not job.urgent and job.video.key in best.videos:
            return best
        if len(self._children) < self._base or best is None:
            return self._start()
        return best

    def _start(self) -> Child:
        if self._nursery is None:
            raise DecodeError("the mount is ending")
        try:
            child = Child(self.failures)
        except OSError as exc:
            raise DecodeError(f"no process to decode in: {exc.strerror}") from exc
        self._children.append(child)
        self._nursery.start_soon(self._live, child)
        return child

    async def _live(self, child: Child) -> None:
        try:
            await child.live()
        finally:
            self._children.remove(child)
            left = list(child.jobs.values())
            child.jobs.clear()
            for job in left:
                job.child = None
                if self._nursery is None:
                    job.fail(DecodeError("the mount is ending"))
        code = child.process.returncode
        if left:
            log.warning("a decoding process ended (%s) over %s", code, left[0].video.label)
        for job in left:
            # The one it worked on is under suspicion; those that only waited are not.
            if job.id != child.at:
                job.attempts -= 1
            if job.attempts >= _ATTEMPTS:
                job.fail(DecodeError(f"decoding ends its process ({_cause(code)})"))
                continue
            try:
                await self._assign(job)
            except OxenfsError as exc:
                job.fail(exc)

    async def _watch(self) -> None:
        """Move jobs away from who is stuck, end who is silent, let go of who is not needed."""
        while True:
            await trio.sleep(_WATCH_S)
            now = trio.current_time()
            for child in list(self._children):
                if child.jobs and now - child.heard > _SILENCE_S:
                    log.warning("a decoding process is silent for %g s; ending it", _SILENCE_S)
                    child.kill()
                elif child.is_stuck(_PATIENCE_S):
                    for job in [j for j in child.jobs.values() if j.urgent and j.id != child.at]:
                        if job.id in child.jobs and child.is_stuck(_PATIENCE_S):
                            with contextlib.suppress(OxenfsError):
                                await self._move(job, child)
            idle = [c for c in self._children if not c.jobs and now - c.heard > _IDLE_S]
            for child in idle[: max(len(self._children) - self._base, 0)]:
                child.kill()

    async def _move(self, job: Job, stuck: Child) -> None:
        if stuck.video == job.video.key:
            return  # it waits for its own video
        other = self._choose(job, but=stuck)
        if other.urgent and len(self._children) < self._base + _SPARE:
            other = self._start()
        dropped = job.id
        del stuck.jobs[dropped]
        await self._hand(job, other)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stuck.tell({"t": "drop", "id": dropped})


def _neighbours(job: Job, other: Job) -> bool:
    return (
        other.urgent
        and job.video.key == other.video.key
        and min(job.place, other.place) >= 0
        and abs(job.place - other.place) <= _NEAR
    )


def _cause(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"status {code}"
