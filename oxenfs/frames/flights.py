"""Jobs of the frame service: plans, and runs of frames; and who waits for what comes of them."""

from __future__ import annotations

from array import array
from typing import Protocol

import trio

from oxenfs.errors import DamagedFrame, DecodeError, IntegrityError
from oxenfs.frames import plans
from oxenfs.frames.index import load as load_index
from oxenfs.frames.jobs import Job, Video
from oxenfs.frames.plans import Plan
from oxenfs.frames.reading import SCATTERED
from oxenfs.frames.spec import Spec
from oxenfs.frames.wire import Head


class Taker(Protocol):
    """Gets the frames of runs. `oxenfs.frames.service.Frames` is one."""

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
        """Take a frame that a child has made, or not."""


class Flight:
    """Something that is being made; whoever else wants it waits."""

    __slots__ = ("data", "done", "failure", "job")

    def __init__(self, job: RunJob | None = None) -> None:
        self.done = trio.Event()
        self.data: bytes | None = None
        self.failure: Exception | None = None
        self.job = job

    def land(self, data: bytes | None, failure: Exception | None = None) -> None:
        """Give everybody who waits the result."""
        self.data, self.failure = data, failure
        self.done.set()


class PlanJob(Job):
    """Works out a plan, and the index where there is none yet.

    If the file in row `first` will be asked for, its frame is decoded meanwhile.
    """

    def __init__(self, video: Video, spec: Spec, index: bytes | None, first: int = -1) -> None:
        super().__init__(video, urgent=True)
        self._first = first
        self._spec = spec
        self._index = index
        self.done = trio.Event()
        self.failure: Exception | None = None
        self.facts: dict[str, int] = {}
        self.picks: array[int] = array("I")
        self.index = b""

    def message(self) -> tuple[Head, bytes]:
        """Return the request, with the index that is kept."""
        head = {"t": "plan", "spec": self._spec.text, "first": self._first}
        return head, self._index or b""

    def take(self, head: Head, body: bytes) -> None:
        """Take the answer apart, and believe nothing that does not fit."""
        try:
            self.facts = {
                name: int(head[name]) for name in ("count", "width", "height", "bytes", "exact")
            }
            length = int(head["index"])
            if not 0 <= length <= len(body) or (len(body) - length) % 4:
                raise ValueError("lengths")
            split = len(body) - length
            self.picks, self.index = plans.picks_of(body[:split]), body[split:]
            if len(self.picks) != self.facts["count"] or min(self.facts.values()) < 0:
                raise ValueError("counts")
            if self.index:
                load_index(self.index)
        except (KeyError, TypeError, ValueError, IntegrityError) as exc:
            self.failure = DecodeError(f"a decoding process answers nonsense: {exc}")

    def fail(self, exc: Exception) -> None:
        """Note why."""
        self.failure = exc
        self.done.set()

    def end(self) -> None:
        """Wake who waits."""
        self.done.set()


class RunJob(Job):
    """Makes some frames."""

    def __init__(
        self,
        taker: Taker,
        plan: Plan,
        frames: list[int],
        *,
        rows: bool,
        jumps: int,
        urgent: bool,
    ) -> None:
        super().__init__(plan.video, urgent=urgent, place=frames[0])
        self._taker = taker
        self._plan = plan
        self._frames = frames
        self._rows = rows
        self._jumps = jumps
        self.left = set(frames)

    def message(self) -> tuple[Head, bytes]:
        """Return what is still to be made."""
        frames = [frame for frame in self._frames if frame in self.left]
        head = {"t": "run", "spec": self._plan.spec.text, "rows": self._rows, "frames": frames}
        head |= {"files": self._plan.count, "jumps": self._jumps, "awaited": list(self.awaited)}
        return head, b""

    def take(self, head: Head, body: bytes) -> None:
        """Keep one frame."""
        frame = head.get("frame")
        if not isinstance(frame, int):
            return
        if head["t"] == "missing":
            why = f"frame {frame} cannot be decoded: its data is damaged"
            self._taker.landed(self._plan, frame, self._rows, None, DamagedFrame(why))
        elif not self._rows or len(body) == self._plan.row_bytes:
            scattered = self._jumps >= SCATTERED
            self._taker.landed(self._plan, frame, self._rows, body, None, scattered=scattered)
        self.here(frame)

    def here(self, frame: int) -> None:
        """Note that a frame is there, whoever made it."""
        self.left.discard(frame)
        self.awaited.discard(frame)
        self.urgent = bool(self.awaited)

    def fail(self, exc: Exception) -> None:
        """Tell whoever waits for what was not made."""
        # Who takes a frame tells all jobs that were to make it, this one too.
        left, self.left = self.left, set()
        for frame in left:
            self._taker.landed(self._plan, frame, self._rows, None, exc)

    def end(self) -> None:
        """Nothing of it may be left waiting."""
        self.fail(DecodeError("decoding was given up"))
