"""Asks a daemon over its control socket; blocking, for commands. Imports neither trio nor pyfuse3.

The wire: one JSON line there; JSON lines back, the last one `{"done": result}` or
`{"error": {"type", "message"}}`. Everything before that is progress.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from oxenfs import failures
from oxenfs.errors import MountError
from oxenfs.mount import registry
from oxenfs.mount.registry import Entry

SOCKET = "control"
"""Name of the socket in the registry's folder of a mount."""

LINE_BYTES_MAX = 16 * 1024 * 1024
"""The longest line that a daemon sends."""

Event = dict[str, Any]


def ask(
    entry: Entry,
    command: str,
    *,
    timeout_s: float | None = 30.0,
    on_event: Callable[[Event], None] | None = None,
    **arguments: Any,
) -> Any:
    """Let the daemon of `entry` run `command`, and return the result.

    Args:
        entry: the mount.
        command: a name of the daemon's table.
        timeout_s: how long the answer may keep us waiting, from line to line; None for ever.
        on_event: gets each line of progress.
        arguments: JSON values for the command.

    Raises:
        MountError: nobody answers there, or not in time.
        OxenfsError: what the command itself raised, of the same type.

    What `on_event` raises passes through.

    Leaving early (an exception, Ctrl-C) closes the connection, and the daemon cancels the command.
    """
    if entry.folder is None:
        raise MountError(f"the mount at {entry.dir} is not registered, so its process is not known")
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        # Only around what uses the socket: errors of `on_event` are the caller's own.
        with _told(entry):
            connect(connection, entry.folder)
            # A daemon that refuses us may have answered and hung up already: its answer counts.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
        lines = _lines(connection, timeout_s)
        while True:
            with _told(entry):
                line = next(lines, None)
            if line is None:
                break
            if "done" in line:
                return line["done"]
            if "error" in line:
                raise failures.from_json(line["error"])
            if on_event is not None:
                on_event(line)
    raise MountError(
        f"the process of the mount at {entry.dir} went away; its log: {entry.log or 'unknown'}"
    )


@contextlib.contextmanager
def _told(entry: Entry) -> Iterator[None]:
    """Raise `MountError` for what goes wrong with the socket of a mount's process."""
    try:
        yield
    except TimeoutError as exc:
        raise MountError(
            f"the process of the mount at {entry.dir} ({entry.pid}) does not answer; "
            f"oxenfs umount --lazy {entry.dir} ends it"
        ) from exc
    except OSError as exc:
        if not registry.is_alive(entry.dir):
            raise MountError(
                f"the process of the mount at {entry.dir} is gone; mount there again, "
                f"or oxenfs umount {entry.dir}"
            ) from exc
        raise MountError(
            f"the process of the mount at {entry.dir} cannot be reached: {exc.strerror}"
        ) from exc


def connect(connection: socket.socket, folder: Path) -> None:
    """Connect to the socket in `folder`, whose path may be longer than the 108 bytes of sun_path.

    Raises:
        OSError: nobody listens there.
    """
    through = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{through}/{SOCKET}")
    finally:
        os.close(through)


def _lines(connection: socket.socket, timeout_s: float | None) -> Iterator[Event]:
    pending = bytearray()
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        end = pending.find(b"\n")
        if end >= 0:
            try:
                line = json.loads(pending[:end])
            except ValueError as exc:
                raise MountError("the mount's process sends something that is not JSON") from exc
            del pending[: end + 1]
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            yield line
            continue
        if len(pending) > LINE_BYTES_MAX:
            raise MountError("the mount's process sends a line without an end")
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        part = connection.recv(65536)
        if not part:
            return
        pending += part
