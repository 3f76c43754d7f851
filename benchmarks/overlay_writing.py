"""How fast an overlay takes writes: many small files, and one large one that is synced.

Peers: a pyfuse3 file system that passes every request on to a folder of ext4 and notes nothing
(`yardsticks/writable.py`), and bindfs, which is the same in C. The overlay stands on a repository
of one file; each round has a mount, a folder and files of its own, and nothing is deleted before
the end: ext4 makes new files slowly after many were deleted.

Small files are made (`O_EXCL`), written in one piece and closed, in ten folders. The large file is
written in pieces of 1 MiB and its `fsync` counts; what others have written is synced before.

    python benchmarks/overlay_writing.py [--files 10000 --size 10000 --large 1024] [--quick]
    python benchmarks/overlay_writing.py --only small
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, alternate, arguments, at_least, compared, progress, run
from machine import cpu_seconds
from mounts import Mount, mounted, repository, yardstick
from trees import Tree
from unmounting import end, uninterrupted, unmount

if TYPE_CHECKING:
    from work import Work

FOLDERS = 10
PIECE = memoryview(os.urandom(1 << 20))
BASE = Tree(0, 1, 10_000)
Side = Callable[[], AbstractContextManager[Mount]]


def small_files(folder: Path, files: int, size: int) -> float:
    """Make `files` files and return files per second."""
    data = PIECE[:size]
    started = time.perf_counter()
    for number in range(FOLDERS):
        top = folder / f"new-{number}"
        top.mkdir()
        for name in range(files // FOLDERS):
            fd = os.open(f"{top}/{name:06d}.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, data)
            os.close(fd)
    seconds = time.perf_counter() - started
    last = folder / f"new-{FOLDERS - 1}" / f"{files // FOLDERS - 1:06d}.bin"
    if last.read_bytes() != data:
        raise SystemExit(f"{last}: other bytes than were written")
    return files / seconds


def large_file(folder: Path, size_mb: int) -> float:
    """Write one file, sync it, and return MB/s."""
    started = time.perf_counter()
    fd = os.open(folder / "large.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    for _ in range(size_mb):
        if os.write(fd, PIECE) != len(PIECE):
            raise SystemExit("a short write")
    os.fsync(fd)
    os.close(fd)
    seconds = time.perf_counter() - started
    return size_mb * len(PIECE) / seconds / 1e6


@contextmanager
def bindfs(work: Work) -> Iterator[Mount]:
    """Mount a new folder with bindfs."""
    folder = work.new_folder("bindfs")
    line = ["bindfs", "-f", str(work.new_folder("backing")), str(folder)]
    process = subprocess.Popen(line, start_new_session=True)
    try:
        until = time.monotonic() + 10
        while not os.path.ismount(folder):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("bindfs did not mount")
            time.sleep(0.02)
        yield Mount(folder, lambda: process.pid)
    finally:
        with uninterrupted():
            unmount(folder)
            end(folder, [process.pid])
            process.wait()


def sides(work: Work) -> dict[str, Side]:
    """Return what is compared: each call is a mount of its own."""
    address = repository(work, BASE)

    def ours() -> AbstractContextManager[Mount]:
        return mounted(work, address, options=["--overlay"])

    def plain() -> AbstractContextManager[Mount]:
        return yardstick(work, "yardsticks/writable.py", backing=work.new_folder("backing"))

    found: dict[str, Side] = {"oxenfs": ours, "pass-through": plain}
    if shutil.which("bindfs"):
        found["bindfs"] = lambda: bindfs(work)
    else:
        progress("no bindfs here: its rows are left out")
    return found


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Write by all file systems, alternated."""
    small = f"create {args.files:,} files of {args.size:,} bytes"
    large = f"write {args.large:,} MiB and fsync"
    works: dict[str, tuple[Callable[[Path], float], str, float, int]] = {
        "small": (lambda f: small_files(f, args.files, args.size), "files/s", 0.7, args.files),
        "large": (lambda f: large_file(f, args.large), "MB/s", 0.8, args.large),
    }
    figures = []
    for name, (write, unit, goal, count) in works.items():
        if args.only not in (None, name):
            continue

        def one(
            side: Side,
            write: Callable[[Path], float] = write,
            count: int = count,
        ) -> tuple[float, float]:
            with side() as mount:
                os.sync()
                cpu = cpu_seconds(mount.pid)
                rate = write(mount.folder)
                return rate, (cpu_seconds(mount.pid) - cpu) / count * 1000

        found = alternate(
            {
                who: lambda side=side: one(side)  # type: ignore[misc]
                for who, side in sides(work).items()
            },
            args.rounds,
        )
        what = small if name == "small" else large
        ours = found.pop("oxenfs")
        for peer, theirs in found.items():
            wanted = at_least(goal) if peer == "pass-through" else None
            rates = [rate for rate, _ in ours], peer, [rate for rate, _ in theirs]
            figures.append(compared(what, *rates, unit, wanted))
        cpu = [c for _, c in ours], "pass-through", [c for _, c in found["pass-through"]]
        each = "ms per file" if name == "small" else "ms per MiB"
        figures.append(compared(f"{what}: daemon's CPU time", *cpu, each))
    return figures


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("writing into an overlay", rounds=5)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000, help="of each small file, in bytes")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--only", choices=("small", "large"))
    args = parser.parse_args()
    if args.quick:
        args.files, args.large = min(args.files, 1000), min(args.large, 64)
    run(args, measure)


if __name__ == "__main__":
    main()
