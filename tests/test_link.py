"""The link that benchmarks put between a mount and a server."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.link import Link, connected, echoing, fetch, link, together

BODY = bytes(range(256)) * 4096


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def ask(link: Link, method: str, path: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection(link.host, timeout=20)
    connection.request(method, path, body)
    data = connection.getresponse().read()
    connection.close()
    return data


def test_no_round_trip_is_shorter_than_what_was_asked_for() -> None:
    with echoing() as host, link(host, rtt_ms=30, rate=0) as slow:
        started = time.perf_counter()
        with connected(slow.host) as sock:
            fetch(sock, 1)
            connecting = time.perf_counter() - started
            kept = [fetch(sock, 1) for _ in range(10)]

    assert connecting >= 0.060
    assert min(kept) >= 0.030


@pytest.mark.parametrize("connections", [1, 4])
def test_connections_share_the_rate(connections: int) -> None:
    size = 4 << 20
    with echoing() as host, link(host, rtt_ms=0, rate=20e6) as slow:
        taken = together(slow.host, connections, size // connections)

    # What the pipe holds at the beginning goes free.
    assert taken >= 0.95 * size / 20e6


def test_latency_does_not_limit_what_is_under_way() -> None:
    with echoing() as host, link(host, rtt_ms=400, rate=0) as slow, connected(slow.host) as sock:
        fetch(sock, 1)
        # One of these would be under way at a time if the relay waited for each to arrive.
        taken = fetch(sock, 64 << 16)

    assert taken < 64 * 0.2


def test_bytes_arrive_whole_and_requests_are_counted_by_kind(server: str) -> None:
    with link(server, rtt_ms=2) as slow:
        assert ask(slow, "GET", "/api/repos/ns/name/chunk/main/a/b?x=1") == BODY
        before = slow.counts()
        assert ask(slow, "POST", "/api/repos/ns/name/versions", b"x" * 5000) == BODY
        assert ask(slow, "GET", "/other") == BODY
        moved = slow.counts() - before

    assert before.kinds["GET chunk"].requests == 1
    assert {name: kind.requests for name, kind in moved.kinds.items()} == {
        "POST versions": 1,
        "GET": 1,
    }
    assert moved.kinds["POST versions"].up_bytes > 5000
    assert moved.body_bytes == 2 * len(BODY)
    assert 2 * len(BODY) < moved.down_bytes < 2 * len(BODY) + 1000
    assert moved.connections == 2


def test_frozen_link_says_nothing_until_it_goes_on() -> None:
    with echoing() as host, link(host, rtt_ms=0) as slow, connected(slow.host) as sock:
        fetch(sock, 1)
        slow.freeze()
        sock.sendall(b"5\n")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(5)
        slow.freeze(False)
        sock.settimeout(20)
        assert sock.recv(5, socket.MSG_WAITALL) == bytes(5)


def test_refusing_link_resets_old_and_new_connections() -> None:
    with echoing() as host, link(host, rtt_ms=0) as slow, connected(slow.host) as sock:
        fetch(sock, 1)
        slow.refuse()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        with pytest.raises(ConnectionResetError), connected(slow.host) as new:
            new.recv(1)
        slow.refuse(False)
        with connected(slow.host) as new:
            fetch(new, 1)
