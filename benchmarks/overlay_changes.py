"""What many changes cost, and what a small change of a large file costs.

`many`: files are made in an overlay; then the daemon's memory, the time of `oxenfs status` (the
whole command, from its start to the last line), and the time until a mount of the same overlay
answers after the daemon was killed: with the index as the kill left it, and with none, as after a
restart of the machine.

`table`: a CSV file on a local repository, one cell changed in place, then `oxenfs status`.

`touch`: a large file on a server behind a link that counts. One byte is changed in the middle, one
appended; what is shown are the bytes that came over the link for it.

    python benchmarks/overlay_changes.py [--changes 100000] [--large 1024] [--table 200] [--quick]
    python benchmarks/overlay_changes.py --only touch
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, arguments, no_more_than, parts, progress, run, timed
from link import link
from machine import is_running, private_memory
from mounts import Mount, daemon_of, mounted, oxenfs, repository
from remotes import origin
from trees import FILE_NAME, Tree
from unmounting import uninterrupted, unmount

if TYPE_CHECKING:
    from work import Work

CHUNK_BYTES = 256 << 10
ROW = b"%09d,some words in a table,%012.6f,yes\n"
BASE = Tree(0, 1, 10_000)


def many(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Make many files, look at them, and open them again after kills."""
    address = repository(work, BASE)
    label = f"{args.changes:,} pending changes"
    with mounted(work, address, options=["--overlay"]) as mount:
        before = private_memory(mount.pid)
        folders = max(args.changes // 1000, 1)
        for number in range(folders):
            top = mount.folder / f"new-{number:04d}"
            top.mkdir()
            for name in range(args.changes // folders):
                fd = os.open(f"{top}/{name:06d}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(fd, b"%d\n" % name)
                os.close(fd)
        memory = [private_memory(mount.pid)]
        progress(f"made: {before / 1e6:.0f} -> {memory[0] / 1e6:.0f} MB")
        status = []
        for _ in range(args.rounds):
            status.append(timed(lambda: check_status(work, mount.folder, args.changes)))
            memory.append(private_memory(mount.pid))
    found = [
        Figure(f"memory with {label}", max(memory) / 1e6, "MB", goal=no_more_than(200)),
        Figure(f"status of {label}", min(status), "s", goal=no_more_than(1.0)),
    ]
    # The folder is the overlay's name, so the same one is mounted again and again.
    as_killed, anew = [], []
    for turn in range(2 * args.rounds):
        with_index = turn % 2 == 0
        seconds = reopened(work, address, mount, with_index=with_index)
        (as_killed if with_index else anew).append(seconds)
    check_status(work, mount.folder, args.changes)
    oxenfs(work, "umount", mount.folder)
    goal = no_more_than(2.0)
    found.append(Figure(f"mount after a kill, {label}", min(as_killed), "s", goal=goal))
    what = f"the same, the index lost, {label}"
    return [*found, Figure(what, min(anew), "s", goal=goal)]


def check_status(work: Work, folder: Path, changes: int) -> None:
    """Run `status` and count what it prints."""
    lines = oxenfs(work, "status", folder).count("\n")
    if lines < changes:
        raise SystemExit(f"status shows {lines} lines for {changes} changes")


def reopened(work: Work, address: str, mount: Mount, *, with_index: bool) -> float:
    """Mount if it is not, make one more change, kill the daemon, and time the next mount."""
    if not os.path.ismount(mount.folder):
        oxenfs(work, "mount", address, mount.folder, "--overlay")
    (mount.folder / "one-more").write_bytes(os.urandom(8))
    pid = daemon_of(work, mount.folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):
        time.sleep(0.01)
    with uninterrupted():
        unmount(mount.folder, lazy=True)
    if not with_index:
        for index in (work.run / "data").rglob("index-*"):
            shutil.rmtree(index)
    return timed(lambda: oxenfs(work, "mount", address, mount.folder, "--overlay"))


def table(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Change one cell of a large table, and ask what has changed."""
    source = work.kept / "trees" / f"table-{args.table}"
    path = source / "table.csv"
    if not path.exists():
        source.mkdir(parents=True, exist_ok=True)
        rows = (args.table << 20) // len(ROW % (0, 0))
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(ROW % (row, row / 7) for row in range(rows))
        part.rename(path)
    folder = work.new_folder("table") / "repository"
    oxenfs(work, "init", folder)
    oxenfs(work, "import", source, f"{folder}@main", "-m", "benchmark")
    with mounted(work, f"{folder}@main", options=["--overlay"]) as mount:
        seconds, changed = [], mount.folder / "table.csv"
        for turn in range(args.rounds):
            with changed.open("r+b") as file:
                file.seek((turn + 1) * path.stat().st_size // (args.rounds + 2))
                file.write(b"#")
            seconds.append(timed(lambda: oxenfs(work, "status", mount.folder)))
        found = json.loads(oxenfs(work, "status", mount.folder, "--json"))["changes"]
    if [(each["op"], each["path"]) for each in found] != [("M", "table.csv")]:
        raise SystemExit(f"status shows {found}")
    what = f"status after one cell of a CSV of {args.table} MiB"
    return [Figure(what, max(seconds), "s", goal=no_more_than(1.0))]


def touch(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Change one byte of a large file on a server, append one to it, and count what came."""
    # Not a whole number of chunks, so that an append needs the last one.
    tree = Tree(0, 1, (args.large << 20) + 1000)
    figures = []
    with (
        origin(work, tree) as served,
        link(served.host, rtt_ms=0, rate=0) as slow,
        mounted(work, served.address(slow.host), options=["--overlay"]) as mount,
    ):
        path = mount.folder / (FILE_NAME % 0)
        size = path.stat().st_size
        time.sleep(2)  # the listings have come

        def moved(flags: int, at: int) -> float:
            before = slow.counts()
            fd = os.open(path, os.O_WRONLY | flags)
            os.pwrite(fd, b"#", at) if not flags else os.write(fd, b"#")
            os.close(fd)
            time.sleep(1)  # what is read ahead counts too
            kinds = (slow.counts() - before).kinds
            return sum(k.body_bytes for name, k in kinds.items() if name.startswith("GET"))

        large = f"a file of {args.large} MiB on a server"
        for what, flags, at, chunk in (
            ("append one byte to", os.O_APPEND, 0, size % CHUNK_BYTES),
            ("change one byte of", 0, size // 2, CHUNK_BYTES),
        ):
            goal = no_more_than(round(chunk * 1.02) / 1024)
            came = moved(flags, at) / 1024
            figures.append(Figure(f"{what} {large}: fetched", came, "KiB", goal=goal))
        if path.stat().st_size != size + 1:
            raise SystemExit("nothing was appended")
    return figures


PARTS = {"many": many, "table": table, "touch": touch}


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("changes in an overlay", rounds=3)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--table", type=int, default=200, help="MiB of the CSV file")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--only", choices=sorted(PARTS))
    args = parser.parse_args()
    if args.quick:
        args.changes = min(args.changes, 2000)
        args.table, args.large = min(args.table, 16), min(args.large, 64)
    run(args, parts(PARTS))


if __name__ == "__main__":
    main()
