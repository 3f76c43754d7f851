"""How fast a folder becomes a commit: 100,000 files of 4 KiB by `oxenfs import`.

Peers, on the same source in the page cache, in the same round: `git add` and `git commit` into a
new repository (work tree: the source itself, so git does not have to copy it first; no automatic
gc), and `cp -r` into a new folder followed by `sync -f`. The import is durable when it returns; git
by default leaves its objects to the page cache, and its unwritten data is synced outside of its
time, so that the next side does not pay for it.

Targets are new folders each round, and nothing is deleted before the end: for seconds after many
files were deleted ext4 is slow to make new ones.

    python benchmarks/import_rate.py [--files 100000 --dirs 100 --size 4096] [--quick]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, run, timed
from machine import is_running, private_memory, warm
from mounts import command, environment, oxenfs
from trees import Tree

if TYPE_CHECKING:
    from work import Work

SAMPLE_S = 0.05


@dataclass(frozen=True)
class Made:
    """Seconds that one side took; for the import also its peaks of memory, in MB."""

    seconds: float
    private: float = 0.0
    resident: float = 0.0


def by_oxenfs(source: Path, work: Work) -> Made:
    """Import into a new repository and watch the process."""
    folder = work.new_folder("repository")
    oxenfs(work, "init", folder / "data")
    line = command("import", source, f"{folder / 'data'}@main", "-m", "benchmark", "--json")
    started = time.perf_counter()
    process = subprocess.Popen(line, env=environment(work), stdout=subprocess.DEVNULL)
    private = 0
    try:
        while is_running(process.pid):
            private = max(private, private_memory(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - started
    except BaseException:
        process.kill()
        raise
    finally:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"oxenfs import: exit {process.returncode}")
    os.sync()
    return Made(seconds, private / 1e6, usage.ru_maxrss * 1024 / 1e6)


def by_git(source: Path, work: Work) -> Made:
    """Add and commit with git, in a repository beside the source."""
    git = ["git", f"--git-dir={work.new_folder('git')}", f"--work-tree={source}"]
    git += ["-c", "gc.auto=0", "-c", "maintenance.auto=false"]
    git += ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def call(*args: str) -> None:
        subprocess.run([*git, *args], env=env, check=True, cwd=source)

    call("init", "--quiet", "--initial-branch=main")

    def add_and_commit() -> None:
        call("add", "--all")
        call("commit", "--quiet", "--message=benchmark")

    seconds = timed(add_and_commit)
    os.sync()
    return Made(seconds)


def by_cp(source: Path, work: Work) -> Made:
    """Copy and sync the file system of the copy."""
    target = work.new_folder("copy")

    def copy() -> None:
        subprocess.run(["cp", "-r", str(source), str(target)], check=True)
        subprocess.run(["sync", "-f", str(target)], check=True)

    return Made(timed(copy))


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Import and copy, alternated."""
    tree = Tree(args.dirs, args.files // args.dirs, args.size)
    source = tree.at(work.kept)
    warm(source)
    found = alternate(
        {
            "oxenfs import": lambda: by_oxenfs(source, work),
            "git add + commit": lambda: by_git(source, work),
            "cp -r + sync": lambda: by_cp(source, work),
        },
        args.rounds,
        warm_up=False,
    )
    rates = {side: [tree.file_count / made.seconds for made in found[side]] for side in found}
    ours, what = found["oxenfs import"], f"{tree.file_count:,} files of {tree.size:,} bytes"
    figures = [
        compared(f"import, {what}", rates["oxenfs import"], peer, rates[peer], "files/s", goal)
        for peer, goal in (("git add + commit", at_least(1.0)), ("cp -r + sync", at_least(0.5)))
    ]
    memory = [("private", [made.private for made in ours])]
    memory += [("resident, mapped files too", [made.resident for made in ours])]
    for kind, values in memory:
        figures.append(Figure(f"import's peak memory, {kind}", max(values), "MB"))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("import of a folder", rounds=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--dirs", type=int, default=100)
    parser.add_argument("--size", type=int, default=4096, help="of each file, in bytes")
    args = parser.parse_args()
    if args.quick:
        args.files, args.dirs = min(args.files, 5_000), min(args.dirs, 5)
    run(args, measure)


if __name__ == "__main__":
    main()
