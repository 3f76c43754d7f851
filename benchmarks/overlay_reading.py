"""What an overlay costs those who only read: the same mount with and without one.

Small files are opened, read and closed in random order, and one large file is read front to back;
mounts are new each round and the repository lies in the page cache. One file beside them is
changed first, so that the overlay has something to look into. Root, for 1 MiB requests.

    python benchmarks/overlay_reading.py [--files 10000 --large 512] [--quick]
"""

from __future__ import annotations

import argparse
import random
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, run
from machine import warm
from mounts import Mount, mounted, repository, repository_folder
from sequential import read_through
from small_files import names_below, read_all
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Read with and without an overlay, alternated."""
    small, large = Tree(10, args.files // 10, 10_000), Tree(0, 1, args.large << 20)
    addresses = {tree: repository(work, tree) for tree in (small, large)}

    def mount(tree: Tree, options: list[str]) -> AbstractContextManager[Mount]:
        warm(repository_folder(addresses[tree]))
        return mounted(work, addresses[tree], options=options)

    def both(options: list[str]) -> tuple[float, float]:
        with mount(small, options) as at:
            names = names_below(at.folder)
            random.Random(0).shuffle(names)
            if options:
                (at.folder / "changed").write_bytes(b"changed")
            files = read_all(at.folder, names, small.size)
        with mount(large, options) as at:
            if options:
                (at.folder / "changed").write_bytes(b"changed")
            rate = read_through(at.folder / (FILE_NAME % 0), large.size)
        return files, rate

    found = alternate(
        {"overlay": lambda: both(["--overlay"]), "plain": lambda: both([])}, args.rounds
    )
    figures = []
    for at, (what, unit) in enumerate(
        (
            (f"{small.file_count:,} unchanged files of 10 KB in an overlay", "files/s"),
            (f"an unchanged file of {args.large} MiB in an overlay", "MB/s"),
        )
    ):
        ours, theirs = ([each[at] for each in found[side]] for side in ("overlay", "plain"))
        figures.append(compared(what, ours, "without overlay", theirs, unit, at_least(0.9)))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("reading what is unchanged in an overlay", rounds=5)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=512, help="MiB of the large file")
    args = parser.parse_args()
    if args.quick:
        args.files, args.large = min(args.files, 1000), min(args.large, 64)
    run(args, measure)


if __name__ == "__main__":
    main()
