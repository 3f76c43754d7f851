"""A mount of a large tree on a server: until the first `ls`, and until all of the tree is known.

200,000 files in 200 folders, over a link. Peers: all pages of the server's `dir` listing of one
folder after another, as a client does that asks for what it shows; the official client's clone,
which brings the files as well (they have 8 bytes). The tree is «known» when its archive has come:
nothing has moved over the link for half a second since. A `find -ls` then counts its entries.

    python benchmarks/remote_mount.py [--files 200000] [--rtt-ms 0 20 80] [--real BINARY] [--quick]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import Figure, arguments, compared, no_more_than, progress, run
from link import Link, link
from mounts import mounted
from remotes import NAME, Origin, add_server, clone_s, origin
from trees import DIR_NAME, Tree

if TYPE_CHECKING:
    from work import Work

FOLDERS = 200
QUIET_S, GIVE_UP_S = 0.5, 60
# Squeezed, over the link: an archive that is shorter has not come yet.
ENTRY_BYTES_MIN = 20
RATE = 125e6
PAGE = 1000
# The goals: a second and four round trips; three seconds.
FIRST_S, TRIPS, KNOWN_S = 1.0, 4, 3.0


@dataclass(frozen=True)
class Times:
    """Seconds from the start of `oxenfs mount`: to the first `ls`, and to the whole tree."""

    first_s: float
    known_s: float


def ours(work: Work, served: Origin, tree: Tree, rtt_ms: float) -> Times:
    """Mount with an empty cache, list the root, then everything."""
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        started = time.perf_counter()
        with mounted(work, served.address(slow.host)) as mount:
            found = len(os.listdir(mount.folder))  # noqa: PTH208
            first_s = time.perf_counter() - started
            if found != tree.dirs:
                raise SystemExit(f"{found} names instead of {tree.dirs}")
            known_s = _known(slow, tree, started, first_s)
            lines = subprocess.run(
                ["find", str(mount.folder), "-ls"], capture_output=True, check=True
            ).stdout.count(b"\n")
            if lines != tree.entry_count:
                raise SystemExit(f"{lines} entries instead of {tree.entry_count}")
    return Times(first_s, known_s)


def _known(slow: Link, tree: Tree, started: float, first_s: float) -> float:
    """Return when the archive of the tree had come: nothing moves any more."""
    least = tree.file_count * ENTRY_BYTES_MIN
    last_s, last = first_s, slow.counts().down_bytes
    while True:
        time.sleep(0.02)
        now_s, now = time.perf_counter() - started, slow.counts().down_bytes
        if now != last:
            last_s, last = now_s, now
        if (now_s - last_s > QUIET_S and now >= least) or now_s > GIVE_UP_S:
            return last_s


def pages_s(served: Origin, tree: Tree, rtt_ms: float) -> float:
    """Return the seconds of listing each folder by its pages, on one kept connection."""
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        connection = http.client.HTTPConnection(slow.host, timeout=60)
        started = time.perf_counter()
        for number in range(tree.dirs):
            page, pages = 1, 1
            while page <= pages:
                where = f"/api/repos/{NAME}/dir/main/{DIR_NAME % number}"
                connection.request("GET", f"{where}?page={page}&page_size={PAGE}")
                answer = json.loads(connection.getresponse().read())
                pages = int(answer["total_pages"])
                page += 1
        seconds = time.perf_counter() - started
        connection.close()
    return seconds


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Mount and list in turns; clone once for each round trip time, as it takes minutes."""
    tree = Tree(FOLDERS, args.files // FOLDERS, 8)
    figures = []
    with origin(work, tree, args.real) as served:
        for rtt_ms in args.rtt_ms:
            where = f"{tree.file_count:,} files, {served.kind}, {rtt_ms:g} ms"
            found, pages = [], []
            for turn in range(args.rounds):
                found.append(ours(work, served, tree, rtt_ms))
                pages.append(pages_s(served, tree, rtt_ms))
                progress(f"round {turn + 1}/{args.rounds}: {found[-1]}, pages {pages[-1]:.1f} s")
            first = [each.first_s for each in found]
            known = [each.known_s for each in found]
            limit = FIRST_S + TRIPS * rtt_ms / 1000
            what = f"mount and first ls, empty cache, {where}"
            paged = "paged listing of all folders"
            figures.append(compared(what, first, paged, pages, "s", no_more_than(limit)))
            what = f"whole tree known, {where}"
            if args.clone:
                cloned = [clone_through(work, served, rtt_ms)] * len(known)
                figures.append(
                    compared(what, known, "official clone", cloned, "s", no_more_than(KNOWN_S))
                )
            else:
                figures.append(compared(what, known, paged, pages, "s", no_more_than(KNOWN_S)))
    return figures


def clone_through(work: Work, served: Origin, rtt_ms: float) -> float:
    """Return the seconds of an official clone over a link."""
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        return clone_s(work, slow.host)


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("a mount of a large tree on a server", rounds=3)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--rtt-ms", type=float, nargs="+", default=[0, 20, 80])
    parser.add_argument("--clone", action="store_true", help="clone, too: minutes")
    add_server(parser)
    args = parser.parse_args()
    if args.quick:
        args.files, args.rtt_ms = min(args.files, 10_000), [20]
    run(args, measure)


if __name__ == "__main__":
    main()
