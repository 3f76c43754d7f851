"""Frames of videos: in order, again, at random and as an array; the index; a long listing.

Peers in the same round: the ffmpeg command writing to memory, decord with PIL in this process,
ffprobe, and a folder of ext4 with as many names. Clips are drawn by ffmpeg's own test source.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from harness import Figure, alternate, arguments, at_least, at_most, compared, progress, run
from mounts import mounted, oxenfs

if TYPE_CHECKING:
    from work import Work

SPEC = "fps=5,size=256x256"
MEMORY = Path("/dev/shm")
SIZES = {"360p": "640x360", "1080p": "1920x1080"}


def make_clip(path: Path, size: str, seconds: int, gop: int, rate: int = 25) -> Path:
    """Encode a clip that moves and has noise, once; kept for later runs."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        progress(f"encoding {path.name}")
        source = f"testsrc2=size={size}:rate={rate}:duration={seconds},noise=alls=8:allf=t"
        made = path.with_suffix(".part.mp4")
        call = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source]
        call += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "28", "-g", str(gop)]
        call += ["-pix_fmt", "yuv420p", str(made)]
        subprocess.run(call, check=True)
        made.rename(path)
    return path


def make_repository(work: Work, clips: list[Path]) -> str:
    """Return the address of a repository of the clips."""
    source, folder = work.new_folder("source"), work.new_folder("repository") / "r"
    for clip in clips:
        shutil.copy2(clip, source / clip.name)
    oxenfs(work, "init", folder)
    oxenfs(work, "import", source, f"{folder}@main", "-m", "clips")
    return f"{folder}@main"


def names(folder: Path) -> list[str]:
    """Return what is in a folder, as cheaply as that can be asked."""
    with os.scandir(folder) as found:
        return [entry.name for entry in found]


def read_all(folder: Path) -> int:
    """Read all files of a folder in order; return how many there were."""
    found = sorted(names(folder))
    for name in found:
        (folder / name).read_bytes()
    return len(found)


def in_order(work: Work, address: str, clip: Path) -> tuple[float, float]:
    """Return the seconds of the first and the second epoch in a new mount."""
    with mounted(work, address) as mount:
        (mount.folder / clip.name).read_bytes()
        folder = mount.folder / ".frames" / SPEC / clip.name
        # The pool is awake, as in the middle of a training; the clip is not known yet.
        names(mount.folder / ".frames" / "first")
        time.sleep(1.0)
        started = time.perf_counter()
        count = read_all(folder)
        first = time.perf_counter() - started
        started = time.perf_counter()
        if read_all(folder) != count or not count:
            sys.exit("the second epoch has other files")
        return first, time.perf_counter() - started


