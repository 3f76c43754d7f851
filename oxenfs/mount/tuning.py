"""Raises the kernel's limits of a FUSE mount after mounting, where this user may.

pyfuse3 has no way to set them: 128 KiB of read-ahead and 12 background requests, so that twelve
readers of something slow hold up everybody who reads ahead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from oxenfs.mount.mountinfo import Device

READ_AHEAD_KB = 1024
"""Gives read requests of 1 MiB, the most that the kernel sends."""

MAX_BACKGROUND = 256
"""Requests for reading ahead that may be under way at once."""

CONGESTION_THRESHOLD = 192
"""From so many on the kernel reads ahead less; 3/4, as in its own defaults."""

_BDI = Path("/sys/class/bdi")
_FUSECTL = Path("/sys/fs/fuse/connections")
_CHILD_S = 5.0

# In a mount namespace of its own, so that nothing stays mounted. $1 minor, $2 and $3 the limits.
_IN_CHILD = (
    'mount -t fusectl none "$0" && echo "$2" > "$0/$1/max_background" && '
    'echo "$3" > "$0/$1/congestion_threshold"'
)


def raise_limits(device: Device) -> list[str]:
    """Raise the limits of the mount `device`; return what could not be raised, one line each.

    Call it when the kernel has its first answer (to INIT), which sets them to the defaults. Never
    touches the mount, never fails. Blocks for some milliseconds where fusectl is not mounted.
    """
    return [*_read_ahead(device), *_background(device)]


def background_limit(device: Device) -> int | None:
    """Return the connection's `max_background`; None where fusectl does not show it."""
    try:
        return int((_FUSECTL / str(device[1]) / "max_background").read_text())
    except (OSError, ValueError):
        return None


def _read_ahead(device: Device) -> list[str]:
    major, minor = device
    try:
        (_BDI / f"{major}:{minor}" / "read_ahead_kb").write_text(str(READ_AHEAD_KB))
    except OSError as exc:
        return [f"read-ahead stays at the kernel's 128 KiB ({exc.strerror}; root may raise it)"]
    return []


def _background(device: Device) -> list[str]:
    connection = _FUSECTL / str(device[1])
    reason = None
    try:
        if connection.is_dir():
            (connection / "max_background").write_text(str(MAX_BACKGROUND))
            (connection / "congestion_threshold").write_text(str(CONGESTION_THRESHOLD))
            return []
    except OSError as exc:
        reason = exc.strerror
    if reason is None:
        reason = _through_child(device)
    if reason is None:
        return []
    return [f"max_background stays at the kernel's 12 ({reason}; root may raise it)"]


def _through_child(device: Device) -> str | None:
    """Set the limits through a fusectl that only a child sees; return why that failed."""
    if os.geteuid() != 0:
        return "not permitted"
    unshare = shutil.which("unshare")
    if unshare is None:
        return "fusectl is not mounted and there is no unshare"
    limits = [str(device[1]), str(MAX_BACKGROUND), str(CONGESTION_THRESHOLD)]
    try:
        done = subprocess.run(
            [unshare, "--mount", "sh", "-c", _IN_CHILD, str(_FUSECTL), *limits],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_CHILD_S,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip().replace("\n", "; ") or "fusectl fails"
