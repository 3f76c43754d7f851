"""How fast a mounted tree is listed, and how much memory the daemon keeps for it.

`find -ls` (names and attributes of every entry) over 1M files in 1,000 folders, and over 200,000
files in one. «First» is the first listing of a mount whose cache folder is empty, so the tree is
read from the repository meanwhile; «first, metadata cached» has listed the same tree in an earlier
mount; «again» is the second of the same mount, whose dentries the kernel knows. The peer is the
constant yardstick in the same shape with names of the same length: the kernel's own work is more
than half of the time and bounds both. The second listing is also compared with ext4's second one
of the source tree.

Memory is RssAnon + RssShmem of daemon and children after the second listing.

    python benchmarks/listing.py [--entries 1000000 --dirs 1000 --flat 200000] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    Figure,
    Goal,
    alternate,
    arguments,
    at_least,
    at_most,
    compared,
    no_more_than,
    run,
    timed,
)
from machine import private_memory
from mounts import Mount, mounted, repository, yardstick
from trees import DIR_NAME, FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work


@dataclass(frozen=True)
class Listings:
    """Two listings of one mount, in seconds, and the memory of its daemon after them, in MB."""

    first: float
    again: float
    memory: float = 0.0


def find_ls(folder: Path) -> float:
    """Return the seconds of `find -ls`."""
    arguments = ["find", str(folder), "-ls"]
    return timed(lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True))


def both_listings(mount: AbstractContextManager[Mount], entries: int) -> Listings:
    """List a new mount twice; exit if it does not show all entries."""
    with mount as at:
        first, again = find_ls(at.folder), find_ls(at.folder)
        memory = private_memory(at.pid) / 1e6
        shown = ["find", str(at.folder), "-printf", "."]
        count = len(subprocess.run(shown, capture_output=True, check=True).stdout)
        if count != entries:
            raise SystemExit(f"{count} entries instead of {entries}")
    return Listings(first, again, memory)


@contextmanager
def emptied_cache(work: Work, address: str, caches: list[Path]) -> Iterator[Mount]:
    """Mount with a new cache folder and leave it in `caches`."""
    caches.append(work.new_folder("cache"))
    with mounted(work, address, caches[-1]) as mount:
        yield mount


def measure_shape(tree: Tree, args: argparse.Namespace, work: Work) -> dict[str, list[Listings]]:
    """List one shape in all ways, alternated."""
    address, source = repository(work, tree), tree.at(work.kept)
    caches = [work.new_folder("filled-cache")]
    both_listings(mounted(work, address, caches[0]), tree.entry_count)
    shape = ["--dirs", str(tree.dirs), "--files", str(tree.files)]
    names = ["--dir-name", DIR_NAME, "--file-name", FILE_NAME, "--size", str(tree.size)]

    def constant() -> AbstractContextManager[Mount]:
        return yardstick(work, "yardsticks/constant.py", *shape, *names)

    sides: dict[str, Callable[[], AbstractContextManager[Mount]]] = {
        "constant": constant,
        "empty cache": lambda: emptied_cache(work, address, caches),
        "cached": lambda: mounted(work, address, caches[0]),
    }
    runs: dict[str, Callable[[], Listings]] = {
        name: partial(lambda side: both_listings(side(), tree.entry_count), side)
        for name, side in sides.items()
    }
    runs["ext4"] = lambda: Listings(find_ls(source), find_ls(source))
    return alternate(runs, args.rounds, warm_up=False)


def rates(tree: Tree, seconds: list[float]) -> list[float]:
    """Return thousands of entries per second."""
    return [tree.entry_count / s / 1000 for s in seconds]


def figures_of(tree: Tree, found: dict[str, list[Listings]], name: str) -> list[Figure]:
    """Return the figures of one shape."""
    goal: Goal = at_least(0.8)

    def first(side: str) -> list[float]:
        return rates(tree, [listing.first for listing in found[side]])

    def again(side: str) -> list[float]:
        return rates(tree, [listing.again for listing in found[side]])

    def against_constant(what: str, ours: list[float], theirs: list[float]) -> Figure:
        return compared(
            f"find -ls, {name}, {what}", ours, "constant yardstick", theirs, "k entries/s", goal
        )

    ext4 = compared(
        f"find -ls, {name}, again",
        [listing.again for listing in found["cached"]],
        "ext4, again",
        [listing.again for listing in found["ext4"]],
        "s",
        at_most(2.0),
    )
    return [
        against_constant("first", first("empty cache"), first("constant")),
        against_constant("first, metadata cached", first("cached"), first("constant")),
        against_constant("again", again("cached"), again("constant")),
        ext4,
    ]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """List both shapes and set them against each other."""
    many, flat = Tree(args.dirs, args.entries // args.dirs, 8), Tree(0, args.flat, 8)
    of_many = measure_shape(many, args, work)
    of_flat = measure_shape(flat, args, work)
    figures = figures_of(many, of_many, f"{many.file_count:,} in {many.dirs:,} folders")
    figures += figures_of(flat, of_flat, f"{flat.file_count:,} in one")
    for what, of in (("first", "first"), ("again", "again")):
        ours = rates(flat, [getattr(listing, of) for listing in of_flat["cached"]])
        theirs = rates(many, [getattr(listing, of) for listing in of_many["cached"]])
        figures.append(
            compared(
                f"one folder per entry, {what}",
                ours,
                "many folders",
                theirs,
                "k entries/s",
                at_least(1.0),
            )
        )
    memory = [listing.memory for side in ("empty cache", "cached") for listing in of_many[side]]
    what = f"daemon's memory after {many.file_count:,} entries, largest of {len(memory)}"
    figures.append(Figure(what, max(memory), "MB", goal=no_more_than(150)))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("find -ls of a mounted tree", rounds=3)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--dirs", type=int, default=1_000)
    parser.add_argument("--flat", type=int, default=200_000, help="files of the one folder")
    args = parser.parse_args()
    if args.quick:
        args.entries, args.dirs = min(args.entries, 20_000), min(args.dirs, 20)
        args.flat = min(args.flat, 10_000)
    run(args, measure)


if __name__ == "__main__":
    main()
