"""Who keeps a mount busy, found in /proc without touching the mount."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oxenfs.mount.mountinfo import Mounted, is_within, read

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses a mount.

    Attributes:
        use: how: `cwd`, `root`, `exe`, `open file` or `mapped file`.
    """

    pid: int
    command: str
    use: str

    def __str__(self) -> str:
        return f"{self.command} ({self.pid}, {self.use})"


def holders(mounted: Mounted) -> list[Holder]:
    """Return the processes that use `mounted`, as far as this user may see them.

    Only root sees those of other users. Mappings are looked at last, and only if nothing else
    explains it: reading them waits for a process that hangs in a page fault.
    """
    found = [holder for pid in _pids() if (holder := _holder(pid, mounted)) is not None]
    return found or [
        Holder(pid, _command(pid), "mapped file") for pid in _pids() if _maps(pid, mounted)
    ]


def inside(mounted: Mounted) -> list[Mounted]:
    """Return the file systems mounted on folders of `mounted`; they keep it busy too."""
    return [other for other in read() if other.parent == mounted.id]


def _pids() -> Iterator[int]:
    own = os.getpid()
    for name in os.listdir(_PROC):  # noqa: PTH208 - names alone, and no Path for each
        if name.isdigit() and int(name) != own:
            yield int(name)


def _holder(pid: int, mounted: Mounted) -> Holder | None:
    process = _PROC / str(pid)
    for use in ("cwd", "root", "exe"):
        # Reading these links asks nothing of the file system that they lead to.
        try:
            if is_within((process / use).readlink(), {mounted.path}):
                return Holder(pid, _command(pid), use)
        except OSError:
            continue
    try:
        numbers = os.listdir(process / "fd")  # noqa: PTH208
    except OSError:
        return None
    for number in numbers:
        if _mount_id(process / "fdinfo" / number) == mounted.id:
            return Holder(pid, _command(pid), "open file")
    return None


def _mount_id(fdinfo: Path) -> int | None:
    try:
        for line in fdinfo.read_text().splitlines():
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def _maps(pid: int, mounted: Mounted) -> bool:
    major, minor = mounted.device
    device = f"{major:02x}:{minor:02x}".encode()
    try:
        lines = (_PROC / str(pid) / "maps").read_bytes().splitlines()
    except OSError:
        return False
    return any(len(fields := line.split(None, 5)) >= 5 and fields[3] == device for line in lines)


def _command(pid: int) -> str:
    # Not cmdline: that reads the memory of the process, which a page fault may hold up.
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
