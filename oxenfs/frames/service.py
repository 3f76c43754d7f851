"""Frames of videos for whoever shows them: plans, files, rows of arrays. Used from one trio loop.

What was made is kept by the video's key, what becomes of its frames, the frame's number, and the
versions of the codec library and of our format; specs that show the same picture share it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from fractions import Fraction

import trio

from oxenfs.errors import DamagedFrame, DecodeError, IntegrityError, OxenfsError, VideoError
from oxenfs.frames import plans
from oxenfs.frames.flights import Flight, PlanJob, RunJob
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.index import load as load_index
from oxenfs.frames.jobs import Video
from oxenfs.frames.kept import Kept, MemoryKept
from oxenfs.frames.plans import Plan
from oxenfs.frames.pool import Pool
from oxenfs.frames.reading import Reading
from oxenfs.frames.select import MISSING
from oxenfs.frames.spec import Spec
from oxenfs.store.counters import Counters

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
DEADLINE_S = 30.0
_PLAN_DEADLINE_S = 120.0
_PLANS = 256
_ERRORS = 4096
_ROW_BYTES_KEPT = 64 << 20
_ROW_BYTES_ON_DISK = 1 << 20
_WINDOW_BYTES = 2 << 20
_SAVE_S = 2.0
_SAVES_MAX = 64
_EXPECTED = 64
_WRITE_S = 0.1
_WRITE_BYTES = 4 << 20


@functools.cache
def version() -> str:
    """Return what pictures depend on beside the video: the codec library's version and ours."""
    import importlib.metadata  # takes longer than everything else here, and not every mount asks

    try:
        return f"{FORMAT_VERSION}/{importlib.metadata.version('av')}"
    except importlib.metadata.PackageNotFoundError:
        return f"{FORMAT_VERSION}/none"


