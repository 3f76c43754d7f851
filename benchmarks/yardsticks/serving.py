"""Mounts a yardstick in the foreground, says when it answers, and takes signals.

A yardstick is a file system that does as little as pyfuse3 lets it do, so that what it reaches is
what any Python file system could reach on this machine in this minute.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyfuse3
import trio


def serve(
    operations: pyfuse3.Operations,
    mountpoint: str,
    name: str,
    read_ahead_kb: int | None = None,
    *,
    writable: bool = False,
) -> None:
    """Serve `operations` at `mountpoint` until it is unmounted or a signal comes.

    Prints `ready` once the mount has answered a request and the read-ahead is set.

    Args:
        operations: the file system.
        mountpoint: an empty folder.
        name: shown as source and subtype of the mount.
        read_ahead_kb: the largest read request in KiB, set after mounting. Needs root; None keeps
            the kernel's 128.
        writable: let the kernel pass writes on.
    """
    options = {"default_permissions", f"fsname={name}", f"subtype={name}"}
    if not writable:
        options.add("ro")
    pyfuse3.init(operations, mountpoint, options)
    try:
        trio.run(_answer, mountpoint, read_ahead_kb)
    finally:
        # Gone already when `umount` ended the loop; then this does nothing.
        pyfuse3.close(unmount=True)


async def _answer(mountpoint: str, read_ahead_kb: int | None) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        nursery.start_soon(_announce, mountpoint, read_ahead_kb)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    # Cancelling instead of pyfuse3.terminate(), which waits for blocked handlers for ever.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


async def _announce(mountpoint: str, read_ahead_kb: int | None) -> None:
    await trio.to_thread.run_sync(_prepare, mountpoint, read_ahead_kb, abandon_on_cancel=True)
    print("ready", flush=True)


def _prepare(mountpoint: str, read_ahead_kb: int | None) -> None:
    # The answer to this comes after INIT, which would set the read-ahead back to 128.
    device = os.stat(mountpoint).st_dev  # noqa: PTH116
    if read_ahead_kb is not None:
        bdi = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        Path(bdi).write_text(str(read_ahead_kb))
