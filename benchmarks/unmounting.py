"""Unmounting that succeeds: by asking, by asking again, by force, and not stopped by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from machine import is_running

ASK_S = 2.0
STOP_S = 10.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until the end of the block, which then raises KeyboardInterrupt.

    Children started in the block should be in a session of their own: the terminal sends Ctrl-C to
    them too.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


def unmount(folder: Path, *, lazy: bool = False) -> bool:
    """Unmount with the tool for this user; False if it could not be done."""
    if os.geteuid() == 0:
        tool = ["umount", "-l"] if lazy else ["umount"]
    else:
        tool = ["fusermount3", "-uz"] if lazy else ["fusermount3", "-u"]
    line = [*tool, str(folder)]
    done = subprocess.run(line, capture_output=True, check=False, start_new_session=True)
    return done.returncode == 0


def mounted_below(folder: Path) -> list[Path]:
    """Return the mount points at or below a folder, innermost first.

    From the kernel's table: asking the folder itself may hang, or lie about a dead mount.
    """
    # Bytes: the names of other people's mount points may be any.
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [Path(os.fsdecode(line.split()[4])) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def end(folder: Path, family: list[int]) -> None:
    """Make sure that nothing of a mount is left, by force if it does not go by itself.

    Args:
        folder: where it was mounted.
        family: the processes behind it, all of them started by the caller.
    """
    _wait_until(lambda: not mounted_below(folder) or unmount(folder), ASK_S)
    if mounted_below(folder):
        # An interrupted reader may still have a file open, in a frame of its traceback.
        print(f"  {folder} has to be unmounted by force", file=sys.stderr, flush=True)
        unmount(folder, lazy=True)
    _wait_until(lambda: not any(map(is_running, family)), STOP_S)
    for pid in filter(is_running, family):
        print(f"  process {pid} has to be killed", file=sys.stderr, flush=True)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_until(done: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def sweep(run_folder: Path) -> None:
    """Unmount whatever is still mounted below the folder of a run; its daemons then end."""
    for point in mounted_below(run_folder):
        end(point, [])


@contextmanager
def unmounted_after(folder: Path, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Unmount what another program has mounted when the block ends, and end the program."""
    try:
        yield
    finally:
        with uninterrupted():
            if not unmount(folder):
                process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            end(folder, [process.pid])
            process.wait()
