"""Pictures against the ffmpeg tool's, file by file."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oxenfs.frames import decode
from oxenfs.frames.container import BadVideo
from oxenfs.frames.decode import Decoder
from oxenfs.frames.filters import Pipeline
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.pictures import bound, encode, exact_size
from oxenfs.frames.scan import scan
from oxenfs.frames.select import select
from oxenfs.frames.spec import Spec, parse
from oxenfs.frames.videos import Decoders, Video

from .clips import BROKEN_TIMES, COVER, DAMAGED, TWO_SIZES, expected, source

SPECS = [
    "all,png",
    "fps=5,png",
    "fps=30000:1001,size=100x80,png",
    "every=7,crop=50:40:7:9,png",
    "fps=3.5,start=0.4,end=1.6,png",
    "keyframes,size=64x-2,bmp",
    "every=3,bmp",
    "all,start=0.3,end=1.1,crop=48:32:3:5,size=40x30,png",
]

# Of these the versions of the tool disagree with each other or with the packets over what a
# keyframe is: an intra refresh has recovery points, qtrle, smc and rpza mark nothing.
ODD_KEYS = {"intra_refresh.mp4", "alpha_qtrle.mov", "palette_qtrle.mov", "palette_smc.mov"}
ODD_KEYS |= {"rpza.mov"}

# Times go backwards: the tool drops pictures of these, with a warning, and only as JPEG.
BACKWARDS = {"unstamped_copy.mp4", "unstamped_cut.mp4", "gap.ts", "gap_mpeg2.ts", "gap_twice.ts"}
# Of this one all but a few, as the clock of the tool's encoder has the rate that is guessed wrong.
BACKWARDS |= {"raw_fast.h264"}

# Of one bit per pixel: versions of the tool scale such pictures differently.
MONO = "mono_png.mov"

# Versions of the library make up differently what a damaged picture lacks.
CONCEALED = "damaged_key.avi"

NAMES = sorted(set(expected()) - {COVER, DAMAGED, BROKEN_TIMES, TWO_SIZES})


def run_tool(tool: str, video: Path, spec: Spec, out: Path) -> list[Path]:
    """Let the ffmpeg tool write the files of a SPEC."""
    filters = []
    if spec.rate is not None:
        filters.append(f"fps={spec.rate}")
    if spec.start is not None and spec.end is not None:
        filters.append(f"trim=start={float(spec.start)}:end={float(spec.end)}")
    if spec.select == "every":
        filters.append(f"select=not(mod(n\\,{spec.every}))")
    if spec.select == "keyframes":
        filters.append("select=key")
    pictures = spec.pictures
    if pictures.crop is not None:
        filters.append("crop=" + ":".join(map(str, pictures.crop)))
    if pictures.size is not None:
        filters.append("scale=" + ":".join(map(str, pictures.size)))
    if pictures.gray:
        filters.append("format=gray")
    call = [tool, "-nostdin", "-loglevel", "error", "-i", str(video)]
    if spec.rate is None or spec.start is not None:
        call += ["-fps_mode", "passthrough"]
    if filters:
        call += ["-vf", ",".join(filters)]
    call += ["-q:v", str(pictures.q or 2), f"{out}/%06d.{spec.extension}"]
    subprocess.run(call, check=False, capture_output=True, timeout=120)
    return sorted(out.iterdir())


def ours(decoder: Decoder, index: FrameIndex, spec: Spec) -> list[bytes]:
    """Return the files of a SPEC, decoded in order."""
    pipeline = Pipeline(index.shape, spec.pictures)
    exact, most = exact_size(pipeline, spec.pictures), bound(pipeline, spec.pictures)
    files = []
    wanted = select(index, spec)
    decoder.coming = sorted(wanted)
    for number in wanted:
        frame = decoder.held(number) if spec.holds else decoder.frame(number)
        assert frame is not None, number
        files.append(encode(pipeline.apply(frame), spec.pictures, pipeline.aspect))
        assert len(files[-1]) <= most
        assert exact in (None, len(files[-1]))
    return files


def same_pixels(found: bytes, wanted: bytes) -> bool:
    one, other = Image.open(io.BytesIO(found)), Image.open(io.BytesIO(wanted))
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


def without_version(jpg: bytes) -> bytes:
    """Return a JPEG without its comment, which names the encoder's version."""
    at = jpg.index(b"\xff\xfe")
    return jpg[:at] + jpg[at + 2 + int.from_bytes(jpg[at + 2 : at + 4], "big") :]


def compare(
    tool: str, video: Path, texts: list[str], out: Path, same: Callable[[bytes, bytes], bool]
) -> None:
    try:
        index = scan(source(video))
    except BadVideo:
        index = None
    for number, text in enumerate(texts):
        spec = parse(text)
        if spec.select == "keyframes" and video.name in ODD_KEYS:
            continue
        made = out / str(number)
        made.mkdir()
        wanted = [path.read_bytes() for path in run_tool(tool, video, spec, made)]
        if index is None:
            assert wanted == [], text
            continue
        why = ""
        try:
            found = ours(Decoder(source(video), index), index, spec)
        except BadVideo as exc:
            # A crop that does not fit: the tool writes nothing either.
            found, why = [], str(exc)
        assert len(found) == len(wanted), text
        assert found or not why or "crop" in why
        wrong = [
            at + 1
            for at, (a, b) in enumerate(zip(found, wanted, strict=True))
            if a != b and not same(a, b)
        ]
        assert wrong == [], text


