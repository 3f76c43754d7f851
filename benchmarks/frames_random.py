"""Frames at random: one of each clip, 100 of one clip, rows of its array, beside other ways.

Peers in the same round, in this process: decord and torchcodec with PIL's encoder, with a reader
that is kept and with a new one for each frame (`pip install decord torchcodec`); ffmpegfs with a
frame set, the same frames of a mount (`apt-get install ffmpegfs`). What is not here is left out.

    python benchmarks/frames_random.py [--quick] [--only kept fresh array ffmpegfs] [--size 360p]
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import itertools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from clips import SIZES, at_random, awake, copies, make_clip, make_repository, names, need
from harness import Figure, alternate, arguments, at_least, compared, progress, run
from PIL import Image
from unmounting import unmounted_after

if TYPE_CHECKING:
    from work import Work

SPEC = "all,size=256x256"
SIDE = 256
SECTIONS = ("kept", "fresh", "array", "ffmpegfs")

Opened = Callable[[int], Any]
"""Returns frame number so and so of a clip, uint8[256, 256, 3]."""


def open_decord(clip: Path) -> Opened:
    """Open a clip with decord."""
    import decord

    reader = decord.VideoReader(str(clip), width=SIDE, height=SIDE)
    return lambda number: reader[number].asnumpy()


def open_torchcodec(clip: Path) -> Opened:
    """Open a clip with torchcodec, with its quicker way to seek, and a thread for each core."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(
        str(clip),
        dimension_order="NHWC",
        num_ffmpeg_threads=os.cpu_count() or 1,
        seek_mode="approximate",
        transforms=[Resize((SIDE, SIDE))],
    )
    return lambda number: decoder[number].numpy()


OPENERS = {"decord": open_decord, "torchcodec": open_torchcodec}


