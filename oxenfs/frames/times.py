"""When frames are shown: times that jump, are missing or go backwards, as the tool takes them."""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Sequence
from fractions import Fraction

from oxenfs.frames.select import nearest

MICRO = 1_000_000
JUMP_AHEAD, JUMP_BACK = 10 * MICRO, MICRO // 10
"""From where on a step of time is a jump, in microseconds."""


class Repair:
    """Continues the times of packets where they jump, as the ffmpeg tool does.

    In microseconds and by DTS, in the order of the file.

    Attributes:
        jumped: whether any did so far.
    """

    def __init__(self, time_base: Fraction) -> None:
        """Begin at the first packet of a stream with ticks of `time_base`."""
        per_tick = time_base * MICRO
        self._num, self._den = per_tick.numerator, per_tick.denominator
        self._shift = 0
        self._last: int | None = None
        self._expected = 0
        self.jumped = False

    def shift(self, time: int, duration: int) -> int:
        """Return what to add to the times of the packet that comes next, in ticks."""
        num, den = self._num, self._den
        dts = nearest(time * num, den) + self._shift
        expected, last = self._expected, self._last
        if last is not None and (abs(dts - expected) > JUMP_AHEAD or dts < last - JUMP_BACK):
            self._shift += expected - dts
            dts = expected
            self.jumped = True
        self._last = dts
        self._expected = dts + nearest(duration * num, den)
        return nearest(self._shift * den, num)


class _Shifts:
    """By how much times are moved. The same ones may come again, as a file may begin anew."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[int]] = defaultdict(deque)
        self._taken: dict[int, int] = {}

    def note(self, time: int, shift: int) -> None:
        self._waiting[time].append(shift)

    def take(self, time: int) -> int:
        # Two frames may be of one packet.
        if self._waiting[time]:
            self._taken[time] = self._waiting[time].popleft()
        return self._taken.get(time, 0)


class Moved:
    """Takes frames to the times that their packets have after a repair."""

    def __init__(self, time_base: Fraction) -> None:
        """Begin at the first packet of a stream with ticks of `time_base`."""
        self._repair = Repair(time_base)
        self._by_pts, self._by_dts = _Shifts(), _Shifts()

    @property
    def jumped(self) -> bool:
        """Whether the times of any packet jumped."""
        return self._repair.jumped

    def see(self, pts: int | None, dts: int | None, duration: int) -> None:
        """Note the packet that the decoder gets next."""
        time = dts if dts is not None else pts
        if time is None:
            return
        shift = self._repair.shift(time, duration)
        if pts is not None:
            self._by_pts.note(pts, shift)
        if dts is not None:
            self._by_dts.note(dts, shift)

    def of(self, pts: int | None, dts: int | None) -> tuple[int | None, int | None]:
        """Return the times of the frame that the decoder gives next."""
        return (
            None if pts is None else pts + self._by_pts.take(pts),
            None if dts is None else dts + self._by_dts.take(dts),
        )


def repair(
    pts: list[int], times: list[int | None], durations: Sequence[int], time_base: Fraction
) -> bool:
    """Continue the times of packets where they jump; return whether any does.

    By DTS (`times`); `pts` goes along.
    """
    packets = Repair(time_base)
    for at, time in enumerate(times):
        ticks = packets.shift(time if time is not None else pts[at], durations[at])
        pts[at] += ticks
        if time is not None:
            times[at] = time + ticks
    return packets.jumped


class Stamps:
    """The time of each decoded frame as the ffmpeg tool has it: its PTS, or the DTS.

    The one that has gone backwards less often so far. Source: libavcodec's best effort timestamp.

    Attributes:
        own: whether all were the frame's PTS.
    """

    def __init__(self) -> None:
        self.own = True
        self._last_pts = self._last_dts = -(1 << 63)
        self._faulty_pts = self._faulty_dts = 0

    def of(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the frame that comes next."""
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        if pts is not None and (self._faulty_pts <= self._faulty_dts or dts is None):
            return pts
        self.own = False
        return dts


def in_order(times: list[int | None], step: int, late_most: int | None) -> tuple[array[int], bool]:
    """Return the times of all frames, and whether they are their own and never decrease.

    A frame without one is a `step` behind the one before, and so is one that is more than
    `late_most` before that.
    """
    pts = array("q")
    sound = True
    latest = 0
    for time in times:
        if time is None or (pts and time <= latest):
            sound = False
            if time is None or (late_most is not None and latest - time > late_most):
                time = pts[-1] + step if pts else 0
        latest = max(latest, time) if pts else time
        pts.append(time)
    return pts, sound
