"""Random reads of 256 KiB that the cache on disk has already, by one reader and by four.

The file is read through once, so that all of it is in the cache of the mount and of its peer,
`rclone mount` with a full cache. Then both are mounted anew with that cache, so that neither has
anything in memory, and read at random, aligned, each place once: the kernel's own pages never help.
The caches' files lie in the page cache. No byte comes over the network, which the link confirms.

    python benchmarks/remote_random.py [--size 536870912] [--quick]
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, progress, run
from link import link
from machine import warm
from mounts import mounted
from remotes import missing_peers, origin, plain_server, rclone_mount
from sequential import read_through
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

PIECE = 256 << 10
READERS = (1, 4)
NAME = FILE_NAME % 0


def read_at_random(path: Path, size: int, readers: int) -> float:
    """Read half of the places of a file, each once; return MB/s."""
    places = list(range(size // PIECE))
    random.Random(readers).shuffle(places)
    chosen = places[: len(places) // 2]
    totals = [0] * readers

    def reader(number: int) -> None:
        buffer = [memoryview(bytearray(PIECE))]
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for place in chosen[number::readers]:
                totals[number] += os.preadv(fd, buffer, place * PIECE)
        finally:
            os.close(fd)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(readers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if sum(totals) != len(chosen) * PIECE:
        raise SystemExit(f"{sum(totals)} bytes instead of {len(chosen) * PIECE}")
    return sum(totals) / seconds / 1e6


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Fill both caches, and alternate."""
    if missing_peers("rclone"):
        return []
    tree = Tree(0, 1, args.size)
    source = tree.at(work.kept)
    figures = []
    with (
        origin(work, tree) as served,
        plain_server(work, source) as plain,
        link(served.host, rtt_ms=0, rate=0) as ours_link,
        link(plain, rtt_ms=0, rate=0) as rclone_link,
    ):
        address = served.address(ours_link.host)
        caches = {name: work.new_folder(f"cache-{name}") for name in ("oxenfs", "rclone")}
        with mounted(work, address, caches["oxenfs"]) as mount:
            read_through(mount.folder / NAME, args.size)
        with rclone_mount(work, rclone_link.host, caches["rclone"]) as folder:
            read_through(folder / NAME, args.size)
            time.sleep(2)

        def ours(readers: int) -> float:
            with mounted(work, address, caches["oxenfs"]) as mount:
                warm(caches["oxenfs"])
                before = ours_link.counts()
                rate = read_at_random(mount.folder / NAME, args.size, readers)
                _nothing_moved("oxenfs", (ours_link.counts() - before).body_bytes)
            return rate

        def peer(readers: int) -> float:
            with rclone_mount(work, rclone_link.host, caches["rclone"]) as folder:
                warm(caches["rclone"])
                before = rclone_link.counts()
                rate = read_at_random(folder / NAME, args.size, readers)
                _nothing_moved("rclone", (rclone_link.counts() - before).body_bytes)
            return rate

        for readers in READERS:
            sides = {"oxenfs": partial(ours, readers), "rclone": partial(peer, readers)}
            found = alternate(sides, args.rounds)
            figures.append(
                compared(
                    f"random 256 KiB from the disk cache, {readers} reader{'s' * (readers > 1)}",
                    found["oxenfs"],
                    "rclone mount",
                    found["rclone"],
                    "MB/s",
                    at_least(1.0),
                )
            )
    return figures


def _nothing_moved(who: str, moved: int) -> None:
    # Questions about the tree are no bytes of the file.
    if moved > 1 << 20:
        progress(f"{who} fetched {moved:,} bytes that its cache should have had")


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("random reads from the cache on disk", rounds=5)
    parser.add_argument("--size", type=int, default=512 << 20, help="in bytes")
    args = parser.parse_args()
    if args.quick:
        args.size = min(args.size, 64 << 20)
    run(args, measure)


if __name__ == "__main__":
    main()
