"""What is read from and set on the machine: page cache, cores, memory and CPU time of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KEPT = bytearray(1 << 20)


def drop_page_cache() -> bool:
    """Drop clean pages, dentries and inodes of the whole machine; False if not allowed to."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except PermissionError:
        return False
    return True


def forget_pages(path: Path) -> None:
    """Drop the page cache of one file, and of nothing below it.

    On a mount this leaves the pages of the backing file alone, which `drop_page_cache` does not.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def warm(path: Path) -> int:
    """Read a file, or each file below a folder, into the page cache; return the bytes read."""
    if path.is_dir():
        return sum(warm(Path(child)) for child in os.scandir(path))
    if not path.is_file():
        return 0
    total = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        # Sparse index files have a size of a terabyte: read their data only.
        end = 0
        while True:
            try:
                start = os.lseek(fd, end, os.SEEK_DATA)
            except OSError:
                return total
            end = os.lseek(fd, start, os.SEEK_HOLE)
            for offset in range(start, end, len(KEPT)):
                total += os.preadv(fd, [KEPT], offset)
    finally:
        os.close(fd)


def descendants(pid: int) -> list[int]:
    """Return `pid` and all processes below it."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def private_memory(pid: int) -> int:
    """Return RssAnon + RssShmem of a process and its children, in bytes.

    Not RSS: mapped pages of database files count there, and the kernel takes them back at will.
    """
    total = 0
    for member in descendants(pid):
        try:
            lines = (PROC / str(member) / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))
        )
    return total * 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, of a process and its living children."""
    ticks = 0
    for member in descendants(pid):
        try:
            fields = (PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def is_running(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Pinning:
    """On which cores client and daemon run.

    An idle core must be woken for every request, which costs as much as the request. The scheduler
    chooses differently from run to run, so a figure without pinning measures its choice.
    """

    name: str
    client: Set[int]
    daemon: Set[int]

    @contextmanager
    def applied(self, daemon_pid: int) -> Iterator[None]:
        """Pin this process and the daemon; give this process its cores back afterwards."""
        before = os.sched_getaffinity(0)
        try:
            for member in descendants(daemon_pid):
                for thread in (PROC / str(member) / "task").iterdir():
                    os.sched_setaffinity(int(thread.name), self.daemon)
            os.sched_setaffinity(0, self.client)
            yield
        finally:
            os.sched_setaffinity(0, before)


def pinnings() -> list[Pinning]:
    """Return the ways to pin: both on the same core, on two, and not at all."""
    cores = sorted(os.sched_getaffinity(0))
    ways = [Pinning("same core", {cores[0]}, {cores[0]})]
    if len(cores) > 1:
        ways.append(Pinning("two cores", {cores[1]}, {cores[0]}))
    return [*ways, Pinning("free", set(cores), set(cores))]
