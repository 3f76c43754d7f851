"""All frames of clips in order: one reader, again, many clips by several readers; memory and disk.

Peer in the same round: the ffmpeg command that writes the same files to memory (two at a time for
many clips). Clips are drawn by ffmpeg's own test source.

    python benchmarks/frames.py [--quick] [--only order many codecs memory] [--size 360p]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clips import (
    CODECS,
    SIZES,
    awake,
    copies,
    make_clip,
    make_repository,
    names,
    need,
    read_all,
    together,
)
from harness import Figure, alternate, arguments, at_least, at_most, compared, no_more_than, run
from machine import private_memory

if TYPE_CHECKING:
    from work import Work

SPEC = "fps=5,size=256x256"
MEMORY = Path("/dev/shm")
SECTIONS = ("order", "many", "codecs", "memory")
READERS = 4
CLIPS = 16


def in_order(work: Work, address: str, clip: Path) -> tuple[float, float]:
    """Return the seconds of the first and the second epoch in a new mount."""
    with awake(work, address, [clip]) as mount:
        folder = mount.folder / ".frames" / SPEC / clip.name
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


def order_figures(
    args: argparse.Namespace, work: Work, clip: Path, label: str, *, goals: bool = True
) -> list[Figure]:
    """Compare one reader with the command, and the second epoch with the first."""
    address = make_repository(work, [clip])
    sides = {
        "oxenfs": lambda: in_order(work, address, clip),
        "ffmpeg": lambda: (by_ffmpeg(clip), 0.0),
    }
    found = alternate(sides, args.rounds)
    first = [a for a, _ in found["oxenfs"]]
    again = [b for _, b in found["oxenfs"]]
    theirs = [a for a, _ in found["ffmpeg"]]
    what = f"all frames by {SPEC} in order, {label}"
    goal, faster = (at_most(1.15), at_least(20)) if goals else (None, None)
    return [
        compared(what, first, "ffmpeg", theirs, "s", goal),
        compared(f"second epoch, {label}", first, "the second", again, "s", faster),
    ]


def many_figures(args: argparse.Namespace, work: Work, clip: Path, label: str) -> list[Figure]:
    """Compare several readers of many clips with as many commands, two at a time."""
    clips = copies(work, clip, CLIPS)
    address = make_repository(work, clips)
    disk: list[float] = []

    def ours() -> float:
        cache = work.new_folder("cache")
        with awake(work, address, clips, cache) as mount:
            folder = mount.folder / ".frames" / SPEC
            tasks = [lambda c=c: read_all(folder / c.name) for c in clips]
            seconds = together(tasks, READERS)
        disk.append(sum(f.stat().st_blocks * 512 for f in cache.rglob("*")) / 1e6)
        return seconds

    def theirs() -> float:
        return together([lambda c=c: by_ffmpeg(c) for c in clips], 2)

    found = alternate({"oxenfs": ours, "ffmpeg": theirs}, args.rounds)
    what = f"the same of {CLIPS} clips by {READERS} readers, {label}"
    peer = "ffmpeg, 2 at a time"
    return [
        compared(what, found["oxenfs"], peer, found["ffmpeg"], "s", at_most(1.15)),
        Figure(f"disk used by that epoch, all of it cache, {label}", disk[-1], "MB"),
    ]


def memory_figures(args: argparse.Namespace, work: Work, clip: Path) -> list[Figure]:
    """Watch daemon and children while eight readers read full pictures of eight clips."""
    clips = copies(work, clip, 8)
    address = make_repository(work, clips)
    most = [0.0]
    with awake(work, address, clips) as mount:
        folder, pid = mount.folder / ".frames" / "every=5,png", mount.pid
        done: list[float] = []

        def watch() -> None:
            while len(done) < len(clips):
                most[0] = max(most[0], private_memory(pid) / 1e6)
                time.sleep(0.05)

        def read(clip: Path) -> None:
            for name in sorted(names(folder / clip.name))[:60]:
                (folder / clip.name / name).read_bytes()
            done.append(0.0)

        together([watch, *(lambda c=c: read(c) for c in clips)], 9)
    goal = no_more_than(700)
    return [Figure("memory, daemon and children, 8 readers of 1080p", most[0], "MB", goal=goal)]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Measure what was asked for."""
    need("ffmpeg")
    figures: list[Figure] = []
    seconds = 10 if args.quick else 60
    for size in args.size:
        if "order" in args.only:
            for gop in (250,) if args.quick else (250, 600):
                clip = make_clip(work, size, seconds, gop)
                figures += order_figures(args, work, clip, f"{size}, GOP {gop}")
        if "many" in args.only:
            figures += many_figures(args, work, make_clip(work, size, 10, 250), size)
        if "codecs" in args.only:
            for codec in sorted(set(CODECS) - {"h264"}):
                clip = make_clip(work, size, 10, 250, codec)
                figures += order_figures(args, work, clip, f"{size}, {codec}", goals=False)
    if "memory" in args.only:
        figures += memory_figures(args, work, make_clip(work, "1080p", 10, 250))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("frames of clips in order", rounds=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    run(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
