"""How fast one large file is read from front to back, by a reader with a kept 1 MiB buffer.

«From the repository»: the mount and its cache folder are new, so every byte goes through the FUSE
daemon, with verification; the repository's own files lie in the page cache, so that no disk is
measured. The pass-through yardstick answers the same requests from the source file, which lies in
the page cache as well. «Once more» is the next pass after the mount's own pages are dropped (and
not those of the backing file). «From page cache» is the pass after that, without any request, and
its peer is ext4 reading the source file from page cache. No daemon takes part in that pass; the row
of the pass-through says what any FUSE file system reaches on this kernel.

As root the kernel asks for 1 MiB at a time, after the read-ahead of the mount was raised. With
`--user` all of it, daemon, yardstick and reader, runs as an ordinary user, who cannot do that and
gets 128 KiB requests. Needs root to start with, for the change of user.

    python benchmarks/sequential.py [--size 1073741824] [--user] [--quick]
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, run
from machine import cpu_seconds, forget_pages, warm
from mounts import Mount, mounted, repository, repository_folder, yardstick
from ordinary_user import become_ordinary_user
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

CACHED_PASSES = 3
BUFFER = memoryview(bytearray(1 << 20))


@dataclass(frozen=True)
class Passes:
    """Reads of one mount, in MB/s, and the daemon's CPU time for the first one, in s/GiB.

    Attributes:
        cold: everything from the daemon.
        again: the same after the mount's pages were dropped.
        cached: without a request, one per pass.
        source: the source file on ext4, from page cache, alternated with `cached`.
    """

    cold: float
    again: float
    cached: list[float]
    source: list[float]
    cpu: float


def read_through(path: Path, size: int) -> float:
    """Read a file to its end and return MB/s."""
    total = 0
    started = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        while count := os.readv(fd, [BUFFER]):
            total += count
    finally:
        os.close(fd)
    seconds = time.perf_counter() - started
    if total != size:
        raise SystemExit(f"{path}: {total} bytes instead of {size}")
    return size / seconds / 1e6


def passes(mount: AbstractContextManager[Mount], backing: Path, source: Path) -> Passes:
    """Mount, bring the backing data and the source into the page cache, and read."""
    size = source.stat().st_size
    with mount as at:
        path = at.folder / source.name
        warm(backing)
        warm(source)
        cpu = cpu_seconds(at.pid)
        cold = read_through(path, size)
        cpu = cpu_seconds(at.pid) - cpu
        forget_pages(path)
        again = read_through(path, size)
        cached, plain = [], []
        for _ in range(CACHED_PASSES):
            cached.append(read_through(path, size))
            plain.append(read_through(source, size))
    return Passes(cold, again, cached, plain, cpu * (1 << 30) / size)


def differs(a: Path, b: Path) -> bool:
    """Compare two files byte by byte."""
    with a.open("rb") as left, b.open("rb") as right:
        while True:
            ours, theirs = left.read(1 << 20), right.read(1 << 20)
            if ours != theirs:
                return True
            if not ours:
                return False


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Read by both file systems, alternated."""
    tree = Tree(0, 1, args.size)
    address, source = repository(work, tree), tree.at(work.kept) / (FILE_NAME % 0)
    with mounted(work, address) as mount:
        if differs(mount.folder / source.name, source):
            raise SystemExit("the mount does not show the bytes that were imported")
    raised = [] if args.user else ["--read-ahead-kb", "1024"]

    def ours() -> Passes:
        return passes(mounted(work, address), repository_folder(address), source)

    def peer() -> Passes:
        script = "yardsticks/passthrough.py"
        mount = yardstick(work, script, *raised, backing=source.parent)
        return passes(mount, source, source)

    found = alternate({"oxenfs": ours, "pass-through": peer}, args.rounds)
    who = "user, 128 KiB requests" if args.user else "root"
    per_pass = partial(compared, peer="pass-through", unit="MB/s")
    goal = None if args.user else at_least(0.8)
    return [
        per_pass(
            f"sequential read from the repository, {who}",
            [p.cold for p in found["oxenfs"]],
            theirs=[p.cold for p in found["pass-through"]],
            goal=goal,
        ),
        per_pass(
            f"once more, the mount's pages dropped, {who}",
            [p.again for p in found["oxenfs"]],
            theirs=[p.again for p in found["pass-through"]],
        ),
        compared(
            f"sequential read from page cache, {who}",
            [rate for p in found["oxenfs"] for rate in p.cached],
            "ext4 page cache",
            [rate for p in found["oxenfs"] for rate in p.source],
            "MB/s",
            at_least(0.9),
        ),
        compared(
            f"the same, pass-through: the kernel's bound, {who}",
            [rate for p in found["pass-through"] for rate in p.cached],
            "ext4 page cache",
            [rate for p in found["pass-through"] for rate in p.source],
            "MB/s",
        ),
        compared(
            f"daemon's CPU time, from the repository, {who}",
            [p.cpu for p in found["oxenfs"]],
            "pass-through",
            [p.cpu for p in found["pass-through"]],
            "s/GiB",
        ),
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("sequential read of one large file", rounds=5)
    parser.add_argument("--size", type=int, default=1 << 30, help="in bytes")
    parser.add_argument("--user", action="store_true", help="as an ordinary user")
    args = parser.parse_args()
    if args.quick:
        args.size = min(args.size, 64 << 20)
    if args.user:
        args.work = become_ordinary_user(args.work)
    run(args, measure)


if __name__ == "__main__":
    main()
