"""Memory of a mount while 64 readers read files of 2 GB on a server at random for two minutes.

Each reader has an open file of its own, reads 256 KiB here and there, and now and then some MiB in
a row, so that reading ahead takes its part. The cache has a limit far below
what is read, so it evicts all the time. What counts is what belongs to the daemon and its children
alone (RssAnon + RssShmem), looked at ten times a second; the largest value is the figure.

    python benchmarks/remote_memory.py [--size 2147483648] [--seconds 120] [--readers 64] [--quick]
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, arguments, no_more_than, run
from link import link
from machine import private_memory
from mounts import mounted
from remotes import add_server, origin
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

PIECE = 256 << 10
RUN_PIECES = 16
RUN_PART = 0.05
RATE = 125e6
LOOK_S = 0.1
LIMIT_MB = 400
CACHE = "512M"


class Readers:
    """Threads that read at random until they are stopped."""

    def __init__(self, path: Path, size: int, count: int) -> None:
        self._path = path
        self._pieces = size // PIECE
        self._stop = threading.Event()
        self.bytes = [0] * count
        self.errors = 0
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(count)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, number: int) -> None:
        rng = random.Random(number)
        buffer = [memoryview(bytearray(PIECE))]
        fd = os.open(self._path, os.O_RDONLY)
        try:
            while not self._stop.is_set():
                place = rng.randrange(self._pieces)
                count = RUN_PIECES if rng.random() < RUN_PART else 1
                for piece in range(place, min(place + count, self._pieces)):
                    try:
                        self.bytes[number] += os.preadv(fd, buffer, piece * PIECE)
                    except OSError:
                        self.errors += 1
                # Or the kernel would answer all of it before long.
                os.posix_fadvise(fd, place * PIECE, count * PIECE, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Read, and look at the memory meanwhile."""
    tree = Tree(0, 1, args.size)
    with (
        origin(work, tree, args.real) as served,
        link(served.host, rtt_ms=args.rtt_ms, rate=RATE) as slow,
        mounted(work, served.address(slow.host), options=["--cache-size", CACHE]) as mount,
    ):
        pid = mount.pid
        at_rest = private_memory(pid)
        readers = Readers(mount.folder / (FILE_NAME % 0), args.size, args.readers)
        readers.start()
        peak = 0
        until = time.monotonic() + args.seconds
        while time.monotonic() < until:
            time.sleep(LOOK_S)
            peak = max(peak, private_memory(pid))
        readers.stop()
        moved = slow.counts().body_bytes
    if readers.errors:
        raise SystemExit(f"{readers.errors} reads failed")
    what = f"{args.readers} readers at random, {args.seconds:g} s, {served.kind}"
    read = sum(readers.bytes)
    return [
        Figure(
            f"largest private memory, {what}",
            peak / 1e6,
            "MB",
            goal=no_more_than(LIMIT_MB),
            note=f"{at_rest / 1e6:.0f} MB at rest",
        ),
        Figure(f"bytes moved per byte read, {what}", moved / read, "", note=f"{read / 1e6:.0f} MB"),
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("memory while many read large files at random", rounds=1)
    parser.add_argument("--size", type=int, default=2 << 30, help="in bytes")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--readers", type=int, default=64)
    parser.add_argument("--rtt-ms", type=float, default=20)
    add_server(parser)
    args = parser.parse_args()
    if args.quick:
        args.size, args.seconds = min(args.size, 256 << 20), min(args.seconds, 10)
    run(args, measure)


if __name__ == "__main__":
    main()
