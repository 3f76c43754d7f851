"""The decoding children: what they may, and what happens when they die, hang or are lied to."""

from __future__ import annotations

import io
import os
import random
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from in_trio import in_trio
from PIL import Image

from oxenfs.errors import DecodeError, OxenfsError, RemoteUnavailable, VideoError
from oxenfs.frames import videos as videos_module
from oxenfs.frames.child import _refusal
from oxenfs.frames.pool import Pool
from oxenfs.frames.service import Frames
from oxenfs.frames.spec import parse
from oxenfs.frames.worker import ADDRESS_BYTES, Worker

from .asking import video
from .drawing import clip, number_in

LONG = os.environ.get("OXENFS_LONG") == "1"
CLIP = clip(range(0, 400, 4))
PNG = parse("all,png")


def number_of(data: bytes) -> int:
    return number_in(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@in_trio
async def test_frames_come_in_any_order_and_from_many_tasks() -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), PNG)
        assert plan.count == 100

        async def read(seed: int) -> None:
            order = list(range(100))
            random.Random(seed).shuffle(order)
            for number in order[:25]:
                assert number_of(await frames.picture(plan, number)) == number

        async with trio.open_nursery() as nursery:
            for seed in range(8):
                nursery.start_soon(read, seed)
    assert frames.pool.pids == []


@in_trio
async def test_reading_in_order_decodes_each_frame_once() -> None:
    frames = Frames("test")
    async with frames.running():
        plan = await frames.plan(video("a", CLIP), PNG)
        for number in range(plan.count):
            await frames.picture(plan, number)
        assert frames.counters.decoded <= plan.count + 2


@in_trio
async def test_a_child_has_no_secrets_no_files_and_little_memory() -> None:
    frames = Frames("test")
    os.environ["OXENFS_SECRET_FOR_A_TEST"] = "token"
    try:
        async with frames.running():
            await frames.plan(video("a", CLIP), PNG)
            for pid in frames.pool.pids:
                process = Path(f"/proc/{pid}")
                assert b"OXENFS_SECRET" not in (process / "environ").read_bytes()
                open_files = [str(path.readlink()) for path in (process / "fd").iterdir()]
                assert sum(name.startswith("socket:") for name in open_files) == 1
                others = {name for name in open_files if not name.startswith("socket:")}
                assert others <= {"/dev/null"}
                limits = (process / "limits").read_text()
                assert f"{ADDRESS_BYTES}" in limits
    finally:
        del os.environ["OXENFS_SECRET_FOR_A_TEST"]


@in_trio
async def test_a_child_that_is_killed_in_the_middle_is_replaced() -> None:
    frames = Frames("test")
    killed: list[int] = []

    async def kill(reads: int) -> None:
        await trio.lowlevel.checkpoint()
        if len(killed) < 2:
            killed.append(frames.pool.pids[0])
            os.kill(frames.pool.pids[0], signal.SIGKILL)

    async with frames.running():
        plan = await frames.plan(video("a", CLIP, kill), PNG)
        assert plan.count == 100
        for number in (50, 3):
            os.kill(frames.pool.pids[0], signal.SIGKILL)
            assert number_of(await frames.picture(plan, number)) == number
    assert len(killed) == 2


@in_trio
async def test_a_video_that_always_kills_its_child_is_an_error_for_its_readers_alone() -> None:
    frames = Frames("test")

    async def kill(reads: int) -> None:
        await trio.lowlevel.checkpoint()
        for pid in frames.pool.pids:
            os.kill(pid, signal.SIGKILL)

    async with frames.running():
        with pytest.raises(DecodeError, match="process"):
            await frames.plan(video("bad", CLIP, kill), PNG)
        plan = await frames.plan(video("good", CLIP), PNG)
        assert number_of(await frames.picture(plan, 7)) == 7


@in_trio
async def test_a_video_that_does_not_answer_delays_no_other() -> None:
    frames = Frames("test")

    async def never(reads: int) -> None:
        await trio.sleep_forever()

    async with frames.running(), trio.open_nursery() as nursery:
        for turn in range(3):
            nursery.start_soon(frames.plan, video(f"slow {turn}", CLIP, never), PNG)
        await trio.sleep(0.5)
        with trio.fail_after(20):
            plan = await frames.plan(video("good", CLIP), PNG)
            assert number_of(await frames.picture(plan, 42)) == 42
        nursery.cancel_scope.cancel()


@in_trio
async def test_a_file_that_is_expected_is_right_and_so_are_others() -> None:
    frames = Frames("test")
    async with frames.running():
        for number in (70, 5_000_000, 3, -1):
            one = video(f"expected {number}", CLIP)
            frames.expect(one, PNG, number)
            plan = await frames.plan(one, PNG)
            for at in (min(abs(number), 99), 50):
                assert number_of(await frames.picture(plan, at)) == at


