"""Videos made to take memory or time without end: bounded, and reading their neighbours goes on."""

from __future__ import annotations

import functools
import io
import itertools
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest
import trio
from in_trio import in_trio

from oxenfs.errors import OxenfsError, VideoError
from oxenfs.frames import planning
from oxenfs.frames.jobs import Video
from oxenfs.frames.service import Frames
from oxenfs.frames.spec import parse

from .asking import Bytes, video
from .drawing import clip
from .test_children import number_of

LONG = os.environ.get("OXENFS_LONG") == "1"
PNG = parse("all,png")
CLIP = clip(range(0, 200, 4))
MEMORY_BYTES_MAX = 1 << 30
"""Of each child. The bombs that are short take a tenth of it."""

# With the time that a busy machine takes: each of these is over in seconds.
BOMB_S = 150
GOOD_S = 30


unhurried = functools.partial(in_trio, deadline_s=4 * BOMB_S)


def private_bytes(pid: int) -> int:
    """Return how much memory a process has that is nobody else's, 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    wanted = ("RssAnon:", "RssShmem:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))


@asynccontextmanager
async def watched() -> AsyncIterator[Frames]:
    """Run children; their memory stays bounded, and a good video can be read all the time."""
    frames = Frames("test")
    most = [0]

    async def watch() -> None:
        while True:
            await trio.sleep(0.02)
            most.append(max(most.pop(), *map(private_bytes, frames.pool.pids), 0))

    async def read() -> None:
        for turn in itertools.count():
            with trio.fail_after(GOOD_S):
                plan = await frames.plan(video(f"good {turn}", CLIP), PNG)
                number = turn % plan.count
                assert number_of(await frames.picture(plan, number)) == number
            await trio.sleep(0.1)

    async with frames.running(), trio.open_nursery() as nursery:
        await frames.plan(video("good", CLIP), PNG)
        nursery.start_soon(watch)
        nursery.start_soon(read)
        yield frames
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert 0 < most[0] < MEMORY_BYTES_MAX


class Endless(Bytes):
    """A file whose bytes come round again and again."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return bytes of any place."""
        await trio.lowlevel.checkpoint()
        at = offset % len(self._data)
        return (self._data[at:] + self._data * (size // len(self._data) + 1))[:size]


def endless(name: str, data: bytes) -> Video:
    """Return a video of a terabyte."""

    async def open() -> Endless:
        return Endless(data)

    return Video(name, 1 << 40, open, name)


@pytest.mark.parametrize("container", ["mpegts", "h264", "matroska", "avi"])
@unhurried
async def test_a_stream_without_end(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not LONG:
        monkeypatch.setattr(planning, "_DEADLINE_S", 12.0)
    bomb = endless("endless", clip(range(0, 200, 4), container=container, b_frames=0))
    async with watched() as frames:
        with trio.fail_after(BOMB_S):
            try:
                plan = await frames.plan(bomb, PNG)
                # Some containers say themselves where they end.
                assert plan.count <= 50
            except OxenfsError:
                pass
        await trio.sleep(1)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the boxes of an mp4, as kind and body."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def in_tracks(change: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]]) -> bytes:
    """Return the clip with other boxes in its `moov`."""
    parts = boxes(CLIP)
    assert [kind for kind, _ in parts][-1] == b"moov"  # or its chunks would have moved
    moov = b"".join(box(*part) for part in change(boxes(parts[-1][1])))
    return b"".join(box(*part) for part in parts[:-1]) + box(b"moov", moov)


@unhurried
async def test_thousands_of_streams() -> None:
    bomb = in_tracks(
        lambda parts: [p for p in parts for _ in range(5000 if p[0] == b"trak" else 1)]
    )
    assert bomb.count(b"trak") == 5000
    async with watched() as frames:
        with trio.fail_after(BOMB_S), pytest.raises(VideoError):
            await frames.plan(video("many", bomb), PNG)


@unhurried
async def test_a_table_of_millions_of_samples_in_a_few_bytes() -> None:
    def claimed(data: bytes, samples: int) -> bytes:
        for kind, entries in (
            # One size for all; all in one chunk; each as long as the other.
            (b"stsz", struct.pack(">IIII", 0, 1, samples, 0)[:12]),
            (b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
            (b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        ):
            at = data.index(kind) + 4
            data = data[:at] + entries + data[at + len(entries) :]
        return data

    async with watched() as frames:
        for samples in (10**6, 10**8, 0xFFFFFFF0):
            with trio.fail_after(BOMB_S):
                try:
                    plan = await frames.plan(
                        video(f"{samples} samples", claimed(CLIP, samples)), PNG
                    )
                    assert plan.count <= len(CLIP)
                except OxenfsError:
                    pass


def of_one_frame(packets: int, container: str) -> bytes:
    """Return a video of one frame, and so many packets from which none comes."""
    file = io.BytesIO()
    first = clip([0], codec="mpeg4", container="avi")
    with av.open(io.BytesIO(first), "r") as source, av.open(file, "w", format=container) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        (picture,) = [packet for packet in source.demux(video=0) if packet.size]
        picture.stream = stream
        out.mux(picture)
        for number in range(1, packets):
            packet = av.Packet(b"\0\0\1\xb2")
            packet.stream, packet.time_base = stream, picture.time_base
            packet.pts = packet.dts = number
            packet.duration = 1
            out.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("container", ["avi", "matroska"])
@unhurried
async def test_a_million_packets_of_one_frame(container: str) -> None:
    bomb = video("packets", of_one_frame(1_000_000 if LONG else 5_000, container))
    async with watched() as frames:
        with trio.fail_after(BOMB_S):
            try:
                plan = await frames.plan(bomb, parse("fps=5,size=32x32"))
                assert plan.count > 10
                for number in (0, plan.count // 2, plan.count - 1):
                    assert (await frames.picture(plan, number))[:2] == b"\xff\xd8"
            except OxenfsError:
                pass


SECRET = "file:///etc/passwd"
NESTED = {
    "a playlist of playlists": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{SECRET}\n" * 1000,
    "a playlist that has itself": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nbomb.mp4\n",
    "a playlist within a playlist": "#EXTM3U\n#EXTINF:1,\ndata:application/x-mpegurl,%23EXTM3U%0A"
    "%23EXTINF:1,%0Afile:///etc/passwd\n",
    "a concat list of concat lists": "ffconcat version 1.0\nfile data:text/plain,ffconcat%20version"
    "%201.0%0Afile%20/etc/passwd\n",
    "a manifest of manifests": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
    f"<Location>{SECRET}</Location><Period><AdaptationSet><BaseURL>{SECRET}</BaseURL>"
    "</AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("name", NESTED)
@unhurried
async def test_playlists_in_playlists(name: str) -> None:
    async with watched() as frames:
        with trio.fail_after(BOMB_S), pytest.raises(VideoError):
            await frames.plan(video(name, NESTED[name].encode()), PNG)