class Frames:
    """Plans, files and rows.

    Attributes:
        pool: the decoding children.
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
        self.pool = pool or Pool()
        self.counters = counters or Counters()
        self._scope = scope
        self._kept: Kept = kept or MemoryKept(16 << 20)
        self._recent = MemoryKept()
        self._rows = MemoryKept(_ROW_BYTES_KEPT)
        self._flights: dict[bytes, Flight] = {}
        self._plans: OrderedDict[tuple[str, str], Plan] = OrderedDict()
        self._planning: dict[tuple[str, str], Flight] = {}
        self._errors: OrderedDict[tuple[str, str], VideoError] = OrderedDict()
        self._reading: OrderedDict[tuple[str, str, bool], Reading] = OrderedDict()
        self._expected: dict[tuple[str, str], int] = {}
        self._nursery: trio.Nursery | None = None
        self._kept_bytes = 0
        self._writing = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let frames be asked for inside."""
        try:
            async with self.pool.running(), trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._save_now_and_then)
                try:
                    yield
                finally:
                    self._nursery = None
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, relative_deadline=2.0):
                self._save(self._plans.values())
                await self._kept.write()

    def prepare(self) -> None:
        """Get ready, as somebody is about to ask."""
        self.pool.prepare()

    def known_plan(self, video: Video, spec: Spec) -> Plan | None:
        """Return the plan if it is in memory."""
        return self._plans.get((video.key, spec.text))

    async def plan(self, video: Video, spec: Spec) -> Plan:
        """Return which files the SPEC makes of the video.

        Raises:
            VideoError: none, and never any; says why.
            DecodeError: it could not be found out this time.
            OxenfsError: what the video's own bytes raised.
        """
        if video.unfinished is not None:
            raise VideoError(video.unfinished)
        key = (video.key, spec.text)
        while True:
            found = self._plans.get(key)
            if found is not None:
                self._plans.move_to_end(key)
                return found
            if key in self._errors:
                raise self._errors[key]
            flight = self._planning.get(key)
            if flight is None:
                break
            await flight.done.wait()
            if flight.failure is not None:
                raise flight.failure
        flight = self._planning[key] = Flight()
        try:
            plan = await self._make_plan(video, spec)
            self._plans[key] = plan
            self._forget_plans()
            return plan
        except Exception as exc:
            flight.failure = exc
            if isinstance(exc, VideoError):
                log.warning("no frames of %s (%s): %s", video.label, spec.text, exc)
                self._errors[key] = exc
                if len(self._errors) > _ERRORS:
                    self._errors.popitem(last=False)
            raise
        finally:
            del self._planning[key]
            flight.done.set()

    def expect(self, video: Video, spec: Spec, number: int) -> None:
        """Note that whoever asks for a plan next will open the file in row `number`."""
        key = (video.key, spec.text)
        if key not in self._plans and key not in self._planning:
            self._expected[key] = number
            if len(self._expected) > _EXPECTED:
                del self._expected[next(iter(self._expected))]

    async def index(self, video: Video) -> FrameIndex:
        """Return the frame index of a video; errors as of `plan`."""
        if video.unfinished is not None:
            raise VideoError(video.unfinished)
        kept = await self._kept.get(self._key(video, "index"))
        if kept is None:
            from oxenfs.frames.spec import parse

            job = await self._plan_job(video, parse("all"), None)
            kept = job.index
            self._keep(self._key(video, "index"), kept)
        return await trio.to_thread.run_sync(load_index, kept)

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
        key = self._frame_key(plan, frame, rows)
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
                self._keep(key, data)
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
        key = self._frame_key(plan, frame, rows)
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
            self._flights[self._frame_key(plan, frame, rows)] = Flight(job)
        flight = self._flights[self._frame_key(plan, frames[0], rows)]
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
            self._flights[self._frame_key(plan, frame, rows)] = Flight(job)
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
        key = self._frame_key(plan, frame, rows)
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
            if len(self._reading) > _PLANS:
                self._reading.popitem(last=False)
        self._reading.move_to_end(key)
        return found

    async def _make_plan(self, video: Video, spec: Spec) -> Plan:
        first = self._expected.pop((video.key, spec.text), -1)
        key = self._key(video, "plan", spec.text)
        kept = await self._kept.get(key)
        if kept is not None:
            with contextlib.suppress(IntegrityError):
                facts, picks = await _in_thread(len(kept), lambda: plans.load(kept))
                return await self._with_sizes(plans.make(video, spec, facts, picks))
        index_key = self._key(video, "index")
        index = await self._kept.get(index_key)
        job = await self._plan_job(video, spec, index, first)
        if job.index:
            self._keep(index_key, job.index)
        self._keep(key, plans.dump(job.facts, job.picks))
        return await self._with_sizes(plans.make(video, spec, job.facts, job.picks))

    async def _plan_job(
        self, video: Video, spec: Spec, index: bytes | None, first: int = -1
    ) -> PlanJob:
        job = PlanJob(video, spec, index, first)
        await self.pool.give(job)
        with trio.move_on_after(_PLAN_DEADLINE_S):
            await job.done.wait()
        if not job.done.is_set():
            raise DecodeError(f"no frame index within {_PLAN_DEADLINE_S:g} s; try again later")
        if job.failure is not None:
            raise self._told(video, job.failure)
        return job

    def _told(self, video: Video, failure: Exception | None) -> Exception:
        """Return what is raised for a failure: the reason of our own reads as it was."""
        if isinstance(failure, DecodeError) and failure.source:
            own: OxenfsError | None = self.pool.failures.get(video.key)
            if own is not None:
                return own
        if isinstance(failure, VideoError):
            return VideoError(str(failure))
        return (DamagedFrame if isinstance(failure, DamagedFrame) else DecodeError)(str(failure))

    async def _with_sizes(self, plan: Plan) -> Plan:
        while not plan.complete and plan.saved < _SAVES_MAX:
            kept = await self._kept.get(self._sizes_key(plan))
            if kept is None:
                break
            plans.load_sizes(plan, kept)
            plan.saved += 1
        plan.dirty = 0
        return plan

    def _keep(self, key: bytes, value: bytes) -> None:
        """Keep something, soon: nobody waits for the disk, and a hundred are one transaction."""
        self._kept.put(key, value)
        self._kept_bytes += len(value)
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._nursery.start_soon(self._write_soon)

    async def _write_soon(self) -> None:
        while self._kept_bytes:
            if self._kept_bytes < _WRITE_BYTES:
                await trio.sleep(_WRITE_S)
            self._kept_bytes = 0
            await self._kept.write()
        self._writing = False

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(_SAVE_S)
            # What is kept is never changed, so each time is one more: seldom, when much is new.
            self._save([p for p in self._plans.values() if 2 * p.dirty >= sum(p.exact)])

    def _save(self, some: Iterable[Plan]) -> None:
        for plan in [plan for plan in some if plan.dirty and plan.saved < _SAVES_MAX]:
            key = self._sizes_key(plan)
            plan.dirty = 0
            plan.saved += 1
            self._keep(key, plans.dump_sizes(plan))

    def _forget_plans(self) -> None:
        while len(self._plans) > _PLANS:
            _, plan = self._plans.popitem(last=False)
            self._save([plan])

    def _sizes_key(self, plan: Plan) -> bytes:
        return self._key(plan.video, "sizes", plan.spec.text, str(plan.saved))

    def _frame_key(self, plan: Plan, frame: int, rows: bool) -> bytes:
        prefix = plan.prefixes.get(rows)
        if prefix is None:
            pictures = plan.spec.pictures
            text = pictures.as_rows().text if rows else pictures.text
            held = "held" if rows or plan.spec.holds else "own"
            prefix = plan.prefixes[rows] = self._key(plan.video, text, held, "")
        return b"%b%d" % (prefix, frame)

    def _key(self, video: Video, *parts: str) -> bytes:
        return "\0".join(("frames", version(), self._scope, video.key, *parts)).encode()


async def _in_thread(
    size: int, work: Callable[[], tuple[dict[str, int], array[int]]]
) -> tuple[dict[str, int], array[int]]:
    return await trio.to_thread.run_sync(work) if size > 1 << 20 else work()


def pts_text(time: Fraction) -> str:
    """Return a time in seconds as an exact fraction and as a decimal."""
    return f"{time.numerator}/{time.denominator} {float(time):.6f}"
