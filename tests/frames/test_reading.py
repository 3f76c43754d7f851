"""Telling runs from jumps, and what is made of frames that pass by."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import trio
from in_trio import in_trio
from PIL import Image

from oxenfs.errors import DecodeError
from oxenfs.frames.decode import Decoder
from oxenfs.frames.flights import RunJob
from oxenfs.frames.plans import Plan
from oxenfs.frames.reading import AHEAD_MAX, SCATTERED, Reading
from oxenfs.frames.scan import scan
from oxenfs.frames.service import Frames
from oxenfs.frames.spec import parse

from .asking import video
from .clips import source_of
from .drawing import clip, number_in

COUNT = 200
CLIP = clip(range(0, 4 * COUNT, 4), gop=100, b_frames=3)
PNG = parse("all,png")


def number_of(data: bytes) -> int:
    return number_in(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_run_is_read_ahead_further_and_further() -> None:
    reading = Reading(1000)
    ahead = [reading.at(number) for number in range(12)]
    assert ahead[0] > 0
    assert ahead == sorted(ahead)
    assert ahead[-1] == AHEAD_MAX
    assert reading.jumps == 0


def test_jumps_are_counted_until_a_run_begins() -> None:
    reading = Reading(1000)
    for number in range(100, 100 + 10 * SCATTERED, 10):
        assert reading.at(number) == 0
    assert reading.jumps == SCATTERED
    # Two in a row happen when one reads at random.
    assert reading.at(101 + 10 * (SCATTERED - 1)) == 0
    assert reading.jumps == SCATTERED
    assert reading.at(102 + 10 * (SCATTERED - 1)) > 0
    assert reading.jumps == 0


def test_what_the_kernel_asks_for_around_a_place_is_no_run() -> None:
    reading = Reading(100, 1000)
    for place in (500, 900, 300):
        assert [reading.at(number) for number in range(place, place + 10)] == [0] * 10
    assert reading.jumps == 3
    assert max(reading.at(number) for number in range(310, 330)) > 0
    assert reading.jumps == 0


def test_frames_that_nobody_wants_and_no_other_needs_are_not_decoded() -> None:
    index = scan(source_of(CLIP))
    decoder = Decoder(source_of(CLIP), index)
    passed: list[int] = []
    decoder.passing = lambda number, _: passed.append(number)
    wanted = list(range(0, COUNT, 10))
    decoder.coming = wanted
    for number in wanted:
        frame = decoder.frame(number)
        assert frame is not None
        assert frame.pts == index.pts[number]
    assert len(passed) + len(wanted) < COUNT * 3 // 4


@pytest.mark.parametrize("text", ["all,png", "all,size=160x128"])
@in_trio
async def test_reading_all_at_random_decodes_each_about_once(text: str) -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), parse(text))
        order = list(range(COUNT))
        random.Random(7).shuffle(order)
        for number in order:
            assert number_of(await frames.picture(plan, number)) == number
        assert frames.counters.decoded <= COUNT * 5 // 4


@in_trio
async def test_rows_at_random_are_right_and_near_ones_share_the_way() -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), PNG)
        wanted = random.Random(3).sample(range(COUNT - 5), 40)

        async def row(number: int, last: int) -> None:
            data = await frames.row(plan, number, last)
            pixels = np.frombuffer(data, np.uint8).reshape(plan.height, plan.width, 3)
            assert number_in(pixels) == number

        for number in wanted:
            async with trio.open_nursery() as nursery:
                for at in range(number, number + 5):
                    nursery.start_soon(row, at, number + 4)


@in_trio
async def test_who_waits_for_a_frame_that_was_to_come_later_is_served_first() -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), PNG)
        async with trio.open_nursery() as nursery:
            for number in (0, 1, 2, 3, 150, 9, 60, 5):

                async def read(number: int) -> None:
                    assert number_of(await frames.picture(plan, number)) == number

                nursery.start_soon(read, number)
    assert frames.pool.pids == []


@in_trio
async def test_a_job_that_fails_tells_all_who_wait_though_it_is_told_itself() -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), PNG)
    told: list[int] = []

    class Taking:
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
            told.append(frame)
            job.here(frame)

    job = RunJob(Taking(), plan, [3, 4, 5], rows=False, jumps=0, urgent=True)
    job.fail(DecodeError("over"))
    assert sorted(told) == [3, 4, 5]
    job.end()
    assert len(told) == 3


@in_trio
async def test_who_waits_for_a_picture_of_another_spec_learns_its_size() -> None:
    frames = Frames("test")
    async with frames.running():
        plans = [
            await frames.plan(video("a", CLIP), parse(text)) for text in ("all,png", "every=2,png")
        ]
        got: list[bytes] = []

        async def read(plan: Plan) -> None:
            got.append(await frames.picture(plan, 0))

        async with trio.open_nursery() as nursery:
            for plan in plans:
                nursery.start_soon(read, plan)
        assert [plan.sizes[0] for plan in plans] == [len(data) for data in got]
        assert all(plan.exact[0] for plan in plans)
