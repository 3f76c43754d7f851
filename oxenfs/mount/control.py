"""The daemon's end of the control socket: runs commands for the user who mounted. See `client`."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from oxenfs import failures
from oxenfs.errors import AccessDenied, MountError, OxenfsError, UsageError
from oxenfs.mount.client import LINE_BYTES_MAX, SOCKET

_log = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 64 * 1024
"""The longest request; commands take names and messages, never contents."""

CONNECTIONS_MAX = 32
"""Connections at a time; more than that are refused at once."""

# How long a peer may take over its request, and over taking a line from us.
_REQUEST_S, _SEND_S = 5.0, 30.0

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Sends one line of progress; waits while the peer is slow."""

Handler = Callable[[Mapping[str, Any], Send], Awaitable[Any]]
"""Runs a command: gets the request and `Send`, returns the result, a JSON value.

Cancelled when the peer goes away: it must leave everything well at each checkpoint. What it
raises goes to the peer. (A coroutine with `Send`, not an async generator: those may not yield out
of a nursery or a cancel scope, and commands need both.)
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table of commands.

    Attributes:
        deadline_s: after it the handler is cancelled; infinite for what may take hours.
    """

    handler: Handler
    deadline_s: float = 30.0


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[trio.SocketListener]:
    """Give a listener on the control socket in `folder`, 0600; the socket file goes at the end."""
    through = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    bound = socket.socket(socket.AF_UNIX)
    made: int | None = None
    try:
        # Through the descriptor: the path itself may be longer than sun_path holds.
        place = f"/proc/self/fd/{through}/{SOCKET}"
        before = os.umask(0o177)
        try:
            bound.bind(place)
        finally:
            os.umask(before)
        made = os.stat(SOCKET, dir_fd=through).st_ino
        bound.listen(CONNECTIONS_MAX)
        bound.setblocking(False)
        yield trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    except OSError as exc:
        raise MountError(f"cannot make the control socket in {folder}: {exc.strerror}") from exc
    finally:
        bound.close()
        with contextlib.suppress(OSError):
            # After a lazy unmount the folder may be another daemon's by now.
            if os.stat(SOCKET, dir_fd=through).st_ino == made:
                os.unlink(SOCKET, dir_fd=through)
        os.close(through)


async def serve(listener: trio.SocketListener, commands: Mapping[str, Command]) -> None:
    """Take connections until cancelled, each in its own task; a failing one harms no other."""
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def connection(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                places.acquire_nowait()
            except trio.WouldBlock:
                await _answer(stream, {"error": failures.to_json(MountError("too many at once"))})
                return
            try:
                await _serve_one(stream, commands)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                _log.debug("a peer of the control socket went away")
            except Exception:
                _log.exception("control socket")
            finally:
                places.release()

    await trio.serve_listeners(connection, [listener])


async def _serve_one(stream: trio.SocketStream, commands: Mapping[str, Command]) -> None:
    try:
        _check_peer(stream)
        with trio.fail_after(_REQUEST_S):
            request = _parse(await _receive_line(stream))
        command = commands.get(str(request.get("command")))
        if command is None:
            raise UsageError(f"this mount knows no command {request.get('command')!r}")
        answer = {"done": await _run(stream, command, request)}
    except OxenfsError as exc:
        answer = {"error": failures.to_json(exc)}
    except trio.TooSlowError:
        answer = {"error": failures.to_json(MountError("no complete request in time"))}
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise
    except Exception as exc:
        _log.exception("a command of the control socket failed")
        answer = {"error": failures.to_json(exc)}
    await _answer(stream, answer)


async def _run(stream: trio.SocketStream, command: Command, request: Mapping[str, Any]) -> Any:
    """Run the handler; cancel it when the peer hangs up, or at its deadline."""
    result: Any = None
    failure: Exception | None = None
    finished = gone = False

    async def send(event: Mapping[str, Any]) -> None:
        with trio.fail_after(_SEND_S):
            await stream.send_all(_line(event))

    async def hang_up() -> None:
        nonlocal gone
        # Nothing may come after the request: whatever comes, end of file or not, ends it.
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(1)
        gone = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        with trio.move_on_after(command.deadline_s):
            try:
                result = await command.handler(request, send)
            except Exception as exc:  # raised below, where no nursery wraps it in a group
                failure = exc
            finished = True
        nursery.cancel_scope.cancel()
    if gone:
        raise trio.BrokenResourceError
    if failure is not None:
        raise failure
    if not finished:
        limit = "" if math.isinf(command.deadline_s) else f" in {command.deadline_s:g} s"
        raise MountError(f"{request.get('command')} did not finish{limit}")
    return result


def _check_peer(stream: trio.SocketStream) -> None:
    # The folder is 0700 already; this also holds where a path to it was opened for others.
    packed = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", packed)
    if uid not in (os.geteuid(), 0):
        raise AccessDenied("only the user who mounted may control the mount")


async def _receive_line(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    while b"\n" not in received:
        if len(received) > REQUEST_BYTES_MAX:
            raise UsageError(f"a request of more than {REQUEST_BYTES_MAX} bytes")
        part = await stream.receive_some(REQUEST_BYTES_MAX)
        if not part:
            raise trio.BrokenResourceError
        received += part
    return bytes(received.partition(b"\n")[0])


def _parse(line: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise UsageError("a request is one line of JSON") from exc
    if not isinstance(request, dict):
        raise UsageError("a request is a JSON object")
    return request


async def _answer(stream: trio.SocketStream, answer: Mapping[str, Any]) -> None:
    # Shielded, for the answer to `stop` that has just cancelled everything; and short, for the
    # same reason.
    with trio.CancelScope(shield=True, relative_deadline=1.0):
        await stream.send_all(_line(answer))


def _line(value: Mapping[str, Any]) -> bytes:
    line = json.dumps(value).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise MountError("an answer too long for the control socket")
    return line
