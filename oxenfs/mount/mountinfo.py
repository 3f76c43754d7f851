"""What is mounted where, read from the kernel's table and never from the mounts themselves.

A dead mount answers `stat` from its cache and a stuck one does not answer at all, so nothing here
looks at a path inside a mount of ours.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from oxenfs.errors import MountError

FS_TYPE = "fuse.oxenfs"
"""The type of our mounts in the kernel's table."""

Device = tuple[int, int]
"""Major and minor number of a file system."""

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
# As many as the kernel follows before it gives up with ELOOP.
_SYMLINKS_MAX = 40


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the kernel's table.

    Attributes:
        id: the number that `/proc/PID/fdinfo` calls `mnt_id`.
        parent: the id of the mount that it is mounted on.
        path: where, as seen from this process.
        source: what is mounted; of our mounts the address.
        user: who may use a FUSE mount (`user_id`); None for other types.
    """

    id: int
    parent: int
    device: Device
    path: Path
    type: str
    source: str
    user: int | None

    @property
    def ours(self) -> bool:
        """Whether this is a mount of oxenfs, no matter by which user or process."""
        return self.type == FS_TYPE


def read(table: bytes | None = None) -> list[Mounted]:
    """Return all mounts that this process sees, oldest first; `table` replaces the kernel's."""
    lines = (_TABLE.read_bytes() if table is None else table).splitlines()
    return [mounted for line in lines if (mounted := _parse(line)) is not None]


def layers(path: Path, table: list[Mounted] | None = None) -> list[Mounted]:
    """Return what is mounted on exactly `path`, the topmost (the visible one) last."""
    return [m for m in (read() if table is None else table) if m.path == path]


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return `path` as an absolute path without symlinks, as the kernel's table has it.

    Components that do not exist are kept. Nothing inside a mount of ours is looked at: below one,
    the names are taken as they are.

    Raises:
        MountError: too many symlinks, or the current folder is gone.
    """
    ours = {m.path for m in read() if m.ours}
    try:
        start = Path.cwd() / path
    except OSError as exc:
        raise MountError("the current folder is gone; cd to one that exists") from exc
    pending = deque(start.parts[1:])
    done, symlinks = Path("/"), 0
    while pending:
        part = pending.popleft()
        if part == "..":
            done = done.parent
            continue
        here = done / part
        target = None if is_within(here, ours) else _symlink(here)
        if target is None:
            done = here
            continue
        symlinks += 1
        if symlinks > _SYMLINKS_MAX:
            raise MountError(f"{path} goes round in a circle of symlinks")
        if target.is_absolute():
            done = Path("/")
        pending.extendleft(reversed([p for p in target.parts if p != "/"]))
    return done


def is_within(path: Path, folders: set[Path]) -> bool:
    """Return whether `path` is one of `folders` or below one; compares text only."""
    return path in folders or not folders.isdisjoint(path.parents)


def _symlink(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def _parse(line: bytes) -> Mounted | None:
    # 36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/sda rw: any number of fields
    # before the dash. See proc(5).
    left, dash, right = line.partition(b" - ")
    fields, rest = left.split(b" "), right.split(b" ")
    if not dash or len(fields) < 6 or len(rest) < 2:
        return None
    major, _, minor = fields[2].partition(b":")
    options = rest[2] if len(rest) > 2 else b""
    user = re.search(rb"(?:^|,)user_id=(\d+)", options)
    return Mounted(
        id=int(fields[0]),
        parent=int(fields[1]),
        device=(int(major), int(minor)),
        path=Path(os.fsdecode(_unescape(fields[4]))),
        type=os.fsdecode(rest[0]),
        source=os.fsdecode(_unescape(rest[1])),
        user=int(user.group(1)) if user else None,
    )


def _unescape(field: bytes) -> bytes:
    return _OCTAL.sub(lambda found: bytes([int(found.group(1), 8)]), field)
