"""A link with a round trip time and a rate in front of a server on this machine, which counts.

    with link("127.0.0.1:3000", rtt_ms=20, rate=125e6) as slow:
        ... slow.host ...                  # "127.0.0.1:PORT", to be used instead of the server's
        before = slow.counts()
        ...
        moved = slow.counts() - before     # bytes each way, requests by kind

Run as a script, it shows what it does: round trips, rates of one and of several connections, and
how close they come to what was asked for; with a host, it stands in front of that until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

_RELAY = Path(__file__).with_name("relay.py")


@dataclass(frozen=True)
class Kind:
    """What moved for one kind of request.

    Attributes:
        up_bytes, down_bytes: all bytes, with heads.
        body_bytes: of the answers, without their heads (but with the framing of chunked ones).
    """

    requests: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    body_bytes: int = 0

    def __sub__(self, other: Kind) -> Kind:
        return Kind(
            self.requests - other.requests,
            self.up_bytes - other.up_bytes,
            self.down_bytes - other.down_bytes,
            self.body_bytes - other.body_bytes,
        )


@dataclass(frozen=True)
class Counts:
    """What moved over a link so far.

    Attributes:
        up_bytes, down_bytes: to the server and from it; all bytes, with heads.
        connections: opened so far; `open` are so now.
        kinds: by method and what follows the repository's name: `GET chunk`, `QUERY versions`.
    """

    up_bytes: int
    down_bytes: int
    connections: int
    open: int
    kinds: Mapping[str, Kind] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def requests(self) -> int:
        """Return the number of all requests."""
        return sum(kind.requests for kind in self.kinds.values())

    @property
    def body_bytes(self) -> int:
        """Return the bytes of all answers without their heads."""
        return sum(kind.body_bytes for kind in self.kinds.values())

    def __sub__(self, before: Counts) -> Counts:
        moved = {
            name: kind - before.kinds.get(name, Kind())
            for name, kind in self.kinds.items()
            if kind != before.kinds.get(name)
        }
        return Counts(
            self.up_bytes - before.up_bytes,
            self.down_bytes - before.down_bytes,
            self.connections - before.connections,
            self.open,
            moved,
        )


class Link:
    """A relay that runs. Safe to use from several threads.

    Attributes:
        host: `127.0.0.1:PORT` of this end.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self.host = f"127.0.0.1:{self._answer()['port']}"

    @property
    def url(self) -> str:
        """Return `http://` and the host."""
        return f"http://{self.host}"

    def counts(self) -> Counts:
        """Return what moved until now."""
        return self._order({})

    def set(self, *, rtt_ms: float | None = None, rate: float | None = None) -> None:
        """Change the link for bytes that enter from now on; a rate of 0 is none."""
        order: dict[str, object] = {} if rtt_ms is None else {"rtt_s": rtt_ms / 1000}
        self._order(order if rate is None else {**order, "rate": rate})

    def freeze(self, frozen: bool = True) -> None:
        """Let nothing through, as a pulled cable does: connections stay and say nothing."""
        self._order({"frozen": frozen})

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections at once, and those that there are."""
        self._order({"refusing": refusing, "cut": refusing})

    def cut(self) -> None:
        """Reset all connections; new ones work."""
        self._order({"cut": True})

    def stop(self) -> None:
        """End the relay and its connections."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=10)

    def _order(self, order: Mapping[str, object]) -> Counts:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            said = self._answer()
        kinds = {name: Kind(**kind) for name, kind in said.pop("kinds").items()}
        return Counts(**said, kinds=kinds)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the relay of a link ended")
        said: dict[str, Any] = json.loads(line)
        return said


