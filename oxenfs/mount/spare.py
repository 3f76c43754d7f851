"""A process that imports what a mount needs while its parent still reads the command line.

The two take about as long as each other, and a machine has two cores. `begin` is for the first
line of a console script, so this module imports next to nothing. `oxenfs.mount.daemon.start` gives
the process its order; without one it ends when its parent does, or lets go of it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn


class Spare(NamedTuple):
    """A process that waits for its order.

    Attributes:
        orders: where to write it; closed without a word, it ends the process.
        report: where its one answer can be read.
    """

    pid: int
    orders: int
    report: int

    def order(self, order: Any) -> None:
        """Send what to do, arguments of `oxenfs.mount.daemon.live`.

        Raises:
            OSError: the process is gone; nothing was done.
        """
        data = memoryview(pickle.dumps(order))
        try:
            while data:
                data = data[os.write(self.orders, data) :]
        finally:
            os.close(self.orders)


_waiting: Spare | None = None


def begin() -> None:
    """Start the process. Call this in a process without threads."""
    global _waiting
    orders, giving = os.pipe()
    receiving, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        _wait(orders, report)
    os.close(orders)
    os.close(report)
    _waiting = Spare(pid, giving, receiving)


def take() -> Spare | None:
    """Return the process that waits, to whoever asks first; None if there is none."""
    global _waiting
    taken, _waiting = _waiting, None
    return taken


def leave_home(keep: Collection[int]) -> None:
    """Be a session of one's own, at `/`, with no descriptor of the caller's but `keep`."""
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    # A pipe or a lock that the caller's shell has open would stay open as long as the mount.
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):  # noqa: PTH208
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _wait(orders: int, report: int) -> NoReturn:
    """Be the process: import, wait for the order, carry it out."""
    status = 1
    try:
        leave_home({orders, report})
        _import_ahead()
        with os.fdopen(orders, "rb") as file:
            order = file.read()
        if order:
            from oxenfs.mount.daemon import live

            where, build, options, log = pickle.loads(order)
            live(where, build, options, log, report)
        status = 0
    finally:
        # The caller's clean-up is not ours to do, nor are its last words ours to print.
        os._exit(status)


def _import_ahead() -> None:
    import gc

    gc.disable()
    # What is missing is said when it is needed, to somebody who listens.
    with contextlib.suppress(Exception):
        import oxenfs.mount.assembly
        import oxenfs.mount.serve  # noqa: F401
    gc.enable()
