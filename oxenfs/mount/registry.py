"""Which mounts there are: one folder for each mount point, below the runtime folder.

In it: `lock`, held (flock) by the daemon for as long as it lives, with its pid as text, and the
one truth about whether it lives; `info.json`, what is mounted; `control`, the socket at which the
daemon takes commands. The kernel's table says whether the mount itself is still there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oxenfs import places
from oxenfs.errors import MountError
from oxenfs.mount import locks, mountinfo
from oxenfs.mount.mountinfo import Device

# A look at the registry holds a dead mount's lock for a moment; a daemon does so for long.
_CLAIM_S = 0.3


@dataclass(frozen=True, slots=True)
class Entry:
    """A mount, living or dead.

    Attributes:
        dir: the mount point, absolute and without symlinks.
        repo: the repository as the mount was asked for.
        revision: as typed; None for the default branch.
        branch: None if a commit is mounted.
        commit: its id; empty if not known.
        base: the commit that an overlay stands on; None without overlay.
        pid: of the daemon; None if it is dead or not known.
        alive: whether the daemon lives.
        mounted: whether the kernel has the mount. Not so while it is being made, and after a lazy
            unmount.
        overlay: where its changes are; None without overlay.
        changes: how many; None without overlay.
        log: where the daemon writes its log.
        folder: the registry's folder for it; None for a mount that only the kernel knows.
        started: Unix time in seconds.
    """

    dir: Path
    repo: str
    revision: str | None
    branch: str | None
    commit: str
    base: str | None
    pid: int | None
    alive: bool
    mounted: bool
    overlay: str | None
    changes: int | None
    log: Path | None
    folder: Path | None
    started: float | None

    @property
    def address(self) -> str:
        """What is mounted, as `REPO@REV`."""
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


class Claim:
    """A mount point that this process has for itself, from `claim` on.

    Attributes:
        dir: the mount point.
        folder: the registry's folder for it.
    """

    def __init__(self, path: Path, folder: Path, lock: int) -> None:
        self.dir = path
        self.folder = folder
        self._lock: int | None = lock
        self._device: Device | None = None

    def describe(self, device: Device, **what: Any) -> None:
        """Say what is mounted: the fields of `Entry` that only the daemon knows, JSON values.

        Whoever reads sees the old text or the new one, never half of it.
        """
        self._device = device
        written = {"dir": str(self.dir), "pid": os.getpid(), "st_dev": list(device), **what}
        part = self.folder / "info.json.part"
        part.write_text(json.dumps(written))
        part.replace(self.folder / "info.json")

    def release(self) -> None:
        """Let go of the mount point; others may mount there from now on. Twice is no error.

        A mount that is left behind there, dead, stays listed.
        """
        if self._lock is None:
            return
        left = any(m.ours and m.device == self._device for m in mountinfo.layers(self.dir))
        # If somebody emptied the runtime folder, the folder is gone, or another daemon's by now.
        if not left and locks.same_file(self._lock, self.folder / "lock"):
            locks.forget(self.folder)
        os.close(self._lock)
        self._lock = None


def mount_id(path: Path) -> str:
    """Return the name that `path` has in the registry and as a log file."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


@contextlib.contextmanager
def claim(path: Path) -> Iterator[Claim]:
    """Take the mount point `path` (without symlinks) for this process, until the end.

    Raises:
        MountError: another process has it; the text says which, and what it shows.
    """
    folder = _home() / mount_id(path)
    lock = locks.lock(folder, time.monotonic() + _CLAIM_S)
    if lock is None:
        raise MountError(_taken(path, _read(folder)))
    claimed = Claim(path, folder, lock)
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        # What a killed predecessor left. A dead mount of it is still in the kernel's table.
        (folder / "control").unlink(missing_ok=True)
        (folder / "info.json").write_text(json.dumps({"dir": str(path)}))
        yield claimed
    finally:
        claimed.release()


