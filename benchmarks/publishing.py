"""How long a commit takes to get to a server, by size of the change and of the repository.

`commit`: files are copied into an overlay, then `oxenfs commit`. The peer is the official client's
add, commit and push of the same files to the same `oxenfs serve`.

`one`: one file of a large repository is changed in an overlay, behind a link with a round trip
time; then `oxenfs commit`, the mount's move to the new commit included.

`import`: `oxenfs import` of many small files; memory is that of the import, of all its processes,
at its peak. The official client does not get through 200,000 of them (docs/performance.md).

    python benchmarks/publishing.py [--files 10000 --size 100000] [--import 200000] [--quick]
    python benchmarks/publishing.py --only one --rtt-ms 20
"""

from __future__ import annotations

import argparse
import subprocess
import time
from typing import TYPE_CHECKING

from harness import (
    Figure,
    Goal,
    alternate,
    arguments,
    at_most,
    compared,
    no_more_than,
    parts,
    progress,
    run,
    timed,
)
from link import link
from machine import is_running, private_memory, warm
from mounts import command, environment, mounted, oxenfs, repository, repository_folder
from servers import Server, official, ours
from trees import DIR_NAME, FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

SAMPLE_S = 0.05


def commit(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Commit many files, and let the official client do the same."""
    tree = Tree(10, args.files // 10, args.size)
    source = tree.at(work.kept)
    warm(source)
    turns = iter(range(1_000_000))

    def by_overlay(server: Server) -> float:
        address = f"{server.new(f'committed-{next(turns)}', branch=True)}@main"
        with mounted(work, address, options=["--overlay"]) as mount:
            subprocess.run(["cp", "-r", f"{source}/.", str(mount.folder)], check=True)
            seconds = timed(lambda: oxenfs(work, "commit", mount.folder, "-m", "benchmark"))
            if oxenfs(work, "status", mount.folder):
                raise SystemExit("something is left to commit")
        return seconds

    def by_official(server: Server) -> float:
        folder = work.new_folder("working")
        subprocess.run(["cp", "-r", f"{source}/.", str(folder)], check=True)
        url = server.new(f"pushed-{next(turns)}")
        return official(work, "init+commit+push", folder, url, "benchmark")

    with ours(work) as server:
        found = alternate(
            {"overlay": lambda: by_overlay(server), "official": lambda: by_official(server)},
            args.rounds,
            warm_up=False,
        )
    what = f"commit of {tree.file_count:,} files of {tree.size:,} bytes"
    peer = "official add + commit + push"
    return [compared(what, found["overlay"], peer, found["official"], "s", at_most(1.1))]


def one(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Change and commit one file of a large repository, again and again."""
    tree = Tree(max(args.tree // 1000, 1), 1000, 8)
    kept = repository_folder(repository(work, tree))
    with ours(work) as server:
        served = work.run / "served-copy"
        for folder in work.run.glob("*-served"):
            served = folder
        (served / "bench").mkdir(exist_ok=True)
        copy = served / "bench" / "large"
        subprocess.run(["cp", "-a", str(kept), str(copy)], check=True)
        with (
            link(server.host, rtt_ms=args.rtt_ms, rate=125e6) as slow,
            mounted(work, f"http://{slow.host}/bench/large@main", options=["--overlay"]) as mount,
        ):
            path = mount.folder / (DIR_NAME % 7) / (FILE_NAME % 7)
            seconds, requests = [], []
            time.sleep(1)
            for turn in range(args.rounds + 1):
                path.write_bytes(b"turn %d" % turn)
                before = slow.counts()
                seconds.append(timed(lambda: oxenfs(work, "commit", mount.folder, "-m", "one")))
                moved = slow.counts() - before
                requests.append(moved.requests)
                kinds = {name: kind.requests for name, kind in moved.kinds.items()}
                progress(f"turn {turn}: {seconds[-1]:.2f} s, {moved.down_bytes:,} B down, {kinds}")
    what = f"commit of one file among {tree.file_count:,}, {args.rtt_ms:g} ms"
    return [
        Figure(f"{what}, the first one", seconds[0], "s", goal=no_more_than(2.0)),
        Figure(f"{what}, the slowest after it", max(seconds[1:]), "s", goal=no_more_than(2.0)),
        Figure(f"{what}: requests", max(requests[1:]), "requests"),
    ]


def import_(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Import many small files over HTTP and watch the process."""
    tree = Tree(max(args.imported // 1000, 1), min(args.imported, 1000), args.small)
    source = tree.at(work.kept)
    warm(source)
    rates, peak = [], 0
    with ours(work) as server:
        for turn in range(args.rounds):
            address = f"{server.new(f'imported-{turn}', branch=True)}@main"
            line = command("import", source, address, "-m", "benchmark", "--json")
            started = time.perf_counter()
            process = subprocess.Popen(line, env=environment(work), stdout=subprocess.DEVNULL)
            while is_running(process.pid):
                peak = max(peak, private_memory(process.pid))
                time.sleep(SAMPLE_S)
            if process.wait():
                raise SystemExit(f"oxenfs import: exit {process.returncode}")
            rates.append(tree.file_count / (time.perf_counter() - started))
            progress(f"turn {turn}: {rates[-1]:,.0f} files/s")
    what = f"import of {tree.file_count:,} files of {tree.size:,} bytes over HTTP"
    wanted = Goal("value", ">=", 2000)
    return [
        Figure(what, sorted(rates)[len(rates) // 2], "files/s", goal=wanted),
        Figure(f"{what}: memory", peak / 1e6, "MB", goal=no_more_than(300)),
        Figure(f"{what}: memory of the server", server.peak / 1e6, "MB"),
    ]


PARTS = {"commit": commit, "one": one, "import": import_}


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("commits and imports to a server", rounds=3)
    parser.add_argument("--files", type=int, default=10_000, help="of a large commit")
    parser.add_argument("--size", type=int, default=100_000, help="of each of them, in bytes")
    parser.add_argument("--tree", type=int, default=1_000_000, help="files of the repository")
    parser.add_argument("--rtt-ms", type=float, default=20)
    parser.add_argument("--import", dest="imported", type=int, default=200_000)
    parser.add_argument("--small", type=int, default=100, help="bytes of each imported file")
    parser.add_argument("--only", choices=sorted(PARTS))
    args = parser.parse_args()
    if args.quick:
        args.files, args.tree = min(args.files, 500), min(args.tree, 10_000)
        args.imported = min(args.imported, 2000)
    run(args, parts(PARTS))


if __name__ == "__main__":
    main()
