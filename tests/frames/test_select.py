"""Which source frame is behind each file number."""

from __future__ import annotations

import bisect
import random
from array import array
from dataclasses import replace
from fractions import Fraction

import pytest

from oxenfs.frames.index import FrameIndex, Shape
from oxenfs.frames.select import FILES_MAX, MISSING, TooMany, nearest, select
from oxenfs.frames.spec import parse


def index(*pts: int, streams: int = 1, last: int = 1, start: int = 0) -> FrameIndex:
    """Return an index at 10 ticks a second."""
    return FrameIndex(
        stream=0,
        streams=streams,
        time_base=Fraction(1, 10),
        start=start,
        pts=array("q", pts),
        keys=array("I", [0]),
        seeks=array("q", pts[:1]),
        last_duration=Fraction(last),
        ordered=False,
        far_seeks=False,
        trusted=True,
        shape=Shape(16, 16, "yuv420p"),
    )


def picks(text: str, found: FrameIndex) -> list[int]:
    return list(select(found, parse(text)))


@pytest.mark.parametrize(
    ("numerator", "expected"), [(0, 0), (1, 1), (-1, -1), (2, 1), (-2, -1), (3, 2), (-3, -2)]
)
def test_halves_are_rounded_away_from_zero(numerator: int, expected: int) -> None:
    assert nearest(numerator, 2) == expected


def test_a_lower_rate_shows_the_last_frame_of_each_slot() -> None:
    assert picks("fps=5", index(*range(10))) == [0, 2, 4, 6, 8]


def test_a_higher_rate_repeats_frames() -> None:
    assert picks("fps=20", index(0, 1, 2)) == [0, 0, 1, 1, 2, 2]


def test_a_gap_is_filled_with_the_frame_before() -> None:
    assert picks("fps=10", index(0, 1, 5)) == [0, 1, 1, 1, 1, 2]


def test_a_late_start_is_filled_only_beside_another_stream() -> None:
    assert picks("fps=10", index(3, 4)) == [0, 1]
    assert picks("fps=10", index(3, 4, streams=2)) == [0, 0, 0, 0, 1]


def test_the_filling_shows_the_first_picture_of_the_filter() -> None:
    # Both frames fall into slot 1; the second is the one shown there.
    assert picks("fps=2.5", index(4, 5, 8, streams=2, last=4)) == [1, 1, 2]


def test_a_segment_is_cut_out_of_the_grid_of_the_whole() -> None:
    whole = picks("fps=5", index(*range(40)))
    assert picks("fps=5,start=1,end=2", index(*range(40))) == whole[5:10]
    assert picks("fps=5,start=1,end=2", index(*range(40), streams=2)) == whole[5:10]


def test_a_segment_beyond_the_end_is_empty() -> None:
    assert picks("fps=5,start=100", index(*range(10))) == []
    assert picks("all,start=100", index(*range(10))) == []


def test_a_segment_without_a_rate_goes_by_time() -> None:
    assert picks("all,start=0.2,end=0.5", index(*range(10))) == [2, 3, 4]
    assert picks("every=2,start=0.2,end=0.7", index(*range(10))) == [2, 4, 6]


def test_times_count_from_the_containers_start() -> None:
    late = index(*range(100, 110), start=100)
    assert picks("fps=5", late) == [0, 2, 4, 6, 8]
    assert picks("all,start=0.5", late) == [5, 6, 7, 8, 9]


def test_words_count_frames_in_the_segment() -> None:
    assert picks("first+middle+last", index(*range(10))) == [0, 5, 9]
    assert picks("last+first", index(7)) == [0, 0]
    assert picks("first+middle+last,start=0.2,end=0.5", index(*range(10))) == [2, 3, 4]


def test_at_is_the_frame_on_screen() -> None:
    assert picks("at=0+at=0.15+at=0.2+at=0.99", index(*range(10))) == [0, 1, 2, 9]
    assert picks("at=0.1", index(5, 6)) == [0]
    assert picks("at=1", index(*range(10))) == [MISSING]
    assert picks("at=0.1,start=0.5", index(*range(10))) == [MISSING]


def test_words_of_an_empty_segment_are_missing() -> None:
    assert picks("first+last,start=100", index(0, 1)) == [MISSING, MISSING]


def test_a_frame_shorter_than_half_a_slot_shows_nothing() -> None:
    assert picks("fps=1:3", index(0, last=1)) == []


def test_too_many_files_are_refused() -> None:
    with pytest.raises(TooMany):
        select(index(0, 10**9), parse(f"fps={FILES_MAX // 100}"))


def test_each_slot_shows_the_last_frame_that_rounds_to_it_or_before() -> None:
    seed = random.Random(4)
    for _ in range(1000):
        pts = sorted(seed.sample(range(-40, 400), seed.randrange(1, 30)))
        ticks = Fraction(seed.choice([1, 2, 1001]), seed.choice([30, 1000, 30000]))
        rate = seed.choice(["5", "0.5", "7.3"])
        times = [stamp * ticks * Fraction(rate) for stamp in [*pts, pts[-1] + 1]]
        *slots, end = [nearest(time.numerator, time.denominator) for time in times]
        wanted = [bisect.bisect_right(slots, slot) - 1 for slot in range(slots[0], end)]
        assert picks(f"fps={rate}", replace(index(*pts), time_base=ticks)) == wanted


def late(*pts: int) -> FrameIndex:
    """Return an index whose times go backwards."""
    return replace(index(*pts), ordered=True)


def test_at_a_rate_a_late_frame_is_shown_with_the_one_before() -> None:
    assert picks("fps=10", late(0, 1, 5, 2, 6)) == [0, 1, 1, 1, 1, 3, 4]
    assert picks("fps=10", late(0, 1, 5, 2)) == [0, 1, 1, 1, 1]
    assert picks("at=0.3+at=0.5+at=0.9", late(0, 1, 5, 2, 6)) == [1, 3, MISSING]


def test_a_segment_of_late_frames_ends_at_the_first_that_is_not_before_its_end() -> None:
    found = replace(late(0, 1, 5, 2, 3, 6), keys=array("I", [0, 2, 4]))
    assert picks("all,start=0.2,end=0.6", found) == [2, 3, 4]
    assert picks("all,end=0.4", found) == [0, 1]
    assert picks("every=2,start=0.2", found) == [2, 4]
    assert picks("keyframes,start=0.3", found) == [2, 4]
    assert picks("first+middle+last,start=0.4", found) == [2, 5, 5]
