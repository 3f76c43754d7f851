"""One large file over a link: how soon the first byte comes, and how fast all of them.

The link adds a round trip time and limits the rate; everybody goes through one of its own. The peer
is `curl` on a kept connection: of the chunk endpoint for the first bytes, of the whole file for the
rate. With `--download` the official client's download of the file is another, its start taken off.
For the mount each round is a new one with an empty cache. «Moved» is what the link counted.

    python benchmarks/remote_large.py [--size 1073741824] [--rtt-ms 0 20 80] [--real BINARY]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import Figure, Goal, alternate, arguments, at_least, compared, no_more_than, run
from link import Link, link
from machine import cpu_seconds, forget_pages
from mounts import mounted
from remotes import (
    Origin,
    add_server,
    chunk_url,
    curl_s,
    download_s,
    missing_peers,
    official,
    origin,
)
from sequential import read_through
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

CHUNK = 256 << 10
RANDOM_READS = 40
FIRST_BYTES = 4096
# What the first byte may cost beyond curl's time, and what reading it again may take at all.
FIRST_S, AGAIN_S = 0.015, 0.001
RATE = 125e6


@dataclass(frozen=True)
class Large:
    """What one mount gave.

    Attributes:
        first_s, again_s: of the first bytes of the file, and of the same again, once more asked of
            the daemon.
        rate: MB/s of all of it, from an empty cache.
        moved: bytes over the link for each byte of the file.
        per_random: bytes over the link for each random read of 4 KiB, far from all others.
        cpu: of the daemon, seconds for a GiB.
    """

    first_s: float
    again_s: float
    rate: float
    moved: float
    per_random: float
    cpu: float


def ours(work: Work, served: Origin, rtt_ms: float, size: int) -> Large:
    """Mount once for the first byte and random reads, once for all of the file."""
    name = FILE_NAME % 0
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        with mounted(work, served.address(slow.host)) as mount:
            path = mount.folder / name
            path.stat()
            # A kept connection, as the peer's: whoever mounts has asked before.
            time.sleep(1)
            fd = os.open(path, os.O_RDONLY)
            first_s = _timed_read(fd, 0)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            again_s = _timed_read(fd, 0)
            per_random = random_reads(fd, slow, size)
            os.close(fd)
        cache = work.new_folder("cache")
        with mounted(work, served.address(slow.host), cache) as mount:
            path = mount.folder / name
            path.stat()
            time.sleep(1)
            before, cpu = slow.counts(), cpu_seconds(mount.pid)
            rate = read_through(path, size)
            moved = (slow.counts() - before).body_bytes / size
            cpu = (cpu_seconds(mount.pid) - cpu) * (1 << 30) / size
            forget_pages(path)
        # As the peer's file: or each round takes memory that a virtual machine has yet to be given,
        # 3 s of processor for a GiB.
        shutil.rmtree(cache)
    return Large(first_s, again_s, rate, moved, per_random, cpu)


def random_reads(fd: int, slow: Link, size: int) -> float:
    """Read 4 KiB here and there; return what moved for each."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    chunks = range(8, size // CHUNK)
    chosen = random.Random(1).sample(chunks, min(RANDOM_READS, len(chunks) // 4))
    before = slow.counts()
    for chunk in chosen:
        os.pread(fd, FIRST_BYTES, chunk * CHUNK + 1000)
    return (slow.counts() - before).body_bytes / len(chosen)


def curl(served: Origin, rtt_ms: float, size: int) -> tuple[float, float]:
    """Return the seconds of a chunk on a kept connection, and MB/s of the whole file."""
    name = FILE_NAME % 0
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        first = chunk_url(slow.host, name, 0, CHUNK)
        _, chunk_s = curl_s([first, first])
        _, whole_s = curl_s([first, chunk_url(slow.host, name, 0, size)])
    return chunk_s, size / whole_s / 1e6


def downloaded(work: Work, served: Origin, rtt_ms: float, size: int) -> float:
    """Return the MB/s of an official download; what an empty program takes does not count."""
    started = time.perf_counter()
    official(work, "pass")
    start_s = time.perf_counter() - started
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        return size / (download_s(work, slow.host, FILE_NAME % 0) - start_s) / 1e6


def _timed_read(fd: int, offset: int) -> float:
    started = time.perf_counter()
    os.pread(fd, FIRST_BYTES, offset)
    return time.perf_counter() - started


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Alternate mount and curl for each round trip time."""
    tree = Tree(0, 1, args.size)
    figures: list[Figure] = []
    if missing_peers("curl"):
        return figures
    with origin(work, tree, args.real) as served:
        for rtt_ms in args.rtt_ms:
            mounts: list[Large] = []
            peers: list[tuple[float, float]] = []

            def mount(rtt_ms: float = rtt_ms, into: list[Large] = mounts) -> None:
                into.append(ours(work, served, rtt_ms, args.size))

            def peer(rtt_ms: float = rtt_ms, into: list[tuple[float, float]] = peers) -> None:
                into.append(curl(served, rtt_ms, args.size))

            downloads: list[float] = []

            def download(rtt_ms: float = rtt_ms, into: list[float] = downloads) -> None:
                into.append(downloaded(work, served, rtt_ms, args.size))

            sides = {"oxenfs": mount, "curl": peer}
            if args.download:
                sides["official download"] = download
            alternate(sides, args.rounds)
            # The first of each was the warm-up.
            where = f"{served.kind}, {rtt_ms:g} ms"
            figures += rows(where, mounts[1:], peers[1:])
            if args.download:
                rates = [found.rate for found in mounts[1:]]
                what = f"large file from an empty cache, {where}"
                goal = at_least(1.0)
                figures.append(
                    compared(what, rates, "official download", downloads[1:], "MB/s", goal)
                )
    return figures


def rows(where: str, found: list[Large], peer: list[tuple[float, float]]) -> list[Figure]:
    """Return the figures for one round trip time."""
    beyond = [1000 * (a.first_s - b[0]) for a, b in zip(found, peer, strict=True)]
    again = sorted(1000 * a.again_s for a in found)[len(found) // 2]
    random_bytes = sorted(a.per_random for a in found)[len(found) // 2]
    middle = sorted(beyond)[len(beyond) // 2]
    return [
        compared(
            f"first bytes of an unseen file, {where}",
            [1000 * a.first_s for a in found],
            "curl of the chunk",
            [1000 * b[0] for b in peer],
            "ms",
        ),
        Figure(f"the same, beyond curl's time, {where}", middle, "ms", goal=goal_ms(FIRST_S)),
        Figure(f"the same bytes again, {where}", again, "ms", goal=goal_ms(AGAIN_S)),
        compared(
            f"large file from an empty cache, {where}",
            [a.rate for a in found],
            "curl of the file",
            [b[1] for b in peer],
            "MB/s",
            at_least(0.95),
            note=f"moved {max(a.moved for a in found):.3f} bytes per byte",
        ),
        Figure(
            f"random 4 KiB of a large file, moved for each, {where}",
            random_bytes / 1024,
            "KiB",
            goal=no_more_than(CHUNK / 1024 + 1),
        ),
        Figure(
            f"daemon's CPU time, large file from an empty cache, {where}",
            sorted(a.cpu for a in found)[len(found) // 2],
            "s/GiB",
        ),
    ]


def goal_ms(seconds: float) -> Goal:
    """Return the goal of a time in milliseconds."""
    return no_more_than(1000 * seconds)


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("one large file over a link", rounds=3)
    parser.add_argument("--size", type=int, default=1 << 30, help="in bytes")
    parser.add_argument("--rtt-ms", type=float, nargs="+", default=[0, 20, 80])
    parser.add_argument("--download", action="store_true", help="also the official client's")
    add_server(parser)
    args = parser.parse_args()
    if args.quick:
        args.size, args.rtt_ms = min(args.size, 64 << 20), [20]
    run(args, measure)


if __name__ == "__main__":
    main()
