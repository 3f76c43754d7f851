"""Folders that one process at a time has for itself, by the flock of a file `lock` in them.

The lock is gone with its process, however that ends. A folder may be removed by whoever holds its
lock, so a lock counts only if its file still has its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path


def lock(folder: Path, until: float, *, create: bool = True) -> int | None:
    """Return a locked descriptor of `folder`'s lock file.

    None if another process still has it at `until` (`time.monotonic`); without `create` also if
    there is no folder. Blocks until then.
    """
    while True:
        if create:
            # Not `exist_ok`: that looks again, and is surprised if the folder is gone by then.
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        try:
            fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            if create and not folder.exists():
                continue  # removed meanwhile, and its lock with it
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() >= until:
                return None
            time.sleep(0.02)
            continue
        # Whoever cleaned up between our open and our flock has left us a file without a name.
        if same_file(fd, folder / "lock"):
            return fd
        os.close(fd)


def held(folder: Path) -> bool:
    """Return whether another process holds the lock of `folder`; no folder, no lock."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def same_file(fd: int, path: Path) -> bool:
    """Return whether the open file `fd` is still the one that is called `path`."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def forget(folder: Path) -> None:
    """Remove `folder` with everything in it. The caller holds its lock."""
    # The lock goes last: as long as it has its name, nobody else begins here. A folder that
    # somebody begins in right after that stays.
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink(missing_ok=True)
    (folder / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
