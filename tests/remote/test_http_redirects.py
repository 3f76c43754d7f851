"""Redirections are followed by hand, and the token stays with its host."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest
import requests

from oxenfs.address import Address, Hosted
from oxenfs.errors import OxenfsError, RemoteRefused, RemoteUnavailable, UsageError
from oxenfs.model import ObjectHash
from oxenfs.remote.http.remote import HttpRemote
from oxenfs.remote.open import open_remote

from .http.misbehaving import API, Misbehaving, Reply, bad, misbehaving, reply, success

__all__ = ["bad"]

SECRET = "s3cr3t-t0ken"
BRANCH = {"name": "main", "commit_id": "abc"}


@pytest.fixture
def other() -> Iterator[Misbehaving]:
    with misbehaving() as server:
        yield server


def to(location: str, status: int = 302) -> Reply:
    return reply(status, headers={"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_redirection_to_the_same_host_is_followed_with_the_token(
    bad: Misbehaving, status: int, absolute: bool
) -> None:
    target = f"{API}/elsewhere?x=%20"
    bad.replies = [
        to(f"http://{bad.host}{target}" if absolute else target, status),
        success(branch=BRANCH),
    ]
    assert bad.remote(token=SECRET).branch("main").name == "main"
    assert [request.target for request in bad.requests] == [f"{API}/branches/main", target]
    assert [r.headers["authorization"] for r in bad.requests] == [f"Bearer {SECRET}"] * 2


def test_method_and_body_go_along(bad: Misbehaving) -> None:
    bad.replies = [to(f"{API}/moved", 307), success()]
    bad.remote().make_branch("b", ObjectHash(5))
    first, second = bad.requests
    assert (second.method, second.path) == ("POST", "/moved")
    assert second.body == first.body != b""


def test_another_host_over_http_is_refused_and_not_asked(
    bad: Misbehaving, other: Misbehaving
) -> None:
    bad.replies = [to(f"http://{other.host}{API}/branches/main")]
    with pytest.raises(RemoteRefused, match="not safe to follow") as caught:
        bad.remote(token=SECRET).branch("main")
    assert bad.host in str(caught.value)
    assert other.requests == []
    assert len(bad.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[bad", "//127.0.0.1:1/x", "http://a:b/"],
)
def test_what_is_no_safe_address_is_refused(bad: Misbehaving, location: str) -> None:
    bad.replies = [to(location)]
    with pytest.raises(RemoteRefused, match=bad.host):
        bad.remote().branch("main")
    assert len(bad.requests) == 1


def test_a_user_in_the_address_makes_it_another_one(bad: Misbehaving) -> None:
    bad.replies = [to(f"http://user:word@{bad.host}{API}/x")]
    with pytest.raises(RemoteRefused):
        bad.remote(token=SECRET).branch("main")
    assert len(bad.requests) == 1


def test_redirections_without_end_are_given_up(bad: Misbehaving) -> None:
    bad.replies = [to(f"{API}/branches/main")]
    with pytest.raises(RemoteRefused, match="more than 5 times"):
        bad.remote().branch("main")
    assert len(bad.requests) == 6


def test_a_redirection_without_a_target_is_an_error(bad: Misbehaving) -> None:
    bad.replies = [reply(302)]
    with pytest.raises(RemoteRefused, match="302"):
        bad.remote().branch("main")
    assert len(bad.requests) == 1


def test_the_body_of_a_redirection_is_not_read(bad: Misbehaving) -> None:
    sent = to(f"{API}/x")
    bad.replies = [
        Reply(sent.head.replace(b"Content-Length: 0", b"Content-Length: 99999999"), b"", "stall"),
        success(branch=BRANCH),
    ]
    assert bad.remote(timeout_s=1.0).branch("main").name == "main"
    assert len(bad.requests) == 2


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """URL and headers of all requests; those over TLS go nowhere."""
    calls: list[tuple[str, dict[str, str]]] = []
    request = requests.Session.request

    def noted(self: requests.Session, method: str, url: str, **kwargs: object) -> object:
        headers = kwargs["headers"]
        assert isinstance(headers, dict)
        calls.append((url, headers))
        if url.startswith("https"):
            raise requests.ConnectionError("not in this test")
        return request(self, method, url, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "request", noted)
    return calls


def test_https_elsewhere_is_asked_without_the_token(
    bad: Misbehaving, asked: list[tuple[str, dict[str, str]]]
) -> None:
    for elsewhere in ("https://example.invalid/x", f"https://{bad.host}/x"):
        asked.clear()
        bad.replies = [to(elsewhere)]
        with pytest.raises(RemoteUnavailable):
            bad.remote(token=SECRET).branch("main")
        (first, first_headers), (second, headers) = asked
        assert (first.startswith(f"http://{bad.host}/"), second) == (True, elsewhere)
        assert SECRET in first_headers["Authorization"]
        assert not any(SECRET in value for value in headers.values())


def test_what_changes_something_is_not_sent_elsewhere(
    bad: Misbehaving, asked: list[tuple[str, dict[str, str]]]
) -> None:
    bad.replies = [to("https://example.invalid/x", 307)]
    with pytest.raises(RemoteRefused, match="not safe to follow"):
        bad.remote(token=SECRET).make_branch("b", ObjectHash(5))
    assert len(asked) == 1


def test_the_token_is_in_no_text(
    bad: Misbehaving, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    remote = bad.remote(token=SECRET)
    shown = [repr(remote), repr(remote.transport), remote.address, remote.key]
    for said in (
        reply(401, {"status": "error", "status_message": "who are you?"}),
        reply(500),
        reply(200, "<html>"),
        to("ftp://x/"),
        Reply(b"HTTP/1.1 200 OK\r\n", then="reset"),
    ):
        bad.replies = [said]
        with pytest.raises(OxenfsError) as caught:
            remote.branch("main")
        shown += traceback.format_exception(caught.value)
        shown.append(repr(caught.value))
    assert all(SECRET in request.headers["authorization"] for request in bad.requests)
    assert len(bad.requests) == 5
    shown += [caplog.text, *capfd.readouterr()]
    assert SECRET not in "".join(shown)


def test_a_server_that_repeats_the_token_does_not_bring_it_into_a_text(bad: Misbehaving) -> None:
    remote = bad.remote(token=SECRET)
    said = {"status": "error", "status_message": f"no user has the token '{SECRET}'"}
    title = f"{'x' * 290} {SECRET}"
    for answer in (
        reply(401, said),
        reply(200, said),
        reply(500, {"error": {"title": title, "detail": SECRET.upper()}}),
        reply(403, f"<html><title>Bearer {SECRET}</title>"),
        reply(200, f"<html><title>Bearer {SECRET}</title>"),
        to(f"http://{SECRET}.example.invalid/"),
        Reply(f"HTTP/9 {SECRET}\r\n\r\n".encode(), then="close"),
    ):
        bad.replies = [answer]
        with pytest.raises(OxenfsError) as caught:
            remote.branch("main")
        # No part of it either, where a text is cut off.
        assert SECRET[:5].lower() not in str(caught.value).lower()


@pytest.mark.parametrize("token", ["two\nlines", "\u20ac", "", "tab\t", "nul\0"])
def test_a_token_that_cannot_be_sent_is_refused_without_quoting_it(token: str) -> None:
    with pytest.raises(UsageError, match=r"the token for 127\.0\.0\.1:1 has") as caught:
        HttpRemote(Hosted("http", "127.0.0.1:1", "ns", "name"), token)
    assert not token or token not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("scheme", "host", "fine"),
    [
        ("http", "127.0.0.1:3000", True),
        ("http", "localhost:3000", True),
        ("http", "[::1]:3000", True),
        ("https", "example.invalid", True),
        ("http", "example.invalid", False),
        ("http", "10.0.0.1:3000", False),
    ],
)
def test_a_token_goes_over_plain_http_to_this_machine_only(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    host: str,
    fine: bool,
) -> None:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(SECRET)
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(path))
    monkeypatch.setenv("OXENFS_TOKEN_HOST", host)
    address = Address(Hosted(scheme, host, "ns", "name"))
    if fine:
        open_remote(address).close()
    else:
        with pytest.raises(UsageError, match="--insecure") as caught:
            open_remote(address)
        assert host in str(caught.value)
        assert SECRET not in str(caught.value)
    open_remote(address, insecure=True).close()
