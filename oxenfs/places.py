"""Where oxenfs keeps things on this machine: the XDG base directories, one folder in each.

A folder is made when it is first asked for, with mode 0700; a wider one of ours is narrowed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from oxenfs.errors import AccessDenied, OxenfsError

_OURS = "oxenfs"


def cache_dir() -> Path:
    """Return the folder of what can be fetched or computed again (`$XDG_CACHE_HOME/oxenfs`)."""
    return _private(_base("XDG_CACHE_HOME", ".cache") / _OURS)


def data_dir() -> Path:
    """Return the folder of what must not get lost (`$XDG_DATA_HOME/oxenfs`)."""
    return _private(_base("XDG_DATA_HOME", ".local/share") / _OURS)


def state_dir() -> Path:
    """Return the folder of logs and of what outlives a reboot (`$XDG_STATE_HOME/oxenfs`)."""
    return _private(_base("XDG_STATE_HOME", ".local/state") / _OURS)


def runtime_dir() -> Path:
    """Return the folder of sockets and of facts about running processes.

    That is `$XDG_RUNTIME_DIR/oxenfs`, or the state folder where the variable is missing, names no
    directory, or names another user's: `su` and `sudo -E` leave the caller's in place.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/"):
        try:
            status = Path(named).stat()
        except OSError:
            return state_dir()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            return _private(Path(named, _OURS))
    return state_dir()


def _base(variable: str, below_home: str) -> Path:
    # The XDG specification: a relative path is invalid and to be ignored.
    named = os.environ.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    try:
        return Path.home() / below_home
    except RuntimeError as exc:
        raise OxenfsError(f"there is no home folder here; set HOME or {variable}") from exc


def _private(folder: Path) -> Path:
    try:
        _make(folder)
        # A symlink to another disk is fine: what counts is whose folder it leads to.
        status = folder.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise OxenfsError(f"{folder} is not a folder; move it out of the way")
        if status.st_uid != os.geteuid():
            raise AccessDenied(
                f"{folder} belongs to user {status.st_uid}, not to you; "
                "give it back (chown -R) or choose another place by the XDG_*_HOME variables"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            folder.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as exc:
        raise OxenfsError(f"{folder}: something on the way to it is not a folder") from exc
    except OSError as exc:
        raise OxenfsError(f"cannot use the folder {folder}: {exc.strerror}") from exc
    return folder


def _make(folder: Path) -> None:
    # Not `mkdir(parents=True)`: that gives the parents the umask's mode, the specification
    # asks for 0700.
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
