"""How long a mount takes to move to another commit, and what many revisions in one mount cost.

Two commits of a tree differ in 100 files: of 50 folders, or in one flat folder. Timed is the
command of the control socket, from the request to the answer, which comes when the kernel has been
told. A file in every folder, and every file that differs, was looked at before, so that the kernel
knows them. The peer is what one does without: unmount, mount the other commit, list its root.

Over HTTP the server is behind a link of 20 ms and 1 Gbit/s, and each round has a new commit, of
which nothing is known. Its goal is 0.3 s, four round trips, and the time that the bytes take.
The memory of 20 revisions and the bytes of a second one are measured in mounts of all revisions.

    python benchmarks/moving.py [--entries 1000000 --dirs 1000 --flat 200000] [--quick]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from harness import Figure, Goal, alternate, arguments, compared, no_more_than, progress, run, timed
from link import Link, link
from machine import private_memory
from mounts import Mount, command, environment, mounted, oxenfs, repository, repository_folder
from servers import _running, free_port
from trees import DIR_NAME, FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

CHANGED = 100
FOLDERS = 50
RTT_S = 0.02
RATE = 125e6
REVISIONS = 20
CHANGED_BYTES = 64 << 10


def paths(tree: Tree) -> list[str]:
    """Return the files that differ, spread over the tree."""
    if not tree.dirs:
        return [FILE_NAME % (number * (tree.files // CHANGED)) for number in range(CHANGED)]
    folders = min(FOLDERS, tree.dirs)
    return [
        f"{DIR_NAME % (n % folders * (tree.dirs // folders))}/{FILE_NAME % (n // folders * 7)}"
        for n in range(CHANGED)
    ]


def commit(work: Work, tree: Tree, address: str, label: str) -> None:
    """Commit other contents of the files that differ to the branch of `address`."""
    folder = work.new_folder("changes")
    for path in paths(tree):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(f"{label} {path}\n")
    oxenfs(work, "import", folder, address, "-m", label)


def know(mount: Mount, tree: Tree) -> None:
    """Look at a file of each folder, and at all that differ."""
    for folder in range(tree.dirs):
        (mount.folder / (DIR_NAME % folder) / (FILE_NAME % 1)).stat()
    for path in paths(tree):
        (mount.folder / path).stat()


class Mover:
    """Moves one mount by its control socket."""

    def __init__(self, work: Work, mount: Mount) -> None:
        from oxenfs.mount import registry

        os.environ["XDG_RUNTIME_DIR"] = environment(work)["XDG_RUNTIME_DIR"]
        entry = registry.entry_at(mount.folder)
        assert entry is not None
        self._entry = entry

    def __call__(self, what: str, **arguments: str) -> float:
        """Return the seconds that a command takes."""
        from oxenfs.mount.client import ask

        return timed(lambda: ask(self._entry, what, timeout_s=None, **arguments))


def remount(work: Work, address: str, cache: Path, mount: Path) -> float:
    """Return the seconds of the way without a move."""
    env = environment(work)

    def again() -> None:
        subprocess.run(command("umount", mount), env=env, check=True, capture_output=True)
        line = command("mount", address, mount, "--cache-dir", cache)
        subprocess.run(line, env=env, check=True, capture_output=True)
        subprocess.run(["ls", str(mount)], check=True, stdout=subprocess.DEVNULL)

    return timed(again)


def cached(args: argparse.Namespace, work: Work, tree: Tree, goal: float, what: str) -> Figure:
    """Go to and fro between two commits that are known."""
    address = repository(work, tree)
    other = f"moved-{time.time_ns()}"
    folder = repository_folder(address)
    commit(work, tree, f"{folder}@{other}", other)
    revs = ["main", other]
    caches = work.new_folder("cache"), work.new_folder("cache")
    with (
        mounted(work, address, caches[0]) as one,
        mounted(work, address, caches[1]) as two,
    ):
        know(one, tree)
        move = Mover(work, one)
        # Known from here on, in both directions.
        move("checkout", rev=other)
        move("checkout", rev="main")
        turn = {"ours": 0, "peer": 0}

        def ours() -> float:
            turn["ours"] += 1
            rev = revs[turn["ours"] % 2]
            taken = move("checkout", rev=rev)
            found = (one.folder / paths(tree)[0]).read_bytes()
            if (rev == other) != found.startswith(other.encode()):
                raise SystemExit(f"after a checkout of {rev}: {found!r}")
            return taken

        def theirs() -> float:
            turn["peer"] += 1
            rev = revs[turn["peer"] % 2]
            return remount(work, f"{folder}@{rev}", caches[1], two.folder)

        seconds = alternate({"checkout": ours, "remount": theirs}, args.rounds)
    return compared(
        what,
        seconds["checkout"],
        "umount, mount, ls",
        seconds["remount"],
        "s",
        no_more_than(goal),
    )


@contextmanager
def served(work: Work, folder: Path) -> Iterator[Link]:
    """Serve a repository as `bench/tree` behind a link."""
    home = work.new_folder("served")
    (home / "bench").mkdir()
    (home / "bench" / "tree").symlink_to(folder)
    port = free_port()
    line = command("serve", home, "--port", str(port))
    with (
        _running("oxenfs serve", line, {}, port, work) as server,
        link(server.host, rtt_ms=RTT_S * 1000, rate=RATE) as slow,
    ):
        yield slow


def uncached(args: argparse.Namespace, work: Work, tree: Tree) -> list[Figure]:
    """Pull commits of which nothing is known, over HTTP; then many revisions in one mount."""
    local = repository_folder(repository(work, tree))
    branch = f"pulled-{time.time_ns()}"
    commit(work, tree, f"{local}@{branch}", "first")
    numbers = iter(range(1_000_000))
    with served(work, local) as slow:
        address = f"{slow.url}/bench/tree@{branch}"
        goals: list[float] = []
        requests: list[int] = []
        moved: list[int] = []
        with mounted(work, address) as one:
            know(one, tree)
            move = Mover(work, one)

            def ours() -> float:
                commit(work, tree, f"{local}@{branch}", f"commit {next(numbers)}")
                before = slow.counts()
                taken = move("pull")
                said = slow.counts() - before
                requests.append(said.requests)
                moved.append(said.down_bytes)
                goals.append(0.3 + 4 * RTT_S + said.down_bytes / RATE)
                return taken

            def theirs() -> float:
                with mounted(work, address) as fresh:
                    return timed(lambda: list(fresh.folder.iterdir()))

            seconds = alternate({"pull": ours, "ls after a mount": theirs}, args.rounds)
        note = f"{max(requests)} requests, {max(moved) / 1000:,.0f} kB"
        pulled = compared(
            f"pull over HTTP, {CHANGED} files of {FOLDERS} folders differ, 20 ms",
            seconds["pull"],
            "first ls of a new mount, mounting not counted",
            seconds["ls after a mount"],
            "s",
            no_more_than(round(max(goals), 2)),
            note,
        )
        return [pulled, memory(work, tree, slow, local, branch)]


def memory(work: Work, tree: Tree, slow: Link, local: Path, branch: str) -> Figure:
    """Open revisions side by side, list all of each, read what differs: the memory of 20."""
    for number in range(REVISIONS):
        commit(work, tree, f"{local}@{branch}", f"revision {number}")
    with mounted(work, f"{slow.url}/bench/tree", None, ["--revisions"]) as mount:
        listed = sorted((mount.folder / "commits").iterdir())
        # But for the first one, which is empty.
        commits = [path for path in listed if any(path.iterdir())][:REVISIONS]
        for number, root in enumerate(commits):
            for folder in range(tree.dirs):
                list((root / (DIR_NAME % folder)).iterdir())
            for name in paths(tree):
                (root / name).read_bytes()
            progress(f"{number + 1} of {len(commits)} revisions are open")
        taken = private_memory(mount.pid)
    return Figure(
        f"memory with {len(commits)} revisions open, {tree.file_count:,} entries each",
        taken / 1e6,
        "MB",
        goal=no_more_than(250),
    )


def second_revision(work: Work) -> Figure:
    """Fetch all of one revision, then read all of another one: only the difference comes.

    The difference is the nodes that the server sends for `base..head`, in one archive, and the
    bytes of the files that the head has and the base has not.
    """
    tree = Tree(FOLDERS * 2, 50, 2048)
    local = repository_folder(repository(work, tree))
    branch = f"second-{time.time_ns()}"
    changes = work.new_folder("changes")
    for path in paths(tree):
        (changes / path).parent.mkdir(exist_ok=True)
        (changes / path).write_bytes(random.randbytes(CHANGED_BYTES))
    oxenfs(work, "import", changes, f"{local}@{branch}", "-m", "second")
    with served(work, local) as slow:
        server = f"{slow.url}/api/repos/bench/tree"
        heads = [
            requests.get(f"{server}/branches/{name}", timeout=30).json()["branch"]["commit_id"]
            for name in ("main", branch)
        ]
        nodes = requests.get(f"{server}/tree/download/{'..'.join(heads)}", timeout=300)
        nodes.raise_for_status()
        difference = int(nodes.raw.tell()) + CHANGED * CHANGED_BYTES
        cache = work.new_folder("cache")
        with mounted(work, f"{slow.url}/bench/tree", cache, ["--revisions"]) as mount:
            read_all(mount.folder / "branches" / "main")
            time.sleep(3)  # what runs ahead in the background has ended
            before = slow.counts()
            read_all(mount.folder / "branches" / branch)
            time.sleep(1)
            taken = slow.counts() - before
    return Figure(
        "second revision of the same data: bytes fetched",
        taken.body_bytes / 1e6,
        "MB",
        "the nodes and blobs that differ",
        difference / 1e6,
        taken.body_bytes / difference,
        goal=Goal("ratio", "<=", 1.02),
        note=f"{taken.requests} requests",
    )


def read_all(root: Path) -> None:
    """Read every file below a folder."""
    for folder, _, names in os.walk(root):
        for name in names:
            Path(folder, name).read_bytes()


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Measure both shapes."""
    tree, flat = Tree(args.dirs, args.entries // args.dirs, 8), Tree(0, args.flat, 8)
    spread = f"checkout, {tree.file_count:,} entries, {CHANGED} files of {FOLDERS} folders differ"
    one = f"checkout, {CHANGED} files of a folder of {flat.files:,} differ"
    return [
        cached(args, work, tree, 0.3, spread),
        cached(args, work, flat, 0.5, one),
        *uncached(args, work, tree),
        second_revision(work),
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("moving a mount", rounds=5)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--dirs", type=int, default=1_000)
    parser.add_argument("--flat", type=int, default=200_000)
    args = parser.parse_args()
    if args.quick:
        args.entries, args.dirs = min(args.entries, 20_000), min(args.dirs, 100)
        args.flat = min(args.flat, 5_000)
    run(args, measure)


if __name__ == "__main__":
    main()
