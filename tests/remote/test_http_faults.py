"""Each bad answer of a server becomes one of our errors, which names the host."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from repositories import noise

from oxenfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    IntegrityError,
    NoServer,
    NotFound,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
)
from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobPlace

from .http.misbehaving import Misbehaving, Reply, bad, reply, success
from .http.serving import free_port

__all__ = ["bad"]

COMMIT = {
    "id": "abc123",
    "parent_ids": [],
    "author": "Ada",
    "email": "ada@x",
    "message": "m",
    "timestamp": "2026-11-20T21:46:37.865952998Z",
}
PAGE = "<html><head><title>\n 502  Bad Gateway </title></head><body>nginx</body></html>"
ENVELOPES: dict[str, dict[str, object]] = {
    "message": {"status": "error", "status_message": "Branch not found: x", "oxen_version": "0"},
    "error": {
        "status": "error",
        "status_message": "resource_not_found",
        "error": {"type": "resource_not_found", "title": "Not found", "detail": "no branch x"},
    },
    "description": {
        "status": "error",
        "status_message": "resource_not_found",
        "status_description": "Workspace not found: x",
    },
}
SAID = {
    "message": "Branch not found: x",
    "error": "Not found: no branch x",
    "description": "Workspace not found: x",
}


def failure(server: Misbehaving, error: type[OxenfsError], *, timeout_s: float = 5.0) -> str:
    """Ask once and return what the error says, of exactly the type `error`."""
    remote = server.remote(timeout_s=timeout_s)
    with pytest.raises(OxenfsError) as caught:
        remote.commit(ObjectHash(0xABC123))
    assert type(caught.value) is error, repr(caught.value)
    text = str(caught.value)
    assert server.host in text
    assert "\n" not in text
    remote.close()
    return text


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (400, RemoteRefused, "400"),
        (401, AccessDenied, "oxen config --auth"),
        (403, AccessDenied, "oxen config --auth"),
        (404, NotFound, "404"),
        (409, Conflict, "409"),
        (413, RemoteRefused, "413"),
        (422, RemoteRefused, "422"),
        (426, RemoteRefused, "newer client"),
        (408, RemoteUnavailable, "408"),
        (500, RemoteUnavailable, "500"),
        (502, RemoteUnavailable, "502"),
        (503, RemoteUnavailable, "503"),
        (504, RemoteUnavailable, "504"),
    ],
)
@pytest.mark.parametrize("shape", ENVELOPES)
def test_a_status_becomes_an_error_that_says_what_the_server_said(
    bad: Misbehaving, status: int, error: type[OxenfsError], hint: str, shape: str
) -> None:
    bad.replies = [reply(status, ENVELOPES[shape])]
    text = failure(bad, error)
    assert hint in text
    assert SAID[shape] in text
    assert len(bad.requests) == 1


def test_a_refused_token_is_mended_where_it_came_from(
    bad: Misbehaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("secret")

    def refused() -> str:
        bad.replies = [reply(401, b"{}")]
        with pytest.raises(AccessDenied) as caught:
            bad.remote(token="secret").commit(ObjectHash(1))
        assert "secret" not in str(caught.value)
        return str(caught.value)

    configured = f"oxen config --auth {bad.host} TOKEN"
    assert refused().endswith(configured)
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(path))
    # It is for the default host, which this one is not.
    assert refused().endswith(configured)
    monkeypatch.setenv("OXENFS_TOKEN_HOST", bad.host)
    assert f"OXENFS_TOKEN_FILE {path}" in refused()
    assert "oxen config" not in refused()


@pytest.mark.parametrize("status", [401, 403, 404, 409, 426, 429, 500])
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[[", b"\xff\xfe", b"[" * 100_000, b'{"error": 5}']
)
def test_the_body_of_a_bad_answer_does_not_matter(
    bad: Misbehaving, status: int, body: bytes
) -> None:
    bad.replies = [reply(status, body)]
    with pytest.raises(OxenfsError, match=str(status)):
        bad.remote().commit(ObjectHash(1))


def test_what_a_server_says_is_cut_to_one_line(bad: Misbehaving) -> None:
    bad.replies = [reply(400, {"status": "error", "status_message": "a\nb\t" + "x" * 100_000})]
    text = failure(bad, RemoteRefused)
    assert "a b xxx" in text
    assert len(text) < 600


def test_a_token_that_was_sent_is_called_refused(bad: Misbehaving) -> None:
    bad.replies = [reply(401, ENVELOPES["message"])]
    with pytest.raises(AccessDenied, match=r"the token for 127.0.0.1:[0-9]+ is refused"):
        bad.remote(token="s3cret").commit(ObjectHash(1))
    with pytest.raises(AccessDenied, match=r"no token was sent to 127.0.0.1:[0-9]+"):
        bad.remote().commit(ObjectHash(1))


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("value", "low_s", "high_s"),
    [
        (None, 1, 1),
        ("7", 7, 7),
        (" 0 ", 0, 0),
        # A day off: these are made when the tests are collected, long before the last one runs.
        pytest.param(
            format_datetime(NOW + timedelta(days=1), usegmt=True), 3600, 24 * 3600, id="tomorrow"
        ),
        pytest.param(format_datetime(NOW - timedelta(days=1), usegmt=True), 0, 0, id="yesterday"),
        ("Fri, 20 Nov 2020 10:00:00 -0000", 0, 0),
        ("soon", 1, 1),
        ("-5", 1, 1),
        ("\xb2", 1, 1),
        ("1e400", 1, 1),
        ("Fri, 99 Nov 99999 10:00:00 GMT", 1, 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_busy_tells_how_long_to_wait(
    bad: Misbehaving, status: int, value: str | None, low_s: float, high_s: float
) -> None:
    if status == 503 and value is None:
        # Without a time it is no promise: see above.
        status = 429
    headers = {} if value is None else {"Retry-After": value}
    bad.replies = [reply(status, ENVELOPES["message"], headers=headers)]
    with pytest.raises(Busy) as caught:
        bad.remote().commit(ObjectHash(1))
    assert low_s <= caught.value.retry_after_s <= high_s


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", "application/json", ""])
def test_a_web_page_instead_of_json_is_named(bad: Misbehaving, kind: str) -> None:
    bad.replies = [reply(200, PAGE, headers={"Content-Type": kind})]
    text = failure(bad, RemoteRefused)
    assert "a web page (502 Bad Gateway)" in text
    assert "is the address right?" in text


def test_a_web_page_of_a_proxy_is_named(bad: Misbehaving) -> None:
    bad.replies = [reply(502, PAGE, headers={"Content-Type": "text/html"})]
    assert "502 502 Bad Gateway" in failure(bad, RemoteUnavailable)


def test_a_web_page_instead_of_an_archive_is_named(bad: Misbehaving) -> None:
    bad.replies = [reply(200, PAGE, headers={"Content-Type": "text/html"})]
    for ask in (
        lambda: bad.remote().root(ObjectHash(1)),
        lambda: bad.remote().read(ObjectHash(1), 0, 1),
    ):
        with pytest.raises(RemoteRefused, match="502 Bad Gateway"):
            ask()


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"[]", b"5", b"[" * 100_000, b"\xff", b'{"a": ' * 9999]
)
def test_what_is_no_json_object_is_no_oxen_server(bad: Misbehaving, body: bytes) -> None:
    bad.replies = [reply(200, body)]
    failure(bad, RemoteRefused)


def test_an_empty_answer_may_be_better_the_next_time(bad: Misbehaving) -> None:
    bad.replies = [reply(200)]
    failure(bad, RemoteUnavailable)


def test_an_error_with_status_200_is_an_error(bad: Misbehaving) -> None:
    bad.replies = [reply(200, ENVELOPES["error"])]
    assert SAID["error"] in failure(bad, RemoteRefused)


def test_newlines_before_json_are_heartbeats(bad: Misbehaving) -> None:
    good = success(commit=COMMIT)
    bad.replies = [reply(200, b"\n\n\n" + good.body)]
    assert bad.remote().commit(ObjectHash(0xABC123)).message == "m"


def test_another_commit_than_asked_for_is_damage(bad: Misbehaving) -> None:
    bad.replies = [success(commit=COMMIT)]
    with pytest.raises(IntegrityError, match=bad.host):
        bad.remote().commit(ObjectHash(1))


def test_a_body_that_ends_early_is_no_answer(bad: Misbehaving) -> None:
    good = success(commit=COMMIT)
    bad.replies = [Reply(good.head, good.body[:-10], then="close")]
    assert "cut off" in failure(bad, RemoteUnavailable)


def test_a_length_that_is_too_large_is_no_answer(bad: Misbehaving) -> None:
    bad.replies = [reply(200, success(commit=COMMIT).body, length=10_000, then="close")]
    failure(bad, RemoteUnavailable)


def test_a_length_that_is_too_small_spoils_neither_this_nor_the_next_answer(
    bad: Misbehaving,
) -> None:
    good = success(commit=COMMIT)
    bad.replies = [reply(200, good.body, length=len(good.body) - 5), good]
    remote = bad.remote()
    with pytest.raises(RemoteRefused):
        remote.commit(ObjectHash(0xABC123))
    assert remote.commit(ObjectHash(0xABC123)).message == "m"
    remote.close()


@pytest.mark.parametrize("length", ["x", "-5", "\xb2"])
def test_a_length_that_is_no_number_is_an_error_of_ours(bad: Misbehaving, length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
    bad.replies = [Reply(head, b"{}", then="close")]
    with pytest.raises(OxenfsError, match=bad.host):
        bad.remote().commit(ObjectHash(1))


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SMTP?\r\n\r\n", b"\0" * 99]
)
def test_half_a_head_is_no_answer(bad: Misbehaving, sent: bytes) -> None:
    bad.replies = [Reply(sent, then="close")]
    failure(bad, RemoteUnavailable)


@pytest.mark.parametrize("part", [0, 20])
def test_a_reset_connection_is_no_answer(bad: Misbehaving, part: int) -> None:
    good = success(commit=COMMIT)
    bad.replies = [Reply(good.head if part else b"", good.body[:part], then="reset")]
    failure(bad, RemoteUnavailable)


def test_a_refused_connection_asks_whether_a_server_is_running(bad: Misbehaving) -> None:
    bad.port = free_port()
    text = failure(bad, NoServer)
    assert "refused the connection: is a server running there?" in text


@pytest.mark.parametrize("part", ["nothing", "head", "half"])
def test_a_silent_server_is_given_up_after_the_timeout(bad: Misbehaving, part: str) -> None:
    good = success(commit=COMMIT)
    sent = {"nothing": b"", "head": good.head, "half": good.head + good.body[:9]}[part]
    bad.replies = [Reply(sent, then="stall")]
    started = time.monotonic()
    assert "0.3 s" in failure(bad, RemoteUnavailable, timeout_s=0.3)
    assert 0.25 < time.monotonic() - started < 3


def test_a_server_that_drips_is_given_up_after_about_the_timeout(bad: Misbehaving) -> None:
    # Each byte comes within the timeout, of the head and of the body; all of it would take 15 s.
    bad.replies = [reply(200, success(commit=COMMIT).body, drip_s=0.05)]
    started = time.monotonic()
    failure(bad, RemoteUnavailable, timeout_s=0.4)
    assert time.monotonic() - started < 3


def test_a_reader_may_be_slow_where_the_server_is_not(bad: Misbehaving) -> None:
    data = noise(3 << 20, "slow")
    bad.replies = [reply(200, data)]
    with bad.remote(timeout_s=0.2).transport.open("GET", "/x") as answer:
        pieces = answer.pieces()
        got = next(pieces)
        time.sleep(0.4)
        assert got + b"".join(pieces) == data


@pytest.mark.parametrize("change", [-1, 1])
def test_a_range_of_another_length_than_asked_for_is_damage(bad: Misbehaving, change: int) -> None:
    bad.replies = [reply(200, bytes(100 + change))]
    place = BlobPlace(ObjectHash(1), b"dir/f", 10 << 20)
    with pytest.raises(IntegrityError, match=bad.host):
        bad.remote().read(ObjectHash(2), 0, 100, place)


def test_a_range_beyond_the_end_is_not_asked_for(bad: Misbehaving) -> None:
    place = BlobPlace(ObjectHash(1), b"f", 10 << 20)
    for offset, size in ((10 << 20, 1), (0, (10 << 20) + 1), (-1, 5), (5, -1)):
        with pytest.raises(NotFound):
            bad.remote().read(ObjectHash(2), offset, size, place)
    assert bad.remote().read(ObjectHash(2), 5, 0, place) == b""
    assert bad.requests == []


def test_an_answer_without_end_is_given_up(bad: Misbehaving) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    bad.replies = [Reply(head, b" " * 3_000_000, then="close")]
    with (
        pytest.raises(IntegrityError, match="more than 1000000 bytes"),
        bad.remote().transport.open("GET", "/x") as answer,
    ):
        answer.read(1_000_000)


def test_connections_are_kept_and_shared_one_after_the_other(bad: Misbehaving) -> None:
    bad.replies = [success(commit=COMMIT)]
    remote = bad.remote()
    for _ in range(5):
        remote.commit(ObjectHash(0xABC123))
    assert (len(bad.requests), bad.connections) == (5, 1)
    assert remote.transport.requests == 5
    # Headers count: it is what came over the line.
    answer = success(commit=COMMIT)
    assert remote.transport.received_bytes == 5 * (len(answer.head) + len(answer.body))
    remote.close()
    with pytest.raises(RemoteRefused, match="closed"):
        remote.commit(ObjectHash(0xABC123))


def test_an_answer_that_was_not_read_does_not_become_the_next_one(bad: Misbehaving) -> None:
    bad.replies = [reply(200, bytes(5 << 20)), success(commit=COMMIT)]
    remote = bad.remote()
    with remote.transport.open("GET", "/x"):
        pass
    assert remote.commit(ObjectHash(0xABC123)).message == "m"
    assert bad.connections == 2
    remote.close()


def test_the_repository_that_is_not_there_is_named(bad: Misbehaving) -> None:
    bad.replies = [reply(404, ENVELOPES["error"])]
    for ask in (bad.remote().branches, bad.remote().default_branch):
        with pytest.raises(NotFound, match=f"no repository http://{bad.host}/ns/name"):
            ask()


def test_the_user_agent_is_one_that_servers_take(bad: Misbehaving) -> None:
    bad.replies = [success(commit=COMMIT)]
    bad.remote().commit(ObjectHash(0xABC123))
    assert "oxen" not in bad.requests[0].headers["user-agent"].lower()


def test_a_server_with_much_to_do_may_be_silent_longer(bad: Misbehaving) -> None:
    def slowly(_: object) -> Reply:
        time.sleep(0.8)
        return success(done=True)

    bad.answering = slowly
    remote = bad.remote(timeout_s=0.2)
    try:
        with pytest.raises(RemoteUnavailable, match=r"0\.2 s"):
            remote.transport.json("POST", "/commit")
        with pytest.raises(RemoteUnavailable, match=r"0\.3 s"):
            remote.transport.json("POST", "/commit", work_s=0.1)
        assert remote.transport.json("POST", "/commit", work_s=30)["done"] is True
    finally:
        remote.close()