@pytest.mark.parametrize("name", [name for name in NAMES if name != CONCEALED])
def test_pictures_have_the_tools_pixels(videos: Path, tmp_path: Path, name: str) -> None:
    specs = [text for text in SPECS if name != MONO or "crop" not in text]
    compare(shutil.which("ffmpeg") or "", videos / name, specs, tmp_path, same_pixels)


def test_a_stream_without_a_container_is_cut_where_the_tool_cuts(
    videos: Path, tmp_path: Path
) -> None:
    texts = ["every=2,start=0.21,end=0.61,png", "all,start=0.7,end=1.01,png"]
    compare(shutil.which("ffmpeg") or "", videos / "raw.h264", texts, tmp_path, same_pixels)


def test_times_that_jump_are_cut_where_the_tool_cuts(videos: Path, tmp_path: Path) -> None:
    texts = [
        "all,start=1.2,end=30,png",
        "every=2,start=0.3,end=2,png",
        "fps=3,start=4,end=16.5,png",
    ]
    compare(shutil.which("ffmpeg") or "", videos / "gap.ts", texts, tmp_path, same_pixels)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_a_tool_of_the_same_library(
    videos: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "ALONE_PIXELS", 0)  # as large pictures: by two threads
    tools = pytest.importorskip("imageio_ffmpeg", reason="no newer ffmpeg (imageio-ffmpeg)")
    tool = tools.get_ffmpeg_exe()
    if "-v9" not in Path(tool).name:
        pytest.skip(f"{tool} is not of version 9")
    texts = ["fps=5,q=2", "all,size=100x80,q=7", "fps=5,gray", "every=9,gray,png", "every=3,bmp"]
    texts += ["every=9,gray,crop=33:21:7:5,png"]
    if name == CONCEALED:
        texts += ["keyframes,q=3", "every=2,start=0.82,end=1.3,bmp"]
    if name in BACKWARDS:
        texts = [text for text in texts if not text.startswith("all")]
    compare(
        tool,
        videos / name,
        texts,
        tmp_path,
        lambda a, b: a[:2] == b"\xff\xd8" and without_version(a) == without_version(b),
    )


@pytest.mark.parametrize("name", [*NAMES, DAMAGED, TWO_SIZES, BROKEN_TIMES])
def test_random_order_by_threads_gives_what_sequential_order_gives(
    videos: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        index = scan(source(videos / name))
    except BadVideo:
        return
    spec = parse("all,png")
    pipeline = Pipeline(index.shape, spec.pictures)

    def one(decoder: Decoder, number: int) -> bytes | None:
        frame = decoder.frame(number)
        return (
            None if frame is None else encode(pipeline.apply(frame), spec.pictures, pipeline.aspect)
        )

    decoder = Decoder(source(videos / name), index)
    order = list(range(index.count))
    in_order = [one(decoder, number) for number in order]
    assert None not in in_order or name == DAMAGED
    random.Random(name).shuffle(order)
    monkeypatch.setattr(decode, "ALONE_PIXELS", 0)
    again = Decoder(source(videos / name), index)
    wrong = [number for number in order[:60] if one(again, number) != in_order[number]]
    assert wrong == []


def test_a_damaged_frame_is_missing_and_held_at_a_rate(videos: Path) -> None:
    index = scan(source(videos / DAMAGED))
    decoder = Decoder(source(videos / DAMAGED), index)
    missing = [number for number in range(index.count) if decoder.frame(number) is None]
    assert len(missing) == 1
    held = decoder.held(missing[0])
    assert held is not None
    assert held.pts == index.pts[missing[0] - 1]


@pytest.mark.parametrize("pixels", [0, 1 << 19])
def test_small_pictures_are_decoded_by_one_thread(
    videos: Path, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "ALONE_PIXELS", pixels)
    index = scan(source(videos / "gop250.mp4"))
    decoder = Decoder(source(videos / "gop250.mp4"), index)
    assert decoder.stream.codec_context.thread_count == (1 if pixels else decode.THREADS)


def test_times_are_exact(videos: Path) -> None:
    index = scan(source(videos / "cfr2997_faststart.mp4"))
    assert [index.time(number) for number in (0, 1, 30)] == [
        0,
        Fraction(1001, 30000),
        Fraction(30 * 1001, 30000),
    ]


def test_what_comes_with_a_picture_and_has_no_name_does_no_harm(videos: Path) -> None:
    assert scan(source(videos / "exif.avi")).shape.matrix == ()
    turned = scan(source(videos / "exif_turned.mov")).shape
    assert turned.matrix
    assert turned.attached == 14
    png = parse("png").pictures
    assert Pipeline(turned, png).width == turned.height
    assert bound(Pipeline(turned, png), png) > bound(
        Pipeline(replace(turned, attached=0), png), png
    )


@pytest.mark.parametrize("name", ["palette.avi", "palette.mov", "rpza.mov"])
def test_decoding_that_must_begin_at_the_start_goes_on_where_it_is(videos: Path, name: str) -> None:
    video = Video(source(videos / name))
    decoders = Decoders()
    used = set()
    for number in range(video.index().count):
        decoder = decoders.at(name, video, number)
        assert decoder.frame(number) is not None
        used.add(id(decoder))
    assert len(used) == 1
    assert len(scan(source(videos / "palettes_png.mov")).seeks) == 5
    assert len(scan(source(videos / "mjpeg422.mov")).seeks) == 10
