"""Connections to a server: prompt acknowledgements, and a limit to how slowly bytes may come.

A timeout of a socket is about one call. A server that sends a byte now and then would never meet
it, so what is waited for an answer is counted as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import socket
import threading
import time
import weakref
from typing import Any

import requests
import requests.adapters
import urllib3

from oxenfs.remote.http.heads import LimitedResponse

RATE_MIN_BYTES_S = 4096
"""Each 4 KiB of an answer allow for one more second of waiting, beside the timeout."""

# What it would say, with a traceback, about a connection that ends within the headers comes as an
# error of ours.
logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL)

# Sent in pieces, each with the timeout: 128 KiB in 30 s is the same rate as above.
_SEND_BYTES = 128 << 10


class _Timed(io.RawIOBase):
    """The bytes of one answer, which must not come too slowly."""

    def __init__(self, sock: socket.socket, inner: io.RawIOBase) -> None:
        self._sock = sock
        self._inner = inner
        self._limit_s = self._timeout_s = sock.gettimeout()
        self.received_bytes = 0
        self._waited_s = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._limit_s is None:
            got = self._inner.readinto(buffer)
            self.received_bytes += got or 0
            return got
        left_s = self._limit_s + self.received_bytes / RATE_MIN_BYTES_S - self._waited_s
        if left_s <= 0:
            raise TimeoutError(f"less than {RATE_MIN_BYTES_S} bytes a second came")
        timeout_s = min(left_s, self._limit_s)
        if timeout_s != self._timeout_s:
            # Two calls into the kernel; mostly it is the limit, as before.
            self._sock.settimeout(timeout_s)
            self._timeout_s = timeout_s
        started = time.monotonic()
        try:
            got = self._inner.readinto(buffer)
        finally:
            self._waited_s += time.monotonic() - started
        self.received_bytes += got or 0
        return got

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Response(LimitedResponse):
    """An answer that counts its bytes, and how long they take."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.timed = _Timed(sock, self.fp.detach())
        self.fp = io.BufferedReader(self.timed)


class Sockets:
    """The sockets of one client, so that another thread can break them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._all: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, sock: socket.socket) -> None:
        """Note a socket, for as long as it exists."""
        with self._lock:
            self._all.add(sock)

    def abort(self) -> None:
        """Shut all of them down: whoever reads from one sees its end."""
        with self._lock:
            found = list(self._all)
        for sock in found:
            with contextlib.suppress(OSError):
                # Of the plain class: that of TLS takes the connection apart under its reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response
    sockets: Sockets

    def connect(self) -> None:
        super().connect()
        self.sockets.add(self.sock)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _acknowledge_promptly(self.sock)
        return super().getresponse()


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection

    def __init__(self, *args: Any, sockets: Sockets, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sockets = sockets

    def _new_conn(self) -> Any:
        made: Any = super()._new_conn()
        made.sockets = self._sockets
        return made


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, sockets: Sockets, **kwargs: Any) -> None:
        self._sockets = sockets
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{"blocksize": _SEND_BYTES, **kwargs})
        self.poolmanager.pool_classes_by_scheme = {
            "http": functools.partial(_Pool, sockets=self._sockets),
            "https": functools.partial(_TlsPool, sockets=self._sockets),
        }


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # Redirections are followed by hand. Even told not to follow them, `requests` would read
        # all of such an answer into memory, and take its address apart.
        return None


def received_bytes(response: requests.Response) -> int:
    """Return how many bytes came for an answer so far, with its headers."""
    timed = getattr(response.raw._original_response, "timed", None)
    return timed.received_bytes if isinstance(timed, _Timed) else 0


def new_session(sockets: Sockets) -> requests.Session:
    """Return a session that keeps one connection, and takes nothing from the environment.

    Args:
        sockets: gets those that it opens.
    """
    session = _Session()
    session.trust_env = False
    session.headers.clear()
    adapter = _Adapter(sockets, pool_connections=2, pool_maxsize=1, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def sendable_body(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return a body in the form in which no single call has to send all of a large one.

    Python's `sendall` has one timeout for everything it is given: 10 MiB in 30 s is more than many
    a line takes.
    """
    return io.BytesIO(body) if body is not None and len(body) > _SEND_BYTES else body


def _acknowledge_promptly(sock: object) -> None:
    # Does not stick: it has to be said again after each request.
    if isinstance(sock, socket.socket) and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
