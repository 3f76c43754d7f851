"""Frames of videos for whoever shows them: files and rows of arrays, made when asked for."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

import trio

from oxenfs.errors import DecodeError
from oxenfs.frames.flights import Flight, RunJob
from oxenfs.frames.kept import Kept, MemoryKept
from oxenfs.frames.planning import PLANS_MAX, Planning
from oxenfs.frames.plans import Plan
from oxenfs.frames.pool import Pool
from oxenfs.frames.reading import Reading
from oxenfs.frames.select import MISSING
from oxenfs.store.counters import Counters

DEADLINE_S = 30.0
_ROW_BYTES_KEPT = 64 << 20
_ROW_BYTES_ON_DISK = 1 << 20
_WINDOW_BYTES = 2 << 20


class Frames(Planning):
    """Plans, files and rows.

    Attributes:
        counters: of frames that came from children, and of how many of them as files.
    """

    def __init__(
        self,
        scope: str,
        kept: Kept | None = None,
        pool: Pool | None = None,
        counters: Counters | None = None,
    ) -> None:
        """Keep what is made in `kept`, under keys that begin with `scope` (the remote's key).

        Nothing is shared between remotes: one could otherwise plant pictures for another.
        """
        super().__init__(scope, kept or MemoryKept(16 << 20), pool or Pool())
        self.counters = counters or Counters()
        self._recent = MemoryKept()
        self._rows = MemoryKept(_ROW_BYTES_KEPT)
        self._flights: dict[bytes, Flight] = {}
        self._reading: OrderedDict[tuple[str, str, bool], Reading] = OrderedDict()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let frames be asked for inside."""
        try:
            async with self.pool.running(), trio.open_nursery() as nursery:
                self._keeping.begin(nursery)
                nursery.start_soon(self._save_now_and_then)
                try:
                    yield
                finally:
                    self._keeping.stop()
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, relative_deadline=2.0):
                self._save(self._plans.values())
                await self._kept.write()

    def prepare(self) -> None:
        """Get ready, as somebody is about to ask."""
        self.pool.prepare()

    async def picture(self, plan: Plan, number: int) -> bytes:
        """Return the bytes of the file in row `number`, counted from 0.

        Raises:
            DecodeError: it cannot be made, or not within the deadline; decoding goes on then.
        """
        return await self._frame(plan, number, 0, rows=False)

    async def row(self, plan: Plan, number: int, last: int) -> bytes:
        """Return a frame of the array, uint8[height, width, 3].

        Those up to `last` are wanted next.
        """
        return await self._frame(plan, number, last - number, rows=True)

    def landed(
        self,
        plan: Plan,
        frame: int,
        rows: bool,
        data: bytes | None,
        failure: Exception | None,
        *,
        scattered: bool = False,
    ) -> None:
        """Take a frame that a child has made, or not.

        Rows are large, and cheap to make in order: only small ones are kept on disk, and only if
        they are read at random (`scattered`).
        """
        key = self._keys.frame(plan, frame, rows)
        if data is not None:
            self.counters.decoded += 1
            if rows:
                self._rows.add(key, data)
            else:
                self.counters.encoded += 1
                self._recent.add(key, data)
                plan.learn(frame, len(data))
            on_disk = not rows or (scattered and len(data) <= _ROW_BYTES_ON_DISK)
            if on_disk:
                self._keeping.keep(key, data)
        flight = self._flights.pop(key, None)
        if flight is not None:
            if flight.job is not None:
                flight.job.here(frame)
            flight.land(data, failure)

    async def _frame(self, plan: Plan, number: int, more: int, *, rows: bool) -> bytes:
        frame = plan.picks[number]
        if frame == MISSING:
            raise DecodeError("the video, or its segment, has no such frame")
        reading = self._reading_of(plan, rows)
        run = max(reading.at(number), more)
        key = self._keys.frame(plan, frame, rows)
        memory = self._rows if rows else self._recent
        data = memory.peek(key)
        on_disk = not rows or plan.row_bytes <= _ROW_BYTES_ON_DISK
        if data is None and key not in self._flights and on_disk:
            data = await self._kept.get(key)
            if data is not None:
                memory.add(key, data)
        if data is not None:
            if not rows:
                plan.learn(frame, len(data))
            if run:
                await self._read_ahead(plan, number, run, rows=rows)
            return data
        flight = self._flights.get(key)
        if flight is None:
            flight = await self._start(plan, number, run, reading, rows=rows)
        elif flight.job is not None:
            await self.pool.urge(flight.job, frame)
        with trio.move_on_after(DEADLINE_S):
            await flight.done.wait()
        if flight.data is not None:
            if not rows:
                # Who began the flight may show the same picture by another SPEC.
                plan.learn(frame, len(flight.data))
            return flight.data
        if not flight.done.is_set():
            raise DecodeError(
                f"no frame within {DEADLINE_S:g} s; decoding goes on, try again later"
            )
        raise self._told(plan.video, flight.failure)

    async def _start(
        self, plan: Plan, number: int, run: int, reading: Reading, *, rows: bool
    ) -> Flight:
        frames = [plan.picks[number]]
        if run:
            frames += self._missing(plan, number + 1, run, rows=rows)
        jumps = 0 if rows and plan.row_bytes > _ROW_BYTES_ON_DISK else reading.jumps
        job = RunJob(self, plan, frames, rows=rows, jumps=jumps, urgent=True)
        for frame in frames:
            self._flights[self._keys.frame(plan, frame, rows)] = Flight(job)
        flight = self._flights[self._keys.frame(plan, frames[0], rows)]
        await self.pool.give(job)
        return flight

    async def _read_ahead(self, plan: Plan, number: int, run: int, *, rows: bool) -> None:
        """Let more be made when less than half of a run is still ahead of the reader."""
        middle = plan.picks[min(number + run // 2, plan.count - 1)]
        if middle != MISSING and self._is_coming(plan, middle, rows=rows):
            return
        frames = self._missing(plan, number + 1, run, rows=rows)
        if 2 * len(frames) < run:
            return
        job = RunJob(self, plan, frames, rows=rows, jumps=0, urgent=False)
        for frame in frames:
            self._flights[self._keys.frame(plan, frame, rows)] = Flight(job)
        await self.pool.give(job)

    def _missing(self, plan: Plan, start: int, run: int, *, rows: bool) -> list[int]:
        """Return the frames of the next files that are neither here nor on their way."""
        return [
            frame
            for frame in dict.fromkeys(plan.picks[start : start + run])
            if frame != MISSING and not self._is_coming(plan, frame, rows=rows)
        ]

    def _is_coming(self, plan: Plan, frame: int, *, rows: bool) -> bool:
        """Return whether a frame is here or on its way."""
        key = self._keys.frame(plan, frame, rows)
        if key in (self._rows if rows else self._recent) or key in self._flights:
            return True
        return not (rows and plan.row_bytes > _ROW_BYTES_ON_DISK) and self._kept.has(key)

    def _reading_of(self, plan: Plan, rows: bool) -> Reading:
        key = (plan.video.key, plan.spec.text, rows)
        found = self._reading.get(key)
        if found is None:
            if rows:
                found = Reading(plan.row_bytes, _WINDOW_BYTES)
            else:
                found = Reading(max(plan.row_bytes // 10, 4096))
            self._reading[key] = found
            if len(self._reading) > PLANS_MAX:
                self._reading.popitem(last=False)
        self._reading.move_to_end(key)
        return found
