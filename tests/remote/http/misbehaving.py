"""A server on this machine that answers as it is told, byte by byte, and notes what it was asked.

Raw sockets: what is tested are answers that no HTTP library would send.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from oxenfs.address import Hosted
from oxenfs.remote.http.remote import HttpRemote

API = "/api/repos/ns/name"


class Request(NamedTuple):
    """What was asked.

    Attributes:
        headers: names in lowercase.
        connection: number of the connection that it came by.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """The target below the repository, without the query."""
        return urlsplit(self.target).path.removeprefix(API)


@dataclass(frozen=True)
class Reply:
    """What is sent back.

    Attributes:
        head: status line and headers, with the empty line.
        then: what happens after the body: `keep` the connection, `close` or `reset` it, `stall`.
        drip_s: time between the bytes of the body; 0 sends them at once.
    """

    head: bytes
    body: bytes = b""
    then: str = "keep"
    drip_s: float = 0.0


def reply(
    status: int = 200,
    body: bytes | str | Mapping[str, object] = b"",
    *,
    length: int | None = None,
    then: str = "keep",
    drip_s: float = 0.0,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return a reply whose `Content-Length` is right unless `length` says another one."""
    named = dict(headers or {})
    if isinstance(body, Mapping):
        named.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    named["Content-Length"] = str(len(raw) if length is None else length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return Reply(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1"), raw, then, drip_s)


def success(**fields: object) -> Reply:
    """Return a good answer with these fields beside its envelope."""
    return reply(200, {"status": "success", "status_message": "resource_found", **fields})


Answering = Callable[[Request], Reply]


@dataclass
class Misbehaving:
    """The server.

    Attributes:
        requests: all that came, in order.
        replies: what the next requests get; the last one stays.
        answering: gives the reply instead of `replies`, if it is set.
    """

    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    answering: Answering | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """Method and path of all requests."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def remote(self, *, token: str | None = None, timeout_s: float = 5.0) -> HttpRemote:
        hosted = Hosted("http", self.host, "ns", "name")
        return HttpRemote(hosted, token, timeout_s, sleep=lambda _: None)

    def stop(self) -> None:
        self._stopped.set()
        # Closing alone does not wake a thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
            assert not thread.is_alive()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connected)
            self._run(self._serve, connected, self.connections)

    def _serve(self, connected: socket.socket, number: int) -> None:
        with connected, contextlib.suppress(OSError), connected.makefile("rb") as source:
            while (request := _read_request(source, number)) is not None:
                with self._lock:
                    self.requests.append(request)
                    if self.answering is not None:
                        said = self.answering(request)
                    else:
                        said = self.replies[0] if len(self.replies) == 1 else self.replies.pop(0)
                if not self._send(connected, said):
                    return

    def _send(self, connected: socket.socket, said: Reply) -> bool:
        """Send a reply; return whether the connection goes on."""
        if said.drip_s:
            for byte in said.head + said.body:
                connected.sendall(bytes([byte]))
                if self._stopped.wait(said.drip_s):
                    return False
        else:
            connected.sendall(said.head + said.body)
        if said.then == "stall":
            self._stopped.wait()
        if said.then == "reset":
            # No time to linger: the other side gets a reset instead of an end.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The file made of the socket holds it open otherwise.
            connected.shutdown(socket.SHUT_RD)
        return said.then == "keep"


@contextlib.contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    server = Misbehaving()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def bad() -> Iterator[Misbehaving]:
    """A server that answers as the test tells it."""
    with misbehaving() as server:
        yield server


def _read_request(source: object, number: int) -> Request | None:
    read_line, read = source.readline, source.read  # type: ignore[attr-defined]
    line = read_line().decode("latin-1").split()
    if len(line) < 2:
        return None
    headers: dict[str, str] = {}
    while (header := read_line().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = read(int(headers.get("content-length", "0")))
    return Request(line[0], line[1], headers, body, number)
