"""Undoes a mount, dead or alive or stuck, so that nothing is left running or registered."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oxenfs.errors import MountError, OxenfsError
from oxenfs.mount import client, mountinfo, registry
from oxenfs.mount.detach import Busy, detach
from oxenfs.mount.holders import Holder, holders, inside
from oxenfs.mount.mountinfo import Mounted
from oxenfs.mount.registry import Entry

# A program that has just looked at the folder (a shell's completion, an indexer) is gone soon.
_BUSY_S = 0.5
# A daemon ends by itself when its mount is gone; one that does not is told to, then killed.
_LEAVE_S, _TERM_S, _KILL_S = 3.0, 2.0, 2.0
_PING_S = 2.0


@dataclass(frozen=True, slots=True)
class Unmounted:
    """What an unmount did.

    Attributes:
        address: what was mounted, as far as known.
        lingering: after a lazy unmount, who still reads files that were open.
    """

    dir: Path
    address: str
    lingering: tuple[Holder, ...] = ()


def unmount(path: str | os.PathLike[str], *, lazy: bool = False) -> Unmounted:
    """Unmount the mount of ours at exactly `path`, all its layers, and wait for its daemon's end.

    Args:
        path: the mount point.
        lazy: do not mind those who use it: they keep what they have open, everybody else sees
            the empty folder. A daemon that does not answer is killed.

    Raises:
        MountError: there is no mount of ours; or it is in use, and the text says by whom.
    """
    where = mountinfo.real_path(path)
    entry = registry.entry_at(where)
    stack = mountinfo.layers(where)
    if not (stack and stack[-1].ours):
        if entry is not None and entry.alive and not stack:
            _end_daemon(entry, 0.0)
            return Unmounted(where, entry.address)
        raise MountError(_not_ours(where, stack))
    address = entry.address if entry is not None else stack[-1].source
    lingering: tuple[Holder, ...] = ()
    while stack and (top := stack[-1]).ours:
        if lazy:
            lingering += _lazily(top, entry)
        else:
            _politely(top)
        stack = mountinfo.layers(where)
    if entry is not None and not lazy:
        _end_daemon(entry, _LEAVE_S)
    registry.entries()  # cleans up after a daemon that could not
    return Unmounted(where, address, lingering)


def _politely(top: Mounted) -> None:
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            return detach(top.path)
        except Busy as exc:
            if time.monotonic() >= until:
                raise MountError(_in_use(top)) from exc
        time.sleep(0.05)


def _lazily(top: Mounted, entry: Entry | None) -> tuple[Holder, ...]:
    using = tuple(holders(top))
    answers = entry is None or not entry.alive or _answers(entry)
    if not answers:
        # Frees those who wait for an answer, even where the daemon itself cannot be killed.
        with contextlib.suppress(MountError):
            detach(top.path, force=True)
    if any(m.id == top.id for m in mountinfo.layers(top.path)):
        detach(top.path, lazy=True)
    if entry is None or not entry.alive:
        return ()
    if not answers:
        _end_daemon(entry, 0.0, signals=(signal.SIGKILL,))
        return ()
    if _wait(lambda: not registry.is_alive(entry.dir), _BUSY_S):
        return ()
    # It lives on for those who have files open; the mount point is free for others.
    with contextlib.suppress(OxenfsError):
        client.ask(entry, "release", timeout_s=_PING_S)
    return using


def _answers(entry: Entry) -> bool:
    try:
        client.ask(entry, "info", timeout_s=_PING_S)
    except OxenfsError:
        return False
    return True


def _end_daemon(
    entry: Entry,
    patience_s: float,
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL),
) -> None:
    """Wait until the daemon of `entry` is gone; after `patience_s` make it go."""

    def gone() -> bool:
        return not registry.is_alive(entry.dir)

    if _wait(gone, patience_s):
        return
    for number in signals:
        # The pid cannot belong to another process as long as the lock is held.
        if entry.pid is not None and not gone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.pid, number)
        if _wait(gone, _TERM_S if number == signal.SIGTERM else _KILL_S):
            return
    raise MountError(
        f"{entry.dir} is unmounted, but its process {entry.pid} does not end; "
        f"see {entry.log or 'the log'}"
    )


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
    return True


def _in_use(top: Mounted) -> str:
    nested = inside(top)
    if nested:
        return (
            f"{top.path} is in use: {nested[0].source} ({nested[0].type}) is mounted on "
            f"{nested[0].path}; unmount that first"
        )
    using = holders(top)
    if not using:
        by = "a process that you may not see; as root, fuser -vm names it"
    else:
        by = ", ".join(str(holder) for holder in using[:8])
        if len(using) > 8:
            by += f" and {len(using) - 8} more"
    return f"{top.path} is in use by {by}; end that, or unmount with --lazy"


def _not_ours(where: Path, stack: list[Mounted]) -> str:
    if stack:
        return f"{where} is a mount of {stack[-1].type} ({stack[-1].source}), not of oxenfs"
    around = registry.find(where)
    if around is not None:
        return f"{where} is inside a mount, not one itself; to undo it: oxenfs umount {around.dir}"
    return f"nothing of oxenfs is mounted at {where}; oxenfs mounts lists what is"
