"""Many small files over a link: a shuffled epoch by 16 readers, cold, and again after a remount.

The link adds a round trip time and limits the rate; everybody goes through one of its own. Peers:
`rclone mount` with a full cache, of what `rclone serve http` gives of the same files (names listed
beforehand on both sides); the official client's clone of the same repository from the same server;
for the second epoch, which needs no network, the pass-through yardstick on the source files. «1%»
is a shuffled sample, and what the link counted for each byte that was read.

    python benchmarks/remote_small.py [--files 10000] [--rtt-ms 20] [--clone] [--real BINARY]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, no_more_than, run
from link import link
from machine import cpu_seconds, warm
from mounts import mounted, yardstick
from remotes import Origin, add_server, clone_s, missing_peers, origin, plain_server, rclone_mount
from small_files import names_below
from trees import Tree

if TYPE_CHECKING:
    from work import Work

READERS = 16
FOLDERS = 10
RATE = 125e6
SAMPLE = 0.01


@dataclass(frozen=True)
class Epochs:
    """What one mount gave.

    Attributes:
        cold, again: files per second, of the first epoch and of the one after a remount.
        moved: bytes over the link for each byte read, in the first epoch.
        sample_moved: the same for 1% of the files, with an empty cache.
        cpu: of the daemon, seconds for 10,000 files, first epoch.
    """

    cold: float
    again: float
    moved: float
    sample_moved: float
    cpu: float


def epoch(folder: Path, names: list[str], size: int) -> float:
    """Read files by many readers, in turn; return files per second."""
    buffers = [[memoryview(bytearray(size + 1))] for _ in range(READERS)]
    totals = [0] * READERS

    def reader(number: int) -> None:
        for name in names[number::READERS]:
            fd = os.open(folder / name, os.O_RDONLY)
            try:
                totals[number] += os.readv(fd, buffers[number])
            finally:
                os.close(fd)

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(READERS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if sum(totals) != size * len(names):
        raise SystemExit(f"{sum(totals)} bytes instead of {size * len(names)}")
    return len(names) / seconds


def shuffled(folder: Path) -> list[str]:
    """Return all files in the order of an epoch; their names and attributes are known then."""
    names = names_below(folder)
    random.Random(0).shuffle(names)
    return names


def ours(work: Work, served: Origin, tree: Tree, rtt_ms: float) -> Epochs:
    """Mount with an empty cache, remount with what it has then, and once more for the sample."""
    cache = work.new_folder("cache")
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        address = served.address(slow.host)
        with mounted(work, address, cache) as mount:
            names = shuffled(mount.folder)
            before, cpu = slow.counts(), cpu_seconds(mount.pid)
            cold = epoch(mount.folder, names, tree.size)
            moved = (slow.counts() - before).body_bytes / (tree.size * len(names))
            cpu = (cpu_seconds(mount.pid) - cpu) * 10_000 / len(names)
        with mounted(work, address, cache) as mount:
            names = shuffled(mount.folder)
            again = epoch(mount.folder, names, tree.size)
        with mounted(work, address) as mount:
            some = shuffled(mount.folder)[: max(1, int(len(names) * SAMPLE))]
            before = slow.counts()
            epoch(mount.folder, some, tree.size)
            # What is read ahead may still be under way.
            time.sleep(1)
            sample = (slow.counts() - before).body_bytes / (tree.size * len(some))
    return Epochs(cold, again, moved, sample, cpu)


def rclone(work: Work, host: str, tree: Tree, rtt_ms: float) -> float:
    """Return files per second of a first epoch."""
    with (
        link(host, rtt_ms=rtt_ms, rate=RATE) as slow,
        rclone_mount(work, slow.host) as folder,
    ):
        return epoch(folder, shuffled(folder), tree.size)


def passed_through(work: Work, tree: Tree) -> float:
    """Return files per second of an epoch by the yardstick."""
    source = tree.at(work.kept)
    with yardstick(work, "yardsticks/passthrough.py", backing=source) as mount:
        names = shuffled(mount.folder)
        warm(source)
        return epoch(mount.folder, names, tree.size)


def cloned(work: Work, served: Origin, tree: Tree, rtt_ms: float) -> float:
    """Return files per second of an official clone."""
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        return tree.file_count / clone_s(work, slow.host)


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Alternate the mount and its peers."""
    tree = Tree(FOLDERS, args.files // FOLDERS, args.size)
    missing = missing_peers("rclone")
    epochs: list[Epochs] = []
    rates: dict[str, list[float]] = {"rclone": [], "clone": [], "pass-through": []}
    with origin(work, tree, args.real) as served, plain_server_or_none(work, tree, missing) as host:

        def mount() -> None:
            epochs.append(ours(work, served, tree, args.rtt_ms))

        def peers() -> None:
            if host is not None:
                rates["rclone"].append(rclone(work, host, tree, args.rtt_ms))
            if args.clone:
                rates["clone"].append(cloned(work, served, tree, args.rtt_ms))
            rates["pass-through"].append(passed_through(work, tree))

        alternate({"oxenfs": mount, "peers": peers}, args.rounds)
        kind = served.kind
    # The first of each was the warm-up.
    found = epochs[1:]
    cold = [each.cold for each in found]
    what = f"{tree.file_count:,} files of {tree.size:,} bytes"
    where = f"{kind}, {args.rtt_ms:g} ms"
    figures = []
    if rates["rclone"]:
        figures.append(
            compared(
                f"shuffled epoch by {READERS} readers, empty cache, {what}, {where}",
                cold,
                "rclone mount",
                rates["rclone"][1:],
                "files/s",
                at_least(4 if args.real else 6),
                note=f"moved {max(each.moved for each in found):.2f} bytes per byte",
            )
        )
    if args.clone:
        figures.append(
            compared(
                f"the same, {where}",
                cold,
                "official clone",
                rates["clone"][1:],
                "files/s",
                at_least(3) if args.real else None,
            )
        )
    figures.append(
        compared(
            f"second epoch, after a remount, {where}",
            [each.again for each in found],
            "pass-through",
            rates["pass-through"][1:],
            "files/s",
            at_least(0.7),
        )
    )
    samples = sorted(each.sample_moved for each in found)
    figures.append(
        Figure(
            f"1% of them, shuffled, empty cache, {where}",
            samples[len(samples) // 2],
            "bytes moved per byte",
            goal=no_more_than(2.5),
        )
    )
    cpus = sorted(each.cpu for each in found)
    figures.append(
        Figure(f"daemon's CPU time, {where}", cpus[len(cpus) // 2], "s per 10,000 files")
    )
    return figures


def plain_server_or_none(
    work: Work, tree: Tree, missing: list[str]
) -> contextlib.AbstractContextManager[str | None]:
    """Serve the source files for rclone, where there is one."""
    if missing:
        return contextlib.nullcontext()
    return plain_server(work, tree.at(work.kept))


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("many small files over a link", rounds=3)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000, help="of each file, in bytes")
    parser.add_argument("--rtt-ms", type=float, default=20)
    parser.add_argument("--clone", action="store_true", help="also a clone: minutes each")
    add_server(parser)
    args = parser.parse_args()
    if args.quick:
        args.files = min(args.files, 1_000)
    run(args, measure)


if __name__ == "__main__":
    main()
