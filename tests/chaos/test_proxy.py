"""The proxy itself: each fault is what its name says, and is counted."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from .faults import Between, Fault, chaos

BODY = bytes(range(256)) * 64
TARGET = "/api/repos/ns/name/chunk/main/f"


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path.endswith("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def between(server: str) -> Iterator[Between]:
    with chaos(server) as running:
        yield running


def ask(between: Between, target: str = TARGET, timeout_s: float = 20) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(between.host, timeout=timeout_s)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("target", [TARGET, TARGET + "?chunked"])
def test_without_a_fault_answers_are_as_they_are(between: Between, target: str) -> None:
    assert ask(between, target) == (200, BODY)
    assert between.asked() == [("GET chunk", target)]


def test_a_status_may_say_when_to_come_back(between: Between) -> None:
    between.play(Fault("status", status=503, retry_after="7"))
    connection = http.client.HTTPConnection(between.host, timeout=20)
    connection.request("GET", TARGET)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    connection.close()
    assert between.fired("status", "GET chunk") == 1


@pytest.mark.parametrize("what", ["reset", "reset within", "truncate", "long length"])
@pytest.mark.parametrize("target", [TARGET, TARGET + "?chunked"])
def test_answers_that_break_off(between: Between, what: str, target: str) -> None:
    between.play(Fault(what))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(between, target)
    assert between.fired(what) == 1


@pytest.mark.parametrize("what", ["stall", "stall within", "drip"])
def test_answers_that_do_not_end(between: Between, what: str) -> None:
    between.play(Fault(what))
    connection = http.client.HTTPConnection(between.host, timeout=0.5)

    def wait() -> None:
        connection.request("GET", TARGET)
        answer = connection.getresponse()
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert answer.read(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        wait()
    connection.close()
    assert between.fired(what) == 1


def test_a_length_that_is_too_short(between: Between) -> None:
    between.play(Fault("short length"))
    status, data = ask(between)
    assert status == 200
    assert len(data) < len(BODY)
    assert BODY.startswith(data)


@pytest.mark.parametrize("target", [TARGET, TARGET + "?chunked"])
def test_one_byte_is_another_one(between: Between, target: str) -> None:
    between.play(Fault("flip"))
    _, data = ask(between, target)
    assert sum(a != b for a, b in zip(data, BODY, strict=True)) == 1


def test_a_share_is_about_that_and_the_same_for_the_same_seed(server: str) -> None:
    def statuses(seed: int) -> list[int]:
        with chaos(server, seed=seed) as between:
            between.play(Fault("status", 0.1, status=500), Fault("status", 0.1, status=502))
            found = [ask(between, f"{TARGET}{number}")[0] for number in range(300)]
            assert between.fired("status") == found.count(500) + found.count(502)
            return found

    once = statuses(1)
    assert statuses(1) == once
    assert statuses(2) != once
    assert 10 < once.count(500) < 60
    assert 10 < once.count(502) < 60


def test_a_fault_may_be_for_one_kind_and_a_number_of_times(between: Between) -> None:
    between.play(Fault("status", kinds=("GET chunk",), most=2))
    other = "/api/repos/ns/name/commits/main"
    found = [ask(between, target)[0] for target in (other, TARGET, TARGET, TARGET)]
    assert found == [200, 500, 500, 200]
    between.calm()
    assert ask(between)[0] == 200


def test_a_server_that_is_gone_is_a_reset_until_it_is_back(between: Between, server: str) -> None:
    between.lead_to("127.0.0.1:1")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(between)
    between.lead_to(server)
    assert ask(between) == (200, BODY)