def by_ffmpeg(clip: Path) -> float:
    """Return the seconds of the command that writes the same files to memory."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as out:
        filters = "fps=5,scale=256:256"
        call = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(clip), "-vf", filters]
        started = time.perf_counter()
        subprocess.run([*call, "-q:v", "2", f"{out}/%06d.jpg"], check=True)
        return time.perf_counter() - started


def at_random(read: Callable[[int], object], count: int, frames: int, seed: int) -> float:
    """Return files per second for reading `count` of `frames` files in random order."""
    order = random.Random(seed).sample(range(frames), count)
    started = time.perf_counter()
    for number in order:
        read(number)
    return count / (time.perf_counter() - started)


def random_figures(
    args: argparse.Namespace, work: Work, address: str, clip: Path, label: str
) -> list[Figure]:
    """Compare 100 random frames of one clip, resized and encoded, and rows of its array."""
    try:
        import decord
    except ImportError:
        progress("no decord (pip install decord): no random frames")
        return []
    from PIL import Image

    count = 20 if args.quick else 100
    frames = len(decord.VideoReader(str(clip)))
    seeds = iter(range(1000))

    def theirs() -> float:
        reader = decord.VideoReader(str(clip), width=256, height=256)

        def read(number: int) -> None:
            Image.fromarray(reader[number].asnumpy()).save(io.BytesIO(), "JPEG", quality=95)

        return at_random(read, count, frames, next(seeds))

    def ours() -> float:
        with mounted(work, address) as mount:
            folder = mount.folder / ".frames" / "all,size=256x256" / clip.name
            names(folder)
            return at_random(
                lambda number: (folder / f"{number + 1:06d}.jpg").read_bytes(),
                count,
                frames,
                next(seeds),
            )

    def rows() -> float:
        with mounted(work, address) as mount:
            path = mount.folder / ".frames" / "all,size=256x256" / f"{clip.name}.npy"
            array = np.load(path, mmap_mode="r")
            rate = at_random(lambda n: np.asarray(array[n]).sum(), count, frames, next(seeds))
            # A mapping keeps the mount busy.
            array._mmap.close()
            return rate

    found = alternate({"oxenfs": ours, "array": rows, "decord": theirs}, args.rounds)
    return [
        compared(
            f"{count} random frames of one clip, {label}",
            found["oxenfs"],
            "decord + PIL",
            found["decord"],
            "1/s",
            at_least(1.0),
        ),
        compared(
            f"np.load(mmap)[k], {label}",
            found["array"],
            "frame files",
            found["oxenfs"],
            "1/s",
            at_least(0.9),
        ),
    ]


def long_figures(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Index and list a long video."""
    minutes = 5 if args.quick else 120
    clip = make_clip(work.kept / "videos" / f"long-{minutes}.mp4", "128x96", 60 * minutes, 250)
    address = make_repository(work, [clip])
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts"]

    def ours() -> tuple[float, float]:
        with mounted(work, address) as mount:
            (mount.folder / clip.name).read_bytes()
            names(mount.folder / ".frames" / "first")
            time.sleep(1.0)
            started = time.perf_counter()
            names(mount.folder / ".frames" / "fps=5" / clip.name)
            index = time.perf_counter() - started
            started = time.perf_counter()
            names(mount.folder / ".frames" / "fps=5" / clip.name)
            return index, time.perf_counter() - started

    def theirs() -> tuple[float, float]:
        started = time.perf_counter()
        subprocess.run([*probe, str(clip)], check=True, stdout=subprocess.DEVNULL)
        index = time.perf_counter() - started
        with mounted(work, address, None) as mount:
            folder = mount.folder / ".frames" / "fps=5,bmp" / clip.name
            names(folder)
            started = time.perf_counter()
            names(folder)
            return index, time.perf_counter() - started

    found = alternate({"oxenfs": ours, "peer": theirs}, args.rounds)
    return [
        compared(
            f"index and first listing of {minutes} minutes",
            [a for a, _ in found["oxenfs"]],
            "ffprobe",
            [a for a, _ in found["peer"]],
            "s",
            at_most(1.0),
        ),
        compared(
            f"listing its {minutes * 300:,} frames again",
            [b for _, b in found["oxenfs"]],
            "the same with fixed sizes",
            [b for _, b in found["peer"]],
            "s",
            at_most(1.3),
        ),
    ]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Measure clip by clip."""
    if shutil.which("ffmpeg") is None:
        sys.exit("these figures need ffmpeg and ffprobe (apt-get install ffmpeg)")
    figures = []
    seconds = 10 if args.quick else 60
    for label, size in SIZES.items():
        for gop in (250,) if args.quick else (250, 600):
            name = f"{label}-{seconds}s-gop{gop}.mp4"
            clip = make_clip(work.kept / "videos" / name, size, seconds, gop)
            address = make_repository(work, [clip])
            found = alternate(
                {
                    "oxenfs": lambda a=address, c=clip: in_order(work, a, c),
                    "ffmpeg": lambda c=clip: (by_ffmpeg(c), 0.0),
                },
                args.rounds,
            )
            first = [a for a, _ in found["oxenfs"]]
            figures.append(
                compared(
                    f"all frames by {SPEC} in order, {label}, GOP {gop}",
                    first,
                    "ffmpeg",
                    [a for a, _ in found["ffmpeg"]],
                    "s",
                    at_most(1.15),
                )
            )
            figures.append(
                compared(
                    f"second epoch, {label}, GOP {gop}",
                    first,
                    "the second",
                    [b for _, b in found["oxenfs"]],
                    "s",
                    at_least(20),
                )
            )
            figures += random_figures(args, work, address, clip, f"{label}, GOP {gop}")
    return figures + long_figures(args, work)


def main() -> None:
    """Read the arguments and print the figures."""
    run(arguments("frames of videos", rounds=3).parse_args(), measure)


if __name__ == "__main__":
    main()
