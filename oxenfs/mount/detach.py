"""Takes a file system off its mount point: by the system call as root, else by fusermount3."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path

from oxenfs.errors import MountError

# umount2(2). NOFOLLOW: the path is already without symlinks; one that appears is somebody's trick.
_FORCE, _DETACH, _NOFOLLOW = 1, 2, 8
_FUSERMOUNT_S = 10.0


class Busy(MountError):
    """Somebody still uses the mount."""


def detach(path: Path, *, lazy: bool = False, force: bool = False) -> None:
    """Unmount the topmost layer at `path`. Works on a dead mount and on a stuck one.

    Args:
        path: as in the kernel's table.
        lazy: take it out of the tree now, and let it go when its last user is gone.
        force: abort the connection first, so that everybody who waits for an answer gets an
            error. Only root can; ignored for others.

    Raises:
        Busy: somebody uses it. After `force` the connection is aborted nevertheless.
        MountError: not permitted, or no fusermount3.
    """
    # Not the `umount` command: it resolves the path by itself, which waits for a stuck mount.
    if os.geteuid() == 0:
        _umount2(path, _NOFOLLOW | (_DETACH if lazy else 0) | (_FORCE if force else 0))
    else:
        _fusermount(path, lazy=lazy)


def _umount2(path: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), flags) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise Busy(f"{path} is in use")
    reason = "not permitted here (CAP_SYS_ADMIN)" if code == errno.EPERM else os.strerror(code)
    raise MountError(f"cannot unmount {path}: {reason}")


def _fusermount(path: Path, *, lazy: bool) -> None:
    arguments = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", str(path)]
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_FUSERMOUNT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as exc:
        raise MountError("there is no fusermount3; install it: sudo apt install fuse3") from exc
    except subprocess.TimeoutExpired as exc:
        raise MountError(f"fusermount3 does not finish unmounting {path}") from exc
    if done.returncode == 0:
        return
    text = done.stderr.decode(errors="replace").strip().removeprefix("fusermount3: ")
    if "busy" in text:
        raise Busy(f"{path} is in use")
    if "not found in" in text:
        raise MountError(f"{path} was mounted by another user; unmount it as that user or root")
    raise MountError(f"cannot unmount {path}: {text or f'fusermount3 exits {done.returncode}'}")
