"""When frames are shown: times that jump, are missing or go backwards, as the tool takes them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from oxenfs.frames.select import nearest

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MICRO = 1_000_000
JUMP_AHEAD, JUMP_BACK = 10 * MICRO, MICRO // 10
"""From where on a step of time is a jump, in microseconds."""


def repair(
    pts: list[int],
    times: list[int | None],
    durations: Sequence[int],
    time_base: Fraction,
) -> bool:
    """Continue the times where they jump, as the ffmpeg tool does; return whether any does.

    In microseconds and by DTS (`times`), in the order of the file. `pts` goes along.
    """
    per_tick = time_base * MICRO
    num, den = per_tick.numerator, per_tick.denominator
    shift = 0
    last: int | None = None
    expected = 0
    jumped = False
    for at, time in enumerate(times):
        stamp = time if time is not None else pts[at]
        dts = nearest(stamp * num, den) + shift
        if last is not None and (abs(dts - expected) > JUMP_AHEAD or dts < last - JUMP_BACK):
            shift += expected - dts
            dts = expected
            jumped = True
        last = dts
        expected = dts + nearest(durations[at] * num, den)
        ticks = nearest(shift * den, num)
        pts[at] += ticks
        if time is not None:
            times[at] = time + ticks
    return jumped


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

    def of(self, frame: VideoFrame) -> int | None:
        """Return the time of the frame that comes next."""
        pts, dts = frame.pts, frame.dts
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


def in_order(times: list[int | None], step: int, late_most: int) -> tuple[array[int], bool, int]:
    """Return times that never decrease; whether they are the frames' own; how late the last is.

    A frame a little before the one before takes its place, as in the tool's filter; after a longer
    jump times go on from there.
    """
    pts = array("q")
    sound = True
    late = 0
    for time in times:
        late = 0
        if time is None or (pts and time <= pts[-1]):
            sound = False
            if time is not None and pts[-1] - time <= late_most:
                late = pts[-1] - time
                time = pts[-1]
            else:
                time = pts[-1] + step if pts else 0
        pts.append(time)
    return pts, sound, late
