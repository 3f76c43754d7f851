"""What must be true of a folder before something is mounted on it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from oxenfs.errors import MountError
from oxenfs.mount import mountinfo
from oxenfs.mount.detach import Busy, detach
from oxenfs.mount.mountinfo import Mounted

# Counting the entries of a folder with millions of them would take longer than the message is
# worth.
_COUNT_MAX = 1000
_PROBE_S = 2.0
_PROBE = "import os, sys; next(os.scandir(sys.argv[1]), None)"


def prepare(path: Path) -> None:
    """Check that something can be mounted on `path`, and take dead mounts of ours off it.

    Args:
        path: without symlinks, and claimed by this process: a mount of ours there that is in the
            registry is known to be dead.

    Raises:
        MountError: it cannot; the text says what to do about it.
    """
    _clear(path)
    try:
        status = path.stat()
    except FileNotFoundError as exc:
        raise MountError(f"there is no folder {path}; make it: mkdir -p {path}") from exc
    except NotADirectoryError as exc:
        raise MountError(f"{path}: something on the way to it is not a folder") from exc
    except OSError as exc:
        raise MountError(f"cannot look at {path}: {exc.strerror}") from exc
    if not stat.S_ISDIR(status.st_mode):
        raise MountError(f"{path} is not a folder; a mount needs an empty one")
    _check_rights(path, status)
    _check_empty(path)


def _clear(path: Path) -> None:
    """Take off the layers of ours that are dead; raise `MountError` for any other layer."""
    while stack := mountinfo.layers(path):
        top = stack[-1]
        if not top.ours:
            raise MountError(
                f"{path} is the mount point of another file system "
                f"({top.type}, {top.source}); choose another folder, or unmount it first"
            )
        if _answers(top):
            raise MountError(
                f"{path} already shows {top.source}; unmount it first: oxenfs umount {path}"
            )
        try:
            detach(path)
        except Busy:
            # Those who still stand in the dead mount only ever get errors there: let them be.
            detach(path, lazy=True)
        if len(mountinfo.layers(path)) >= len(stack):
            raise MountError(f"a dead mount at {path} does not go away; try umount -l {path}")


def _answers(mounted: Mounted) -> bool:
    """Return whether a real request shows that `mounted` is not dead; a stuck one counts as alive.

    `stat` would not do: it is answered from what the kernel keeps. In a child, for the request to
    a stuck mount may not be interruptible.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROBE, str(mounted.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, told = child.communicate(timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return True
    finally:
        if child.stderr is not None:
            child.stderr.close()
    # Permission denied: somebody else's, and alive.
    dead = (b"[Errno 107]", b"[Errno 103]")  # ENOTCONN, ECONNABORTED
    return not any(text in told for text in dead)


def _check_rights(path: Path, status: os.stat_result) -> None:
    # What fusermount3 asks of an ordinary user; its own words do not name the folder's owner.
    user = os.geteuid()
    if user == 0:
        return
    if not os.access(path, os.W_OK | os.X_OK):
        raise MountError(
            f"you may not write to {path}, and so not mount there; choose a folder of your own"
        )
    if status.st_mode & stat.S_ISVTX and status.st_uid != user:
        raise MountError(
            f"{path} is shared (sticky) and not yours, so you may not mount there; "
            "make a folder in it"
        )


def _check_empty(path: Path) -> None:
    count = 0
    try:
        with os.scandir(path) as listing:
            for _ in listing:
                count += 1
                if count > _COUNT_MAX:
                    break
    except OSError as exc:
        raise MountError(f"cannot list {path}: {exc.strerror}") from exc
    if count:
        number = f"more than {_COUNT_MAX}" if count > _COUNT_MAX else str(count)
        entries = "entry" if count == 1 else "entries"
        raise MountError(
            f"{path} is not empty: a mount would hide {number} {entries}; "
            "choose or make an empty folder"
        )
