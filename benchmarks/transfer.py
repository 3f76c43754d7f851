"""How fast data goes to a server and comes back: by the official client, and by `oxenfs import`.

The official client pushes a commit of 10,000 files of 10 KB and one of 256 MB to a new repository,
and clones it: at our server, and at the real one where `OXEN_SERVER` names its binary. Then
`oxenfs import` of the small files over HTTP is compared with the official add, commit and push of
the same files to the same server. 64 readers at once then read the pushed files, each over a
connection of its own. Memory is the server's, at its peak over everything.

    OXEN_SERVER=... python benchmarks/transfer.py [--files 10000 --size 10000 --large 256] [--quick]
"""

from __future__ import annotations

import argparse
import http.client
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    Figure,
    alternate,
    arguments,
    at_least,
    compared,
    no_more_than,
    progress,
    run,
    timed,
)
from machine import warm
from mounts import oxenfs
from servers import Server, has_real, official, ours, real
from trees import DIR_NAME, FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work


READERS = 64
READS = 50


def source_of(work: Work, small: Tree, large: int) -> Path:
    """Return a folder with the small files and one large file; kept between runs."""
    root = work.kept / "trees" / f"transfer-{small.key}-{large}"
    if not root.exists():
        making = root.with_name(root.name + ".making")
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(small.at(work.kept), making)
        shutil.copy(Tree(0, 1, large).at(work.kept) / "file000000.txt", making / "large.bin")
        making.rename(root)
    return root


def committed(work: Work, source: Path) -> Path:
    """Return a working folder of the official client in which `source` is committed."""
    folder = work.new_folder("working")
    subprocess.run(["cp", "-r", f"{source}/.", str(folder)], check=True)
    seconds = official(work, "init+commit", folder, message="benchmark")
    progress(f"official add + commit: {seconds:.1f} s")
    return folder


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Push, clone and import, alternated between the servers."""
    dirs = max(args.files // 100, 1)
    small = Tree(dirs, args.files // dirs, args.size)
    source = source_of(work, small, args.large << 20)
    size_mb = (small.file_count * small.size + (args.large << 20)) / 1e6
    with ExitStack() as stack:
        servers = [stack.enter_context(ours(work))]
        if has_real():
            servers.append(stack.enter_context(real(work)))
        else:
            progress("no real server: OXEN_SERVER does not name its binary")
        working = committed(work, source)
        warm(source)
        turns = iter(range(1_000_000))

        def push_and_clone(server: Server) -> tuple[float, float]:
            url = server.new(f"pushed-{next(turns)}")
            pushed = official(work, "push", working, url)
            server.last = url.rpartition("/")[2]
            cloned = official(work, "clone", work.new_folder("clone") / "copy", url)
            return pushed, cloned

        found = alternate(
            {server.name: lambda server=server: push_and_clone(server) for server in servers},
            args.rounds,
            warm_up=False,
        )
        figures = []
        for at, (what, ratio) in enumerate((("push", 0.5), ("clone", 0.8))):
            rates = {name: [size_mb / each[at] for each in found[name]] for name in found}
            label = f"official {what}, {small.file_count:,} x {small.size:,} B + {args.large} MiB"
            mine = rates[servers[0].name]
            if len(servers) > 1:
                peer = servers[1].name
                goal = at_least(ratio)
                figures.append(compared(label, mine, peer, rates[peer], "MB/s", goal))
            else:
                figures.append(Figure(label, sorted(mine)[len(mine) // 2], "MB/s"))
        figures.append(readers(small, servers))
        figures += imports(args, work, small, servers)
        for server in servers:
            goal = no_more_than(300) if server is servers[0] else None
            figures.append(
                Figure(f"peak memory of {server.name}", server.peak / 1e6, "MB", goal=goal)
            )
    return figures


def readers(small: Tree, servers: list[Server]) -> Figure:
    """Read small files of what was pushed last, by 64 at once, at each server."""

    def read(server: Server, paths: list[str]) -> None:
        connection = http.client.HTTPConnection(server.host, timeout=60)
        for path in paths:
            connection.request("GET", f"/api/repos/bench/{server.last}/file/main/{path}")
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 200 or len(data) != small.size:
                raise SystemExit(f"{server.name} {path}: {answer.status}, {len(data)} bytes")
        connection.close()

    def all_at_once(server: Server) -> float:
        drawn = random.Random(1)
        paths = [
            f"{DIR_NAME % drawn.randrange(small.dirs)}/{FILE_NAME % drawn.randrange(small.files)}"
            for _ in range(READERS * READS)
        ]
        with ThreadPoolExecutor(READERS) as pool:
            parts = [paths[number::READERS] for number in range(READERS)]
            return timed(lambda: list(pool.map(read, [server] * READERS, parts)))

    found = alternate(
        {server.name: lambda server=server: all_at_once(server) for server in servers}, 3
    )
    rates = {name: [READERS * READS / each for each in found[name]] for name in found}
    label = f"{READERS} readers at once, files of {small.size:,} B"
    mine = rates[servers[0].name]
    if len(servers) == 1:
        return Figure(label, sorted(mine)[len(mine) // 2], "files/s")
    return compared(label, mine, servers[1].name, rates[servers[1].name], "files/s")


def imports(
    args: argparse.Namespace, work: Work, small: Tree, servers: list[Server]
) -> list[Figure]:
    """Compare our import with the official add, commit and push, at each server."""
    source = small.at(work.kept)
    warm(source)
    turns = iter(range(1_000_000))

    def by_import(server: Server) -> float:
        url = server.new(f"imported-{next(turns)}", branch=True)
        return timed(lambda: oxenfs(work, "import", source, f"{url}@main", "-m", "benchmark"))

    def by_official(server: Server) -> float:
        url = server.new(f"added-{next(turns)}")
        folder = work.new_folder("adding")
        subprocess.run(["cp", "-r", f"{source}/.", str(folder)], check=True)
        return official(work, "init+commit+push", folder, url, "benchmark")

    figures = []
    for server in servers:
        found = alternate(
            {
                "import": lambda server=server: by_import(server),
                "official": lambda server=server: by_official(server),
            },
            args.rounds,
            warm_up=False,
        )
        rates = {side: [small.file_count / each for each in found[side]] for side in found}
        label = f"import, {small.file_count:,} files of {small.size:,} B to {server.name}"
        peer = "official add + commit + push"
        goal = at_least(1.0)
        figures.append(compared(label, rates["import"], peer, rates["official"], "files/s", goal))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("transfers to and from a server", rounds=3)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000, help="of each file, in bytes")
    parser.add_argument("--large", type=int, default=256, help="MiB of the large file")
    args = parser.parse_args()
    if args.quick:
        args.files, args.large = min(args.files, 500), min(args.large, 16)
    run(args, measure)


if __name__ == "__main__":
    main()
