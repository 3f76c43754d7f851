"""The process behind `link.py`: relays TCP with a delay, a shared rate, and counts of HTTP.

Each direction is a pipe of its own. Bytes that enter it are stamped with the time at which they
leave: when the pipe has sent all before them at its rate, and half a round trip later. So latency
does not limit the rate, and a hundred connections share one pipe as they would a real one. Reading
stops while more than `_QUEUE_S` of bytes wait for the pipe: connections take turns, and a small
request does not stand behind megabytes of others.

Opening a connection takes a round trip here as well: what the client sends first waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque

_PIECE = 64 << 10
_QUEUE_S = 0.002
# What one connection may have under way, beside twice what fits into the pipe.
_WINDOW_BYTES = 4 << 20
_UNLIMITED = 64e9
_REPOSITORY = "/api/repos/"


class Pipe:
    """One direction of the link, shared by all connections.

    Attributes:
        free_at: when all that entered so far will have been sent.
        ready: ends with bytes to be read, in turn.
    """

    def __init__(self) -> None:
        self.free_at = 0.0
        self.ready: deque[End] = deque()
        self.bytes = 0


class End:
    """A socket, what is on its way to it, and what reads it."""

    def __init__(self, sock: socket.socket, pipe: Pipe) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.pipe = pipe  # that its bytes go into
        self.other: End = self
        self.tally: Tally | None = None
        self.is_client = False
        self.arriving: deque[tuple[float, bytes]] = deque()
        self.arriving_bytes = 0
        self.not_before = 0.0
        self.wants_read = True
        self.queued = False
        self.blocked = False
        self.ended = False
        self.closed = False
        self.watched = 0


class Tally:
    """Follows the requests of one connection: counts them by kind, and tells heads from bodies."""

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self._counts = counts
        self._head = b""
        self._body_left = 0
        self._chunked = False
        self._kind: dict[str, int] | None = None
        self._answer_head: bytes | None = None

    def sent(self, data: bytes) -> None:
        """Note bytes of the client."""
        rest = data
        while rest:
            if self._chunked:
                # Only its end is of interest; a piece that has it inside is no matter here.
                self._chunked = not rest.endswith(b"0\r\n\r\n")
                self._add("up_bytes", len(rest))
                return
            if self._body_left:
                taken = min(self._body_left, len(rest))
                self._body_left -= taken
                self._add("up_bytes", taken)
                rest = rest[taken:]
                continue
            self._head += rest
            head, found, after = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._begin(head)
            self._add("up_bytes", len(head) + 4)
            self._head, rest = b"", after

    def answered(self, data: bytes) -> None:
        """Note bytes of the server."""
        self._add("down_bytes", len(data))
        if self._answer_head is None:
            self._add("body_bytes", len(data))
            return
        self._answer_head += data
        while self._answer_head is not None:
            head, found, body = self._answer_head.partition(b"\r\n\r\n")
            if not found:
                return
            # "100 Continue" comes before the answer.
            interim = head[9:10] == b"1"
            self._answer_head = body if interim else None
            if not interim:
                self._add("body_bytes", len(body))

    def _begin(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        lengths = [
            value.strip()
            for name, _, value in (field.partition(b":") for field in fields.split(b"\r\n"))
            if name.lower() == b"content-length"
        ]
        self._body_left = int(lengths[0]) if lengths else 0
        self._chunked = b"transfer-encoding: chunked" in fields.lower()
        self._answer_head = b""
        self._kind = self._counts.setdefault(
            kind_of(line.decode("latin-1")),
            {"requests": 0, "up_bytes": 0, "down_bytes": 0, "body_bytes": 0},
        )
        self._add("requests", 1)

    def _add(self, what: str, amount: int) -> None:
        if self._kind is not None:
            self._kind[what] += amount


def kind_of(request_line: str) -> str:
    """Return method and kind of a request: `GET chunk`, `QUERY versions`, `GET tree`, `GET`.

    What follows namespace and name of a repository is the kind; other servers have none.
    """
    method, _, target = request_line.partition(" ")
    if not target.startswith(_REPOSITORY):
        return method
    parts = target.partition("?")[0].partition(" ")[0].removeprefix(_REPOSITORY).split("/")
    return " ".join((method, *parts[2:3]))


class Relay:
    """The loop."""

    def __init__(self, target: tuple[str, int], rtt_s: float, rate: float, port: int) -> None:
        self._target = target
        self._rtt_s = rtt_s
        self._rate = rate or _UNLIMITED
        self._frozen = False
        self._refusing = False
        self._up, self._down = Pipe(), Pipe()
        self._kinds: dict[str, dict[str, int]] = {}
        self._connections = 0
        self._ends: dict[int, End] = {}
        self._due: list[tuple[float, int, End]] = []
        self._turn = 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(0, select.EPOLLIN)
        self._orders = b""

    def run(self) -> None:
        """Relay until standard input ends."""
        while True:
            # Not epoll's own timeout: it counts in milliseconds, select's in microseconds.
            select.select([self._poll], [], [], self._pause())
            for fd, event in self._poll.poll(0):
                if fd == 0:
                    if not self._obey():
                        return
                elif fd == self._listener.fileno():
                    self._accept()
                elif (end := self._ends.get(fd)) is not None:
                    self._ready(end, event)
            if not self._frozen:
                for pipe in (self._up, self._down):
                    self._fill(pipe)
                self._deliver()

    def _pause(self) -> float | None:
        if self._frozen:
            return None
        times = [pipe.free_at - _QUEUE_S / 2 for pipe in (self._up, self._down) if pipe.ready]
        if self._due:
            times.append(self._due[0][0])
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if self._refusing:
            _reset(client)
            return
        server = socket.socket()
        client.setblocking(False)
        server.setblocking(False)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(self._target)
        here, there = End(client, self._up), End(server, self._down)
        here.other, there.other, here.is_client = there, here, True
        here.tally = there.tally = Tally(self._kinds)
        # The client was told at once that it is connected; on a real link a round trip later.
        here.not_before = time.monotonic() + self._rtt_s
        # Writable once it is connected.
        there.blocked = True
        self._connections += 1
        for end in (here, there):
            self._ends[end.fd] = end
            self._watch(end)

    def _ready(self, end: End, event: int) -> None:
        if event & select.EPOLLOUT:
            end.blocked = False
            self._watch(end)
            if end.arriving:
                heapq.heappush(self._due, (end.arriving[0][0], self._next(), end))
        if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            end.wants_read = False
            self._watch(end)
            if not end.queued:
                end.queued = True
                end.pipe.ready.append(end)

    def _fill(self, pipe: Pipe) -> None:
        """Take bytes into a pipe, from each connection in turn, as fast as it can send them."""
        now = time.monotonic()
        window = _WINDOW_BYTES + 2 * int(min(self._rate, 1e9) * self._rtt_s)
        while pipe.ready and pipe.free_at <= now + _QUEUE_S:
            end = pipe.ready.popleft()
            end.queued = False
            if end.closed:
                continue
            try:
                data = end.sock.recv(_PIECE)
                # The other side may hold back the second half of its answer until this.
                end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except BlockingIOError:
                self._read_on(end)
                continue
            except OSError:
                self._drop(end)
                continue
            begun = max(now, pipe.free_at, end.not_before)
            if data:
                pipe.free_at = max(now, pipe.free_at) + len(data) / self._rate
                begun += len(data) / self._rate
            pipe.bytes += len(data)
            self._count(end, data)
            due = begun + self._rtt_s / 2
            other = end.other
            if not other.arriving and not other.blocked:
                heapq.heappush(self._due, (due, self._next(), other))
            other.arriving.append((due, data))
            other.arriving_bytes += len(data)
            if data and other.arriving_bytes < window:
                self._read_on(end)

    def _count(self, end: End, data: bytes) -> None:
        if end.tally is not None:
            (end.tally.sent if end.is_client else end.tally.answered)(data)

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, end = heapq.heappop(self._due)
            while end.arriving and not end.blocked and not end.closed:
                due, data = end.arriving[0]
                if due > now:
                    heapq.heappush(self._due, (due, self._next(), end))
                    break
                end.arriving.popleft()
                end.arriving_bytes -= len(data)
                self._send(end, due, data)
            source = end.other
            if not (source.wants_read or source.queued or source.closed or end.ended):
                self._read_on(source)

    def _send(self, end: End, due: float, data: bytes) -> None:
        if not data:
            end.ended = True
            with contextlib.suppress(OSError):
                end.sock.shutdown(socket.SHUT_WR)
            if end.other.ended:
                self._close(end)
                self._close(end.other)
            return
        try:
            sent = end.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(end)
            return
        if sent < len(data):
            end.arriving.appendleft((due, data[sent:]))
            end.arriving_bytes += len(data) - sent
            end.blocked = True
            self._watch(end)

    def _read_on(self, end: End) -> None:
        if not end.wants_read and not end.closed:
            end.wants_read = True
            self._watch(end)

    def _watch(self, end: End) -> None:
        """Have epoll tell what is of interest now.

        Not even registered if nothing is: a connection that broke is told whether one asks or not.
        """
        interest = (select.EPOLLIN if end.wants_read else 0) | (
            select.EPOLLOUT if end.blocked else 0
        )
        if interest == end.watched or end.closed:
            return
        if not interest:
            self._poll.unregister(end.fd)
        elif end.watched:
            self._poll.modify(end.fd, interest)
        else:
            self._poll.register(end.fd, interest)
        end.watched = interest

    def _next(self) -> int:
        self._turn += 1
        return self._turn

    def _drop(self, end: End) -> None:
        """End a connection that broke, on both sides, the same way."""
        for each in (end, end.other):
            if not each.closed:
                each.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._close(each)

    def _close(self, end: End) -> None:
        if not end.closed:
            if end.watched:
                self._poll.unregister(end.fd)
            end.closed = True
            del self._ends[end.fd]
            end.sock.close()
            end.arriving.clear()

    def _obey(self) -> bool:
        """Carry out orders, one JSON object a line; return whether there may be more."""
        data = os.read(0, 65536)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            self._rtt_s = order.get("rtt_s", self._rtt_s)
            self._rate = order.get("rate", self._rate) or _UNLIMITED
            self._frozen = order.get("frozen", self._frozen)
            self._refusing = order.get("refusing", self._refusing)
            if order.get("cut"):
                for end in list(self._ends.values()):
                    self._drop(end)
            say(
                {
                    "up_bytes": self._up.bytes,
                    "down_bytes": self._down.bytes,
                    "connections": self._connections,
                    "open": sum(end.is_client for end in self._ends.values()),
                    "kinds": self._kinds,
                }
            )
        return bool(data)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def say(what: object) -> None:
    """Print a line of JSON for the process that started this one."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """Relay between a port of our own and another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--rtt-s", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second; 0: unlimited")
    parser.add_argument("--listen", type=int, default=0)
    args = parser.parse_args()
    with contextlib.suppress(OSError):
        # Cables do not wait for a core. Who may not is measured with a link that stands still for
        # some milliseconds whenever both sides compute.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    relay = Relay((args.host, args.port), args.rtt_s, args.rate, args.listen)
    say({"port": relay.port})
    with contextlib.suppress(KeyboardInterrupt):
        relay.run()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
