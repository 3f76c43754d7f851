"""What it costs to check every chunk that is read from the disk cache, and to have one at all.

A file of a server is read through once, so that the cache has all of it. Then it is read from it,
each time by a new mount, by the daemon as it is, by one that compares nothing (`unchecked.py`), and
by the pass-through yardstick from the source file. The files of the cache lie in the page cache;
the link confirms that nothing came over the network. With `--user` an ordinary user does all of it
and gets requests of 128 KiB.

    python benchmarks/checking.py [--size 536870912] [--user] [--quick]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, run
from link import link
from machine import warm
from mounts import BENCHMARKS, mounted, yardstick
from ordinary_user import become_ordinary_user
from remotes import origin
from sequential import read_through
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

NAME = FILE_NAME % 0
MOVED_MAX = 1 << 20


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Fill the cache, and alternate."""
    tree = Tree(0, 1, args.size)
    source = tree.at(work.kept)
    cache = work.new_folder("cache")
    raised = [] if args.user else ["--read-ahead-kb", "1024"]
    with origin(work, tree) as served, link(served.host, rtt_ms=0, rate=0) as near:
        address = served.address(near.host)
        with mounted(work, address, cache) as mount:
            read_through(mount.folder / NAME, args.size)

        def read(program: Path | None) -> float:
            with mounted(work, address, cache, program=program) as mount:
                warm(cache)
                before = near.counts()
                rate = read_through(mount.folder / NAME, args.size)
                moved = (near.counts() - before).body_bytes
            if moved > MOVED_MAX:
                raise SystemExit(f"{moved} bytes came that the cache should have had")
            return rate

        def passed_through() -> float:
            script = "yardsticks/passthrough.py"
            with yardstick(work, script, *raised, backing=source) as mount:
                warm(source)
                return read_through(mount.folder / NAME, args.size)

        sides = {
            "checked": lambda: read(None),
            "unchecked": lambda: read(BENCHMARKS / "unchecked.py"),
            "pass-through": passed_through,
        }
        found = alternate(sides, args.rounds)
    who = "ordinary user" if args.user else "root"
    what = f"large file from the disk cache, every chunk checked, {who}"
    goal = None if args.user else at_least(0.8)
    return [
        compared(what, found["checked"], side, found[side], "MB/s", goal)
        for side in ("unchecked", "pass-through")
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("what checking costs", rounds=5)
    parser.add_argument("--size", type=int, default=512 << 20, help="in bytes")
    parser.add_argument("--user", action="store_true", help="as an ordinary user")
    args = parser.parse_args()
    if args.user:
        args.work = become_ordinary_user(args.work)
    if args.quick:
        args.size = min(args.size, 64 << 20)
    run(args, measure)


if __name__ == "__main__":
    main()