def encoded(pixels: Any) -> bytes:
    """Return a JPEG about as large as ffmpeg's at q=2."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def peers() -> list[str]:
    """Return which of the libraries are here."""
    found = [name for name in OPENERS if importlib.util.find_spec(name) is not None]
    for name in sorted(set(OPENERS) - set(found)):
        progress(f"no {name} here (pip install {name}): left out")
    return found


def kept_figures(args: argparse.Namespace, work: Work, clip: Path, label: str) -> list[Figure]:
    """Compare random frames of one clip, with a reader that is kept; and rows of its array."""
    address = make_repository(work, [clip])
    count = 20 if args.quick else 100
    frames = 25 * args.seconds
    # All sides of a round read the same numbers.
    seeds = {name: itertools.count() for name in ("oxenfs", "array", *OPENERS)}

    def ours() -> float:
        with awake(work, address, [clip]) as mount:
            folder = mount.folder / ".frames" / SPEC / clip.name
            names(folder)
            return at_random(
                lambda number: (folder / f"{number + 1:06d}.jpg").read_bytes(),
                count,
                frames,
                next(seeds["oxenfs"]),
            )

    def rows() -> float:
        with awake(work, address, [clip]) as mount:
            path = mount.folder / ".frames" / SPEC / f"{clip.name}.npy"
            array = np.load(path, mmap_mode="r")
            rate = at_random(
                lambda n: np.asarray(array[n]).sum(), count, frames, next(seeds["array"])
            )
            # A mapping keeps the mount busy.
            array._mmap.close()
            return rate

    def theirs(name: str) -> float:
        read = OPENERS[name](clip)
        read(0)
        return at_random(lambda n: encoded(read(n)), count, frames, next(seeds[name]))

    sides: dict[str, Callable[[], float]] = {"oxenfs": ours}
    if "array" in args.only:
        sides["array"] = rows
    if "kept" in args.only:
        sides |= {name: lambda n=name: theirs(n) for name in peers()}
    found = alternate(sides, args.rounds)
    figures = [
        compared(
            f"{count} random frames of one clip, {label}",
            found["oxenfs"],
            f"{name} + PIL, kept",
            found[name],
            "1/s",
            at_least(1.0),
        )
        for name in found
        if name in OPENERS
    ]
    if "array" in found:
        what = f"np.load(mmap)[k], {label}"
        goal = at_least(0.9)
        figures.append(compared(what, found["array"], "files", found["oxenfs"], "1/s", goal))
    return figures


def fresh_figures(args: argparse.Namespace, work: Work, clip: Path, label: str) -> list[Figure]:
    """Compare one random frame of each of many clips that nobody has looked at."""
    clips = copies(work, clip, 8 if args.quick else 24)
    address = make_repository(work, clips)
    rounds = {name: itertools.count() for name in ("oxenfs", *OPENERS)}

    def picks(name: str) -> list[tuple[Path, int]]:
        seeded = random.Random(next(rounds[name]))
        return [(clip, seeded.randrange(250)) for clip in clips]

    def rate(name: str, read: Callable[[Path, int], object]) -> float:
        chosen = picks(name)
        started = time.perf_counter()
        for clip, number in chosen:
            read(clip, number)
        return len(clips) / (time.perf_counter() - started)

    def ours() -> float:
        with awake(work, address, clips) as mount:
            folder = mount.folder / ".frames" / SPEC
            return rate("oxenfs", lambda c, n: (folder / c.name / f"{n + 1:06d}.jpg").read_bytes())

    def theirs(name: str) -> float:
        return rate(name, lambda c, n: encoded(OPENERS[name](c)(n)))

    sides: dict[str, Callable[[], float]] = {"oxenfs": ours}
    sides |= {name: lambda n=name: theirs(n) for name in peers()}
    found = alternate(sides, args.rounds)
    what = f"one random frame of each of {len(clips)} unseen clips, {label}"
    return [
        compared(what, found["oxenfs"], f"{name} + PIL, fresh", found[name], "1/s", at_least(1.0))
        for name in found
        if name in OPENERS
    ]


@contextmanager
def ffmpegfs(work: Work, source: Path) -> Iterator[Path]:
    """Mount a folder of videos with ffmpegfs as sets of BMP frames: of JPEG it cannot seek back."""
    folder, cache = work.new_folder("ffmpegfs"), work.new_folder("cache")
    options = f"desttype=BMP,cachepath={cache},ro"
    call = ["ffmpegfs", "-f", str(source), str(folder), "-o", options]
    process = subprocess.Popen(
        call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    with unmounted_after(folder, process):
        while not os.path.ismount(folder) and process.poll() is None:
            time.sleep(0.05)
        yield folder


def ffmpegfs_figures(args: argparse.Namespace, work: Work, clip: Path, label: str) -> list[Figure]:
    """Compare random frames of a mount: its own width and height, as ffmpegfs only knows those."""
    if shutil.which("ffmpegfs") is None:
        progress("no ffmpegfs here (apt-get install ffmpegfs): left out")
        return []
    address = make_repository(work, [clip])
    source = work.new_folder("videos")
    shutil.copy2(clip, source / clip.name)
    count, frames = 5 if args.quick else 20, 25 * args.seconds
    seeds = {name: itertools.count() for name in ("oxenfs", "ffmpegfs")}
    late: list[int] = []

    def ours() -> float:
        with awake(work, address, [clip]) as mount:
            return rate(mount.folder / ".frames" / "all,bmp" / clip.name, "oxenfs")

    def theirs() -> float:
        with ffmpegfs(work, source) as folder:
            return rate(folder / clip.name, "ffmpegfs")

    def rate(folder: Path, name: str) -> float:
        listed = sorted(names(folder))
        wanted = [listed[n] for n in random.Random(next(seeds[name])).sample(range(frames), count)]
        seconds, done = 0.0, 0
        for each in wanted:
            started = time.perf_counter()
            try:
                data = (folder / each).read_bytes()
            except TimeoutError:
                # Some of its reads after the first seek back end so, after ten seconds.
                assert name == "ffmpegfs"
                late.append(0)
                continue
            assert data[:2] == b"BM", f"{name}: {each} is no BMP"
            seconds += time.perf_counter() - started
            done += 1
        return done / seconds

    found = alternate({"oxenfs": ours, "ffmpegfs": theirs}, args.rounds)
    what = f"{count} random frames of a mount, {label}"
    goal = at_least(5)
    note = f"left out: {len(late)} reads of ffmpegfs that timed out" if late else ""
    return [compared(what, found["oxenfs"], "ffmpegfs", found["ffmpegfs"], "1/s", goal, note)]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Measure what was asked for."""
    need("ffmpeg")
    figures: list[Figure] = []
    args.seconds = 10 if args.quick else 60
    for size in args.size:
        if {"kept", "array"} & set(args.only):
            for gop in (250,) if args.quick else args.gop:
                clip = make_clip(work, size, args.seconds, gop)
                figures += kept_figures(args, work, clip, f"{size}, GOP {gop}")
        if "fresh" in args.only:
            figures += fresh_figures(args, work, make_clip(work, size, 10, 250), size)
        if "ffmpegfs" in args.only:
            clip = make_clip(work, size, args.seconds, 250)
            figures += ffmpegfs_figures(args, work, clip, size)
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("frames at random", rounds=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--gop", nargs="+", type=int, default=[250, 600])
    run(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
