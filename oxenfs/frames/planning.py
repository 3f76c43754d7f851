"""Plans of videos: which there are, which are being made, what is kept of them."""

from __future__ import annotations

import contextlib
import logging
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable

import trio

from oxenfs.errors import DamagedFrame, DecodeError, IntegrityError, OxenfsError, VideoError
from oxenfs.frames import plans
from oxenfs.frames.flights import Flight, PlanJob
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.index import load as load_index
from oxenfs.frames.jobs import Video
from oxenfs.frames.keeping import Keeping
from oxenfs.frames.kept import Kept
from oxenfs.frames.keys import Keys
from oxenfs.frames.plans import Plan
from oxenfs.frames.pool import Pool
from oxenfs.frames.spec import Spec

log = logging.getLogger(__name__)

PLANS_MAX = 256
"""Of how many plans something is in memory."""

_DEADLINE_S = 120.0
_ERRORS = 4096
_EXPECTED = 64
_SAVE_S = 2.0
_SAVES_MAX = 64


class Planning:
    """Plans and frame indexes. Used from one trio loop.

    Attributes:
        pool: the decoding children.
    """

    def __init__(self, scope: str, kept: Kept, pool: Pool) -> None:
        """Keep what is made in `kept`, under keys that begin with `scope` (the remote's key)."""
        self.pool = pool
        self._kept = kept
        self._keys = Keys(scope)
        self._keeping = Keeping(kept)
        self._plans: OrderedDict[tuple[str, str], Plan] = OrderedDict()
        self._planning: dict[tuple[str, str], Flight] = {}
        self._errors: OrderedDict[tuple[str, str], VideoError] = OrderedDict()
        self._expected: dict[tuple[str, str], int] = {}

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
        kept = await self._kept.get(self._keys.index(video))
        if kept is None:
            from oxenfs.frames.spec import parse

            job = await self._plan_job(video, parse("all"), None)
            kept = job.index
            self._keeping.keep(self._keys.index(video), kept)
        return await trio.to_thread.run_sync(load_index, kept)

    async def _make_plan(self, video: Video, spec: Spec) -> Plan:
        first = self._expected.pop((video.key, spec.text), -1)
        key = self._keys.plan(video, spec.text)
        kept = await self._kept.get(key)
        if kept is not None:
            with contextlib.suppress(IntegrityError):
                facts, picks = await _in_thread(len(kept), lambda: plans.load(kept))
                return await self._with_sizes(plans.make(video, spec, facts, picks))
        index_key = self._keys.index(video)
        index = await self._kept.get(index_key)
        job = await self._plan_job(video, spec, index, first)
        if job.index:
            self._keeping.keep(index_key, job.index)
        self._keeping.keep(key, plans.dump(job.facts, job.picks))
        return await self._with_sizes(plans.make(video, spec, job.facts, job.picks))

    async def _plan_job(
        self, video: Video, spec: Spec, index: bytes | None, first: int = -1
    ) -> PlanJob:
        job = PlanJob(video, spec, index, first)
        await self.pool.give(job)
        with trio.move_on_after(_DEADLINE_S):
            await job.done.wait()
        if not job.done.is_set():
            raise DecodeError(f"no frame index within {_DEADLINE_S:g} s; try again later")
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
            kept = await self._kept.get(self._keys.sizes(plan))
            if kept is None:
                break
            plans.load_sizes(plan, kept)
            plan.saved += 1
        plan.dirty = 0
        return plan

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(_SAVE_S)
            # What is kept is never changed, so each time is one more: seldom, when much is new.
            self._save([p for p in self._plans.values() if 2 * p.dirty >= sum(p.exact)])

    def _save(self, some: Iterable[Plan]) -> None:
        for plan in [plan for plan in some if plan.dirty and plan.saved < _SAVES_MAX]:
            key = self._keys.sizes(plan)
            plan.dirty = 0
            plan.saved += 1
            self._keeping.keep(key, plans.dump_sizes(plan))

    def _forget_plans(self) -> None:
        while len(self._plans) > PLANS_MAX:
            _, plan = self._plans.popitem(last=False)
            self._save([plan])


async def _in_thread(
    size: int, work: Callable[[], tuple[dict[str, int], array[int]]]
) -> tuple[dict[str, int], array[int]]:
    return await trio.to_thread.run_sync(work) if size > 1 << 20 else work()
