"""Frames of videos on a server, nothing cached, over a link: the first one, and a training's.

The first frame of a large video that nobody has seen: bytes and requests are what the link counted;
round trips, the seconds that 400 ms more for each add. A training-shaped read: three frames of each
of many clips by several workers, in random order. Peer of that: all clips downloaded by curl over
an equal link, the same frames written by ffmpeg, two commands at a time, and read.

    python benchmarks/frames_remote.py [--quick] [--only first training] [--rtt-ms 20]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clips import copies, make_clip, make_repository, names, need, together
from harness import Figure, alternate, arguments, at_most, compared, no_more_than, run
from link import link
from mounts import mounted, repository_folder
from remotes import NAME, Origin, served

if TYPE_CHECKING:
    from work import Work

RATE = 125e6
WORKERS = 8
BATCH = 32
SPEC = "first+middle+last,size=256x256"
SECTIONS = ("first", "training")
MORE_MS = 400


def large(work: Work, *, front: bool) -> Path:
    """Return a clip of about 100 MB, its table in front or at the end."""
    dear = ["-preset", "ultrafast", "-crf", "24"]
    more = ["-movflags", "+faststart"] if front else []
    return make_clip(work, "1080p", 25, 250, more=[*dear, *more])


def first_figures(args: argparse.Namespace, work: Work, *, front: bool) -> list[Figure]:
    """Count what the first frame of an unseen video moves, and how often it waits for an answer."""
    clip = large(work, front=front)
    size = clip.stat().st_size
    shares: list[float] = []
    requests: list[float] = []
    trips: list[float] = []
    with served(work, repository_folder(make_repository(work, [clip]))) as server:

        def once(rtt_ms: float, *, count: bool) -> float:
            with (
                link(server.host, rtt_ms=rtt_ms, rate=RATE) as slow,
                mounted(work, server.address(slow.host)) as mount,
            ):
                names(mount.folder)
                # A decoding process runs, as in the middle of a training.
                names(mount.folder / ".frames" / "first")
                time.sleep(1.0)
                before = slow.counts()
                started = time.perf_counter()
                frame = (mount.folder / ".frames" / "first" / clip.name / "000001.jpg").read_bytes()
                seconds = time.perf_counter() - started
                assert frame[:2] == b"\xff\xd8"
                if count:
                    time.sleep(0.5)  # what is read ahead may still be under way
                    moved = slow.counts() - before
                    shares.append(100 * moved.body_bytes / size)
                    requests.append(moved.requests)
            return seconds

        for _ in range(args.rounds):
            near = once(args.rtt_ms, count=True)
            far = once(args.rtt_ms + MORE_MS, count=False)
            trips.append((far - near) * 1000 / MORE_MS)
    where = f"{size / 1e6:.0f} MB mp4, table {'in front' if front else 'at the end'}"
    return [
        Figure(
            f"first frame of an unseen {where}: bytes moved",
            statistics.median(shares),
            "%",
            goal=no_more_than(5),
        ),
        Figure(
            f"round trips that it waits for, {where}",
            statistics.median(trips),
            "",
            goal=no_more_than(6),
            note=f"{statistics.median(requests):.0f} requests",
        ),
    ]


def training(work: Work, server: Origin, clips: list[Path], rtt_ms: float) -> tuple[float, float]:
    """Return the seconds to the first batch and to the end, cold."""
    done: list[float] = []
    lock = threading.Lock()
    with (
        link(server.host, rtt_ms=rtt_ms, rate=RATE) as slow,
        mounted(work, server.address(slow.host)) as mount,
    ):
        folder = mount.folder / ".frames" / SPEC
        started = time.perf_counter()

        def sample(clip: Path) -> None:
            for name in ("000001.jpg", "000002.jpg", "000003.jpg"):
                assert (folder / clip.name / name).read_bytes()[:2] == b"\xff\xd8"
            with lock:
                done.append(time.perf_counter() - started)

        total = together([lambda c=c: sample(c) for c in clips], WORKERS)
    return done[min(BATCH, len(done)) - 1], total


def dumped(work: Work, server: Origin, clips: list[Path], rtt_ms: float) -> tuple[float, float]:
    """Return the seconds of a download, a dump of the same frames and reading them."""
    source, out = work.new_folder("download"), work.new_folder("dump")
    last = 249
    chosen = f"select=eq(n\\,0)+eq(n\\,{(last + 1) // 2})+eq(n\\,{last}),scale=256:256"

    def dump(clip: Path) -> None:
        (out / clip.stem).mkdir()
        call = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(source / clip.name)]
        call += ["-vf", chosen, "-fps_mode", "passthrough", "-q:v", "2"]
        subprocess.run([*call, str(out / clip.stem / "%06d.jpg")], check=True)

    with link(server.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        base = f"http://{slow.host}/api/repos/{NAME}/file/main"
        config = "".join(f'url = "{base}/{c.name}"\noutput = "{source / c.name}"\n' for c in clips)
        started = time.perf_counter()
        call = ["curl", "-sS", "--fail", "--parallel", "--parallel-max", str(WORKERS), "-K", "-"]
        subprocess.run(call, input=config, text=True, check=True)
        together([lambda c=c: dump(c) for c in clips], 2)
        for clip in clips:
            files = sorted((out / clip.stem).iterdir())
            assert len(files) == 3, clip
            for file in files:
                file.read_bytes()
        total = time.perf_counter() - started
    return total, total


def training_figures(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Compare a training-shaped read with a dump."""
    clips = copies(work, make_clip(work, "360p", 10, 250), 40 if args.quick else 200)
    with served(work, repository_folder(make_repository(work, clips))) as server:
        order = list(clips)
        random.Random(0).shuffle(order)
        sides = {
            "oxenfs": lambda: training(work, server, order, args.rtt_ms),
            "dump": lambda: dumped(work, server, order, args.rtt_ms),
        }
        found = alternate(sides, args.rounds, warm_up=False)
    what = f"3 frames of each of {len(clips)} clips, {WORKERS} workers, cold, {args.rtt_ms:g} ms"
    first = [a for a, _ in found["oxenfs"]]
    ours = [b for _, b in found["oxenfs"]]
    theirs = [b for _, b in found["dump"]]
    return [
        compared(what, ours, "download, ffmpeg, read", theirs, "s", at_most(0.7)),
        Figure(
            f"its first batch of {BATCH} clips", statistics.median(first), "s", goal=no_more_than(3)
        ),
    ]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Measure what was asked for."""
    need("ffmpeg", "curl")
    figures: list[Figure] = []
    if "first" in args.only:
        figures += first_figures(args, work, front=True) + first_figures(args, work, front=False)
    if "training" in args.only:
        figures += training_figures(args, work)
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("frames of videos on a server", rounds=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rtt-ms", type=float, default=20)
    run(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
