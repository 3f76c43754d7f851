"""Which frames the odd clips have, and which of them rates show: as the ffmpeg tool counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxenfs.errors import IntegrityError
from oxenfs.frames.container import BadVideo
from oxenfs.frames.index import dump, load
from oxenfs.frames.scan import scan
from oxenfs.frames.select import select
from oxenfs.frames.source import Source, without_media
from oxenfs.frames.spec import parse

from .clips import TWO_SIZES, expected, source, source_of


@pytest.mark.parametrize("name", sorted(expected()))
def test_counts_are_those_of_the_tool(videos: Path, name: str) -> None:
    try:
        index = scan(source(videos / name))
    except BadVideo:
        found = dict.fromkeys(expected()[name], 0)
    else:
        found = {spec: len(select(index, parse(spec))) for spec in expected()[name]}
    assert found == expected()[name]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("zero.mp4", "the file is empty"),
        ("text.mp4", "not a video"),
        ("truncated_nomoov.mp4", "not a video"),
        ("audio_only.m4a", "no video stream"),
        ("cover.mp3", "only a cover picture"),
        ("bomb.gif", "not a video|pixels|can be decoded"),
    ],
)
def test_what_is_no_video_says_why(videos: Path, name: str, why: str) -> None:
    with pytest.raises(BadVideo, match=why):
        scan(source(videos / name))


@pytest.mark.parametrize("name", ["vfr.mp4", "raw.h264", "editlist_cut.mp4", "rotate90.mp4"])
def test_an_index_is_the_same_after_it_was_kept(videos: Path, name: str) -> None:
    index = scan(source(videos / name))
    assert load(dump(index)) == index


def test_a_damaged_index_is_noticed(videos: Path) -> None:
    data = dump(scan(source(videos / "vfr.mp4")))
    for at in range(0, len(data), 7):
        broken = bytearray(data)
        broken[at] ^= 0x10
        with pytest.raises(IntegrityError):
            load(bytes(broken))
    with pytest.raises(IntegrityError):
        load(data[:-1])


class Counting(Source):
    """Counts the bytes that are really fetched."""

    def __init__(self, data: bytes) -> None:
        self.fetched = 0

        def fetch(offset: int, size: int) -> bytes:
            self.fetched += size
            return data[offset : offset + size]

        super().__init__(fetch, len(data))


@pytest.mark.parametrize("name", ["cfr25_bframes.mp4", "cfr2997_faststart.mp4"])
def test_the_index_of_an_mp4_needs_no_media_data(videos: Path, name: str) -> None:
    whole = (videos / name).read_bytes()
    at = whole.index(b"mdat") + 4
    # So much media that it would show.
    size = int.from_bytes(whole[at - 8 : at - 4], "big") + (8 << 20)
    behind = at + size - (8 << 20) - 8
    if whole.index(b"moov") > at:
        data = whole[: at - 8] + size.to_bytes(4, "big") + whole[at - 4 : behind]
        data += bytes(8 << 20) + whole[behind:]
    else:
        data = whole[: at - 8] + size.to_bytes(4, "big") + whole[at - 4 :] + bytes(8 << 20)
    counting = Counting(data)
    assert without_media(counting) is not None
    index = scan(counting)
    assert index.trusted
    assert index.pts == scan(source_of(whole)).pts
    assert index.keys == scan(source_of(whole)).keys
    assert counting.fetched < 2 << 20


def test_keyframes_of_tables_are_those_of_the_packets(videos: Path) -> None:
    import av

    for name in ("cfr25_bframes.mp4", "opengop.mp4", "av1.mp4", "opengop_hevc.mp4"):
        with av.open(str(videos / name)) as container:
            found = [p for p in container.demux(container.streams.video[0]) if p.size]
        found.sort(key=lambda packet: packet.pts or 0)
        keys = [number for number, packet in enumerate(found) if packet.is_keyframe]
        assert list(scan(source(videos / name)).keys) == keys


def test_a_file_of_two_sizes_can_be_listed(videos: Path) -> None:
    assert scan(source(videos / TWO_SIZES)).count == 50
