"""How fast many small files are opened, read and closed: 20,000 files of 10 KB, in random order.

The mount's own page cache is cold (each round has a new mount, and `oxenfs` a new cache folder
too), the backing data lies in the page cache, and all names were listed, so that each file costs
the three requests OPEN, READ and RELEASE and nothing else. The peer is the pass-through yardstick
on the same files in the same order.

Each pinning is a figure of its own: waking an idle core costs as much as a request, see `Pinning`.

    python benchmarks/small_files.py [--files 20000 --dirs 20 --size 10000] [--quick]
"""

from __future__ import annotations

import argparse
import os
import random
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, run
from machine import Pinning, cpu_seconds, pinnings, warm
from mounts import Mount, mounted, repository, repository_folder, yardstick
from trees import Tree

if TYPE_CHECKING:
    from work import Work


@dataclass(frozen=True)
class Pass:
    """One pass over all files: files per second, and the daemon's CPU time per file in µs."""

    rate: float
    cpu: float


def names_below(folder: Path) -> list[str]:
    """List a tree, attributes included, and return the files' relative paths, sorted."""
    found = []
    for root, dirs, files in os.walk(folder):
        dirs.sort()
        found += [os.path.relpath(Path(root, name), folder) for name in files]
    return sorted(found)


def read_all(folder: Path, names: list[str], size: int) -> float:
    """Open, read and close each file with one `read`; return files per second."""
    paths = [f"{folder}/{name}" for name in names]
    buffer = [memoryview(bytearray(size + 1))]
    flags, total = os.O_RDONLY, 0
    open_, readv, close = os.open, os.readv, os.close
    fd = -1
    started = time.perf_counter()
    try:
        for path in paths:
            fd = open_(path, flags)
            total += readv(fd, buffer)
            close(fd)
            fd = -1
    finally:
        if fd >= 0:
            close(fd)  # or an interrupted run could not unmount
    seconds = time.perf_counter() - started
    if total != size * len(names):
        raise SystemExit(f"{total} bytes instead of {size * len(names)}")
    return len(names) / seconds


def one_pass(
    mount: AbstractContextManager[Mount], backing: Path, pinning: Pinning, size: int
) -> Pass:
    """Mount, list, bring the backing data into the page cache, and read everything once."""
    with mount as at:
        names = names_below(at.folder)
        random.Random(0).shuffle(names)
        warm(backing)
        with pinning.applied(at.pid):
            cpu = cpu_seconds(at.pid)
            rate = read_all(at.folder, names, size)
            cpu = cpu_seconds(at.pid) - cpu
    return Pass(rate, cpu / len(names) * 1e6)


def check(folder: Path, source: Path) -> None:
    """Exit unless each 50th file has the bytes of its source."""
    for name in names_below(source)[::50]:
        if (folder / name).read_bytes() != (source / name).read_bytes():
            raise SystemExit(f"{name} does not have the bytes that were imported")


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Read by both file systems, alternated, in each pinning."""
    tree = Tree(args.dirs, args.files // args.dirs, args.size)
    address, source = repository(work, tree), tree.at(work.kept)
    with mounted(work, address) as mount:
        check(mount.folder, source)
    figures = []
    for pinning in pinnings():

        def ours(pinning: Pinning = pinning) -> Pass:
            return one_pass(mounted(work, address), repository_folder(address), pinning, args.size)

        def peer(pinning: Pinning = pinning) -> Pass:
            mount = yardstick(work, "yardsticks/passthrough.py", backing=source)
            return one_pass(mount, source, pinning, args.size)

        found = alternate({"oxenfs": ours, "pass-through": peer}, args.rounds)
        one = partial(compared, peer="pass-through")
        what = f"{tree.file_count:,} files of {tree.size:,} bytes, {pinning.name}"
        figures.append(
            one(
                f"open+read+close, {what}",
                [p.rate for p in found["oxenfs"]],
                theirs=[p.rate for p in found["pass-through"]],
                unit="files/s",
                goal=at_least(0.8),
            )
        )
        figures.append(
            one(
                f"daemon's CPU time, {what}",
                [p.cpu for p in found["oxenfs"]],
                theirs=[p.cpu for p in found["pass-through"]],
                unit="µs/file",
            )
        )
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("open, read and close many small files", rounds=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--dirs", type=int, default=20)
    parser.add_argument("--size", type=int, default=10_000, help="of each file, in bytes")
    args = parser.parse_args()
    if args.quick:
        args.files, args.dirs = min(args.files, 2_000), min(args.dirs, 2)
    run(args, measure)


if __name__ == "__main__":
    main()