def entries() -> list[Entry]:
    """Return this user's mounts by mount point, and clean up what is left of those that are gone.

    Mounts that the registry has lost (the runtime folder is emptied when a user logs out) are
    taken from the kernel's table; those that are still being made are left out. Never waits for
    a mount.
    """
    table = mountinfo.read()
    found: list[Entry] = []
    for folder in sorted(_home().iterdir()):
        entry = _read(folder, table)
        if entry is not None and (entry.mounted or (entry.alive and entry.repo)):
            found.append(entry)
        elif (lock := locks.lock(folder, 0.0, create=False)) is not None:
            # Read again under the lock: a daemon may have come meanwhile, and gone.
            if (entry := _read(folder, table, alive=False)) is None or not entry.mounted:
                locks.forget(folder)
            os.close(lock)
    known = {entry.dir for entry in found}
    for mounted in table:
        if mounted.ours and mounted.user == os.getuid() and mounted.path not in known:
            known.add(mounted.path)
            found.append(_unregistered(mounted))
    return sorted(found, key=lambda entry: entry.dir)


def entry_at(path: Path) -> Entry | None:
    """Return the mount at exactly `path` (without symlinks), None if there is none of ours."""
    return next((entry for entry in entries() if entry.dir == path), None)


def find(path: str | os.PathLike[str]) -> Entry | None:
    """Return the mount that `path` lies in, the innermost one; None if it lies in none of ours.

    Compares text, and looks at nothing inside a mount: works on dead and on stuck ones.
    """
    where = mountinfo.real_path(path)
    around = [e for e in entries() if e.mounted and mountinfo.is_within(where, {e.dir})]
    return max(around, key=lambda entry: len(entry.dir.parts), default=None)


def is_alive(path: Path) -> bool:
    """Return whether a daemon holds the mount point `path`."""
    return locks.held(_home() / mount_id(path))


def _home() -> Path:
    home = places.runtime_dir() / "mounts"
    home.mkdir(mode=0o700, exist_ok=True)
    return home


def _read(
    folder: Path, table: list[mountinfo.Mounted] | None = None, alive: bool | None = None
) -> Entry | None:
    """Return the entry of `folder`, None if nothing is written there; `repo` may be empty yet."""
    alive = locks.held(folder) if alive is None else alive
    told = _json(folder / "info.json")
    if told is None or "dir" not in told:
        return None
    device = tuple(told.get("st_dev") or ())
    path = Path(told["dir"])
    top = mountinfo.layers(path, table)
    return Entry(
        dir=path,
        repo=told.get("repo", ""),
        revision=told.get("revision"),
        branch=told.get("branch"),
        commit=told.get("commit", ""),
        base=told.get("base"),
        pid=_pid(folder) if alive else None,
        alive=alive,
        mounted=any(m.ours and m.device == device for m in top),
        overlay=told.get("overlay"),
        changes=told.get("changes"),
        log=Path(told["log"]) if told.get("log") else None,
        folder=folder,
        started=told.get("started"),
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _pid(folder: Path) -> int | None:
    try:
        return int((folder / "lock").read_text())
    except (OSError, ValueError):
        return None


def _unregistered(mounted: mountinfo.Mounted) -> Entry:
    repo, _, revision = mounted.source.rpartition("@")
    return Entry(
        dir=mounted.path,
        repo=repo or mounted.source,
        revision=revision if repo else None,
        branch=None,
        commit="",
        base=None,
        pid=None,
        alive=False,
        mounted=True,
        overlay=None,
        changes=None,
        log=None,
        folder=None,
        started=None,
    )


def _taken(path: Path, holder: Entry | None) -> str:
    who = f"process {holder.pid}" if holder is not None and holder.pid else "another process"
    if holder is None or not holder.repo:
        return f"{who} is just mounting something at {path}; wait for it, or end it"
    if not holder.mounted:
        return (
            f"{path} was unmounted, but {who} still serves files of {holder.address} that were "
            "open then; close them, or end the process"
        )
    return f"{path} already shows {holder.address} ({who}); unmount it first: oxenfs umount {path}"