@in_trio
async def test_a_frame_that_is_expected_and_does_not_come_delays_no_other() -> None:
    large = clip(range(0, 400, 4), codec="mjpeg", container="mov", height=4096)
    assert len(large) > 5 << 18
    reads = []

    async def count(number: int) -> None:
        reads.append(number)
        await trio.lowlevel.checkpoint()

    async def never(number: int) -> None:
        if number > len(reads):
            stopped.set()
            await trio.sleep_forever()

    stopped = trio.Event()
    frames = Frames("test", pool=Pool(children=1))
    async with frames.running():
        await frames.plan(video("counted", large, count), PNG)
        slow = video("slow", large, never)
        frames.expect(slow, PNG, 90)
        await frames.plan(slow, PNG)
        await stopped.wait()
        with trio.fail_after(20):
            plan = await frames.plan(video("good", CLIP), PNG)
            assert number_of(await frames.picture(plan, 42)) == 42


@in_trio
async def test_an_error_of_the_remote_is_told_as_it_was_and_not_remembered() -> None:
    frames = Frames("test")
    fails = True

    async def before(reads: int) -> None:
        await trio.lowlevel.checkpoint()
        if fails:
            raise RemoteUnavailable("no answer from the server")

    async with frames.running():
        one = video("a", CLIP, before)
        with pytest.raises(RemoteUnavailable, match="no answer"):
            await frames.plan(one, PNG)
        fails = False
        assert (await frames.plan(one, PNG)).count == 100


def test_an_error_that_nobody_thought_of_makes_a_video_one_without_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, object]] = []

    class Telling:
        def send(self, head: dict[str, object], body: bytes = b"") -> None:
            told.append(head)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(videos_module, "plan", fail)
    worker: Any = Worker(Telling())  # type: ignore[arg-type]
    worker._take({"t": "open", "video": "a", "size": 5}, b"")
    worker._take({"t": "plan", "video": "a", "id": 7, "spec": "all"}, b"")
    refusal = _refusal(video("a", b""), told[-1])
    assert isinstance(refusal, VideoError)
    assert str(refusal) == "internal error: ZeroDivisionError: a bug"


def gif_header(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\xf0\0\0" + bytes(6)


BOMBS = {
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" * 10,
    "an ffconcat list": b"ffconcat version 1.0\nfile /etc/passwd\n" * 10,
    "a session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "a huge picture": gif_header(65535, 65535) + b"," + bytes(50),
    "an image list": b"/etc/passwd\n" * 50,
    "mpeg start codes": b"\0\0\1\xba" * 20_000,
    "transport packets": (b"G" + bytes(187)) * 5_000,
    "zeros": bytes(300_000),
    "boxes in boxes": b"".join(struct.pack(">I4s", 8 * (2000 - n), b"moov") for n in range(2000)),
    "a matroska of nothing": b"\x1a\x45\xdf\xa3\x80"
    + b"\x18\x53\x80\x67\x01"
    + b"\xff" * 7
    + bytes(99),
}


@pytest.mark.parametrize("name", BOMBS)
@in_trio
async def test_a_bomb_is_no_video(name: str) -> None:
    frames = Frames("test")
    async with frames.running():
        with pytest.raises(VideoError):
            await frames.plan(video(name, BOMBS[name]), PNG)


def test_damaged_copies_harm_nobody(videos: Path) -> None:
    names = sorted(path for path in videos.iterdir() if path.stat().st_size > 2000)
    copies = 2000 if LONG else 150
    seed = random.Random(20)
    counts = {"frames": 0, "errors": 0}

    async def one(frames: Frames, number: int) -> None:
        data = bytearray(seed.choice(names).read_bytes())
        for _ in range(seed.choice([1, 4, 40])):
            at = seed.randrange(len(data))
            data[at : at + seed.choice([1, 8, 300])] = seed.randbytes(seed.choice([1, 8, 300]))
        if seed.random() < 0.2:
            del data[seed.randrange(1, len(data)) :]
        try:
            plan = await frames.plan(
                video(f"copy {number}", bytes(data)), parse("fps=3,size=32x32")
            )
            for at in range(min(plan.count, 5)):
                assert (await frames.picture(plan, at))[:2] == b"\xff\xd8"
                counts["frames"] += 1
        except OxenfsError:
            counts["errors"] += 1

    async def main() -> None:
        frames = Frames("test")
        async with frames.running():
            good = await frames.plan(video("good", CLIP), PNG)
            with trio.fail_after(3000 if LONG else 300):
                for first in range(0, copies, 4):
                    async with trio.open_nursery() as nursery:
                        for number in range(first, min(first + 4, copies)):
                            nursery.start_soon(one, frames, number)
                    number = first % good.count
                    assert number_of(await frames.picture(good, number)) == number

    trio.run(main)
    print(f"{copies} damaged copies: {counts['frames']} frames, {counts['errors']} refused")
    assert counts["frames"] > copies
    assert counts["errors"] > 0