@contextlib.contextmanager
def link(host: str, *, rtt_ms: float = 20, rate: float = 125e6, listen: int = 0) -> Iterator[Link]:
    """Stand in front of `host` (`127.0.0.1:3000`) in a process of its own.

    Args:
        host: the server's.
        rtt_ms: added to each round trip, half of it each way, and once for connecting.
        rate: bytes a second each way, shared by all connections; 0 does not limit it.
        listen: port; 0 takes a free one.
    """
    name, _, port = host.rpartition(":")
    numbers = ["--rtt-s", str(rtt_ms / 1000), "--rate", str(rate), "--listen", str(listen)]
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", str(_RELAY), name, port, *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for whoever started it
    )
    try:
        running = Link(process)
        try:
            yield running
        finally:
            running.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    """Serve on a port: a line with a number of bytes is answered with as many."""
    listener = socket.create_server(("127.0.0.1", 0))
    filler = bytes(1 << 20)

    def serve(connected: socket.socket) -> None:
        with connected, contextlib.suppress(OSError), connected.makefile("rb") as source:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while line := source.readline():
                left = int(line)
                while left:
                    left -= connected.send(memoryview(filler)[: min(left, len(filler))])

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = listener.accept()
                threading.Thread(target=serve, args=(connected,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def connected(host: str) -> socket.socket:
    """Return a connection to `host`."""
    name, _, port = host.rpartition(":")
    sock = socket.create_connection((name, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def fetch(sock: socket.socket, size: int) -> float:
    """Return the seconds that an answer of `size` bytes takes from an `echoing` server."""
    buffer = memoryview(bytearray(1 << 20))
    started = time.perf_counter()
    sock.sendall(b"%d\n" % size)
    left = size
    while left:
        left -= sock.recv_into(buffer[: min(left, len(buffer))])
    return time.perf_counter() - started


def together(host: str, connections: int, size: int) -> float:
    """Return the seconds that several connections take for `size` bytes each, all at once."""
    socks = [connected(host) for _ in range(connections)]
    for sock in socks:
        fetch(sock, 1)
    threads = [threading.Thread(target=fetch, args=(sock, size)) for sock in socks]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sock in socks:
        sock.close()
    return time.perf_counter() - started


def check(rate: float) -> None:
    """Print what a link adds, for several round trip times."""
    print("  wanted     kept connection (middle, worst)   with connecting   1 x 64 MiB   8 x 8 MiB")
    with echoing() as server:
        for rtt_ms in (0, 20, 80):
            with link(server, rtt_ms=rtt_ms, rate=rate) as slow:
                with connected(slow.host) as sock:
                    times = sorted(fetch(sock, 100) * 1000 for _ in range(50))
                    one = (64 << 20) / fetch(sock, 64 << 20) / 1e6
                started = time.perf_counter()
                with connected(slow.host) as sock:
                    fetch(sock, 100)
                fresh = (time.perf_counter() - started) * 1000
                eight = (64 << 20) / together(slow.host, 8, 8 << 20) / 1e6
            print(
                f"  {rtt_ms:3} ms     {statistics.median(times):7.2f} ms, {times[-1]:7.2f} ms"
                f"             {fresh:8.2f} ms      {one:5.0f} MB/s    {eight:5.0f} MB/s"
            )


def main() -> None:
    """Check the link itself, or stand in front of a server until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("host", nargs="?", help="127.0.0.1:PORT; without it, check the link itself")
    parser.add_argument("--rtt-ms", type=float, default=20)
    parser.add_argument("--rate", type=float, default=125e6, help="bytes a second; 0: unlimited")
    parser.add_argument("--listen", type=int, default=0, help="port of this end")
    args = parser.parse_args()
    if args.host is None:
        check(args.rate)
        return
    with link(args.host, rtt_ms=args.rtt_ms, rate=args.rate, listen=args.listen) as slow:
        print(slow.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        counts = slow.counts()
    print(f"{counts.requests} requests, {counts.up_bytes:,} bytes up, {counts.down_bytes:,} down")
    for name, kind in sorted(counts.kinds.items()):
        print(f"  {name}: {kind.requests}, {kind.body_bytes:,} bytes of answers")


if __name__ == "__main__":
    main()
