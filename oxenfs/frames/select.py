"""Which source frame is behind each file number of a SPEC. Exact rational arithmetic throughout.

The rules are those of the ffmpeg command line tool: its fps filter and the step after it that
makes the rate constant, its trim and select filters.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, takewhile

from oxenfs.frames.index import FrameIndex
from oxenfs.frames.spec import Spec

FILES_MAX = 1 << 24
"""More files than this in one folder are refused: a rate of a million would fill any memory."""

MISSING = 0xFFFFFFFF
"""Stands for a word of a list that has no frame."""


class TooMany(ValueError):
    """The SPEC would make more files than a folder may have."""


def select(index: FrameIndex, spec: Spec) -> array[int]:
    """Return the source frame of each file: uint32, file 000001 first.

    Raises:
        TooMany: more than `FILES_MAX`.
    """
    if not index.count:
        return array("I", [MISSING] * len(spec.words))
    if spec.rate is not None:
        return _at_rate(index, spec, spec.rate)
    frames = _segment(index, spec)
    if spec.select == "keyframes":
        return array("I", sorted(set(index.keys).intersection(frames)))
    if spec.select == "words":
        return array("I", (_word(index, word, frames) for word in spec.words))
    return array("I", frames[:: spec.every])


def nearest(numerator: int, denominator: int) -> int:
    """Return the quotient rounded to the nearest integer, halves away from zero.

    `denominator` is positive.
    """
    if numerator < 0:
        return -((-2 * numerator + denominator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def _at_rate(index: FrameIndex, spec: Spec, rate: Fraction) -> array[int]:
    per_tick = index.time_base * rate
    num, den = per_tick.numerator, per_tick.denominator
    start, pts = index.start, index.pts
    times = list(_times(index))
    after = max(pts[-1] + index.last_duration, Fraction(times[-1])) - start
    after *= per_tick
    end = nearest(after.numerator, after.denominator)
    begin = nearest((pts[0] - start) * num, den)
    if begin >= end:
        return array("I")
    if spec.start is not None:
        begin = max(begin, _slot(spec.start, rate))
    if spec.end is not None:
        end = min(end, _slot(spec.end, rate))
    if end - min(begin, 0) > FILES_MAX:
        raise TooMany(f"{end - begin:,} frames are more than a folder may have ({FILES_MAX:,})")
    # A frame is shown from its own slot, nearest(t * num / den), on: in slot k the last one whose t
    # is not beyond the one that is rounded up to k + 1. Halves go up, those below zero down.
    picks = array("I")
    at = 0
    for slot in range(begin, end):
        half = (2 * slot + 1) * den
        at = bisect.bisect_right(times, start + (half - (slot >= 0)) // (2 * num), at)
        picks.append(max(at - 1, 0))
    if picks and index.streams > 1 and begin > 0 and spec.start is None and spec.end is None:
        # ffmpeg's constant-rate step begins where the only stream begins; another stream makes it
        # begin at zero, and its first picture fills what is before. The trim filter of a segment
        # goes without that step.
        picks[:0] = array("I", [picks[0]] * begin)
    return picks


def _slot(seconds: Fraction, rate: Fraction) -> int:
    product = seconds * rate
    return nearest(product.numerator, product.denominator)


def _times(index: FrameIndex) -> Sequence[int]:
    """Return when frames are shown at a rate: one that is late, with the one before."""
    return list(accumulate(index.pts, max)) if index.ordered else index.pts


def _segment(index: FrameIndex, spec: Spec) -> Sequence[int]:
    """Return the frames of the segment.

    Source: the tool's trim filter. Frames before the start do not pass it, and nothing does from
    the first one on that is not before the end.
    """
    start = None if spec.start is None else _ticks(index, spec.start)
    end = None if spec.end is None else _ticks(index, spec.end)
    if not index.ordered:
        first = 0 if start is None else bisect.bisect_left(index.pts, start)
        stop = index.count if end is None else bisect.bisect_left(index.pts, end)
        return range(first, max(first, stop))
    begun = (frame for frame, time in enumerate(index.pts) if start is None or time >= start)
    return list(takewhile(lambda frame: end is None or index.pts[frame] < end, begun))


def _ticks(index: FrameIndex, seconds: Fraction) -> int:
    ticks = seconds / index.time_base
    return index.start + nearest(ticks.numerator, ticks.denominator)


def _word(index: FrameIndex, word: str | Fraction, frames: Sequence[int]) -> int:
    """Return the frame that a word of a list means, or `MISSING`."""
    if not frames:
        return MISSING
    if word == "first":
        return frames[0]
    if word == "middle":
        return frames[len(frames) // 2]
    if word == "last":
        return frames[-1]
    time = Fraction(word) / index.time_base + index.start
    times = _times(index)
    if time >= times[-1] + index.last_duration:
        return MISSING
    # On screen from its own time until the next one's; players show the first frame early.
    frame = max(bisect.bisect_right(times, time) - 1, 0)
    return frame if frame in frames else MISSING
