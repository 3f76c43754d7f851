"""The clock of a video stream: its ticks, where the tool begins to count, its rate."""

from __future__ import annotations

from array import array
from fractions import Fraction
from typing import TYPE_CHECKING

from oxenfs.frames.container import BadVideo
from oxenfs.frames.select import nearest
from oxenfs.frames.times import MICRO

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

JUMPING = ("mpegts", "mpeg")
"""Containers whose times may jump, and that seek by other rules."""

_RATE_DEFAULT = Fraction(25)


def time_base_of(stream: VideoStream) -> Fraction:
    """Return the seconds of a tick; raise `BadVideo` if that is not known."""
    if not stream.time_base:
        raise BadVideo("it has no time base")
    return stream.time_base


def start_of(container: InputContainer, stream: VideoStream, time_base: Fraction) -> int:
    """Return the time that the tool counts from, in ticks of the stream.

    The container's start, which is in microseconds. Of MPEG-TS and MPEG-PS it is the earliest of
    the streams that are used: of the video alone, even if its sound begins before.
    """
    if container.format.name in JUMPING and stream.start_time is not None:
        return stream.start_time
    ticks = Fraction(container.start_time or 0, MICRO) / time_base
    return nearest(ticks.numerator, ticks.denominator)


def rate_of(stream: VideoStream) -> Fraction:
    """Return the frames of a second, as the library guesses them, or 25."""
    rate = stream.guessed_rate
    return Fraction(rate) if rate else _RATE_DEFAULT


def step_of(stream: VideoStream, time_base: Fraction) -> int:
    """Return how many ticks a frame takes at the stream's rate."""
    return max(int(1 / (rate_of(stream) * time_base)), 1)


def last_duration_of(
    last: int, pts: array[int], stream: VideoStream, time_base: Fraction
) -> Fraction:
    """Return how long the last frame is shown, in ticks: `last` if it says so, else a guess."""
    if last > 0:
        return Fraction(last)
    if len(pts) > 1 and pts[-1] > pts[-2]:
        return Fraction(pts[-1] - pts[-2])
    return 1 / (rate_of(stream) * time_base)
