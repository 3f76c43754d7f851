"""Gets a file system into the kernel: `pyfuse3.init`, its options, its words when it fails."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pyfuse3

from oxenfs.errors import MountError
from oxenfs.mount import mountinfo
from oxenfs.mount.mountinfo import Mounted
from oxenfs.mount.served import Options, Servable

_log = logging.getLogger(__name__)
_initialised = False


def mount(operations: Servable, path: Path, address: str, options: Options) -> Mounted:
    """Mount on `path` and return the kernel's line about it. Answers no request yet.

    Args:
        operations: a `pyfuse3.Operations`.
        path: without symlinks, checked by `mountpoint.prepare`.
        address: shown as the source of the mount.
        options: how.

    Raises:
        MountError: the kernel or fusermount3 refuse; the text says what to do. Also when this
            process has mounted before: a second `pyfuse3.init` silently takes over the first
            one's mount, which stays there, dead.
    """
    global _initialised
    if _initialised:
        raise MountError("a process can serve one mount only; start another process")
    _initialised = True
    said = ""
    try:
        # libfuse and fusermount3 tell the reason only on stderr.
        with _captured_stderr() as read:
            try:
                pyfuse3.init(
                    cast("pyfuse3.Operations", operations), str(path), _flags(address, options)
                )
            finally:
                said = read().strip()
    except RuntimeError as exc:
        raise MountError(_reason(said, path)) from exc
    if said:
        _log.warning("libfuse: %s", said)
    _close_on_exec()
    top = next(reversed(mountinfo.layers(path)), None)
    if top is None or not top.ours:
        raise MountError(f"mounted on {path}, but it is not in /proc/self/mountinfo")
    return top


def unmount(mounted: Mounted) -> None:
    """End the session and unmount, if `mounted` is still what is seen at its path."""
    top = next(reversed(mountinfo.layers(mounted.path)), None)
    # libfuse unmounts whatever is on top there: after a lazy unmount, somebody else's mount.
    pyfuse3.close(unmount=top is not None and top.device == mounted.device)


def abandon() -> None:
    """End the session, and leave the mount: whoever looks gets errors, not the empty folder."""
    pyfuse3.close(unmount=False)


def escaped(value: str) -> str:
    """Return `value` as a mount option takes it: in ASCII, the rest and separators in octal.

    libfuse undoes that. pyfuse3 itself refuses what is not ASCII.
    """
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b",\\" else f"\\{byte:03o}"
        for byte in os.fsencode(value)
    )


def _flags(address: str, options: Options) -> set[str]:
    flags = {
        f"fsname={escaped(address)}",
        "subtype=oxenfs",
        "nosuid",
        "nodev",
        "default_permissions",
    }
    if not options.writable:
        # Without `ro` each READ drops the access time, and the next fstat costs a request.
        flags.add("ro")
    # Only together with default_permissions, which is always there: without it, nobody would
    # check the rights of the others.
    return flags | {"allow_other"} if options.allow_other else flags


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Send descriptor 2, of children too, into memory; gives a function that returns the text."""
    sys.stderr.flush()
    memory = os.memfd_create("stderr")
    kept = os.dup(2)
    os.dup2(memory, 2)
    try:
        yield lambda: os.pread(memory, 65536, 0).decode(errors="replace")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(memory)


def _close_on_exec() -> None:
    # A child that holds the device keeps the connection alive after our end. libfuse sets the
    # flag in the versions we know.
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()) == "/dev/fuse":
                fd = int(link.name)
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


def _reason(said: str, path: Path) -> str:
    """Return what libfuse and fusermount3 mean by `said`, and what to do about it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = " ".join(lines)
    for needle, meaning in _MEANINGS:
        if needle in text:
            return f"cannot mount on {path}: {meaning}"
    why = lines[-1] if lines else "libfuse gives no reason"
    return f"cannot mount on {path}: {why}; oxenfs doctor looks for what is missing"


_MEANINGS = (
    (
        "user_allow_other",
        "--allow-other needs the line user_allow_other in /etc/fuse.conf; "
        "as root: echo user_allow_other >> /etc/fuse.conf",
    ),
    (
        "device not found",
        "there is no /dev/fuse; sudo modprobe fuse, or give the container --device /dev/fuse",
    ),
    (
        "/dev/fuse: Permission denied",
        "you may not use /dev/fuse; sudo chmod 666 /dev/fuse (package fuse3 sets it up so)",
    ),
    (
        "/dev/fuse: Operation not permitted",
        "this container may not use /dev/fuse; start it with --device /dev/fuse",
    ),
    ("exec fusermount3", "there is no fusermount3; install it: sudo apt install fuse3"),
    (
        "too many FUSE filesystems",
        "too many FUSE mounts of ordinary users; raise mount_max in /etc/fuse.conf",
    ),
    ("no write access to mountpoint", "you may not write to that folder; choose one of your own"),
    (
        "Operation not permitted",
        "not permitted here; a container needs --cap-add SYS_ADMIN --device /dev/fuse, "
        "an ordinary user the setuid fusermount3 of package fuse3",
    ),
)
