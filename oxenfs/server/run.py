"""Runs the server until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from oxenfs.errors import OxenfsError, UsageError
from oxenfs.server.app import create_app
from oxenfs.server.guard import is_loopback

# Clients keep connections; those of the official server close theirs after as long.
_KEEP_ALIVE_S = 75
_STOP_S = 10


class _OneWrite(asyncio.Transport):
    """A transport that joins what is written within one turn of the loop.

    Head and first bytes of an answer come as two writes; on the wire they are one.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._inner = transport
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        """Send soon."""
        if not data:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._inner.close()

    def _flush(self) -> None:
        if self._waiting:
            data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
            self._waiting.clear()
            if not self._inner.is_closing():
                self._inner.write(data)

    def __getattribute__(self, name: str) -> Any:
        # The base class answers everything else with NotImplementedError.
        if name in ("write", "close", "_flush", "_inner", "_waiting", "_loop"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_inner"), name)


class _Protocol(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(_OneWrite(transport))


def serve(
    path: Path,
    host: str,
    port: int,
    *,
    token: str | None,
    insecure: bool = False,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve the repositories below `path` until SIGINT or SIGTERM.

    Args:
        path: the folder of `namespace/name`.
        host: the address to listen on.
        port: 0 takes a free one.
        token: what clients must show.
        insecure: allows an address other than loopback without a token.
        started: called with the URL once connections are taken.

    Raises:
        UsageError: everybody on the network could read and write.
        OxenfsError: the port is taken, or the folder cannot be used.
    """
    if token is None and not insecure and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached by others: give --token-file, or --insecure to let everybody "
            "read and write"
        )
    app = create_app(path, host=host, token=token)
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        h11_max_incomplete_event_size=64 * 1024,
    )
    if started is not None:
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listener.getsockname()[1]}")
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except OSError as exc:
        listener.close()
        raise OxenfsError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
    return listener
