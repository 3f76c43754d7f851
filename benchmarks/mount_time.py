"""How long until a mounted commit answers: `oxenfs mount` and the first `ls` of its root.

Measured as a user feels it, by the wall clock over both programs, starts of Python included.
«Nothing cached» has a new, empty cache folder each round; «remount» has one in which the whole
tree was listed before. Both have absolute goals; the peer is the time that the constant yardstick
takes from its start to the same `ls`, which is what Python, trio and pyfuse3 cost by themselves.
`oxenfs --help` is compared with a bare `python -c pass`.

«Nothing cached» speaks of the program's own cache. With `--cold-pages` (root) the kernel's page
cache is dropped before each start too, so that programs and repository come from the disk.

    python benchmarks/mount_time.py [--entries 1000000 --dirs 1000] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, compared, no_more_than, run, timed
from machine import drop_page_cache
from mounts import Mount, command, environment, mounted, repository, yardstick
from trees import Tree

if TYPE_CHECKING:
    from work import Work


def until_listed(mount: AbstractContextManager[Mount], cold_pages: bool) -> float:
    """Return the seconds from the start of mounting to the end of `ls`; unmounting not counted."""
    if cold_pages and not drop_page_cache():
        raise SystemExit("--cold-pages needs root")
    started = time.perf_counter()
    with mount as mounted_at:
        subprocess.run(["ls", str(mounted_at.folder)], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started


def quiet(arguments: list[str], work: Work) -> float:
    """Return the seconds that a program takes, its output thrown away."""
    env = environment(work)
    return timed(lambda: subprocess.run(arguments, env=env, stdout=subprocess.DEVNULL, check=True))


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Mount again and again."""
    cold: bool = args.cold_pages
    tree = Tree(args.dirs, args.entries // args.dirs, 8)
    address = repository(work, tree)
    filled = work.new_folder("filled-cache")
    with mounted(work, address, filled) as mount:
        subprocess.run(["find", str(mount.folder)], stdout=subprocess.DEVNULL, check=True)
    shape = ["--dirs", str(tree.dirs), "--files", str(tree.files)]
    seconds = alternate(
        {
            "nothing cached": lambda: until_listed(mounted(work, address), cold),
            "remount": lambda: until_listed(mounted(work, address, filled), cold),
            "constant yardstick": lambda: until_listed(
                yardstick(work, "yardsticks/constant.py", *shape), cold
            ),
            "--help": lambda: quiet(command("--help"), work),
            "python -c pass": lambda: quiet([sys.executable, "-c", "pass"], work),
        },
        args.rounds,
    )
    peer, theirs = "constant yardstick", seconds["constant yardstick"]
    size = f"{tree.file_count:,} entries"
    return [
        compared(
            f"mount to first ls, {size}, nothing cached",
            seconds["nothing cached"],
            peer,
            theirs,
            "s",
            no_more_than(1.0),
        ),
        compared(
            f"mount to first ls, {size}, remount",
            seconds["remount"],
            peer,
            theirs,
            "s",
            no_more_than(0.5),
        ),
        compared(
            "oxenfs --help", seconds["--help"], "python -c pass", seconds["python -c pass"], "s"
        ),
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("mount to first ls", rounds=7)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--dirs", type=int, default=1_000)
    parser.add_argument("--cold-pages", action="store_true", help="drop the page cache first")
    args = parser.parse_args()
    if args.quick:
        args.entries, args.dirs = min(args.entries, 20_000), min(args.dirs, 20)
    run(args, measure)


if __name__ == "__main__":
    main()
