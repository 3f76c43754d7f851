"""Who is let in."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from oxenfs.errors import UsageError
from oxenfs.server.app import create_app
from oxenfs.server.run import serve

from .conftest import Api

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

VERSION = "/api/version"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:5", "127.9.9.9"]
)
def test_names_of_this_machine_are_taken(api: Api, host: str) -> None:
    api.call("GET", VERSION, headers={"host": host})


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", ""]
)
def test_other_names_are_refused(api: Api, host: str) -> None:
    api.call("GET", VERSION, 403, headers={"host": host})


def test_pages_in_browsers_are_refused(api: Api) -> None:
    api.call("GET", VERSION, 403, headers={"origin": "http://127.0.0.1:3000"})


@pytest.mark.parametrize(
    ("agent", "code"),
    [
        ("oxenfs/0.1", 426),
        ("oxenfs", 426),
        ("Oxen/0.35.0", 426),
        ("Oxen/0.65.1 (Linux; Python 3.11)", 200),
        ("my-oxenfs/1.2.3", 200),
        ("", 200),
    ],
)
def test_old_clients_are_told_so(api: Api, agent: str, code: int) -> None:
    api.call("GET", VERSION, code, headers={"user-agent": agent})


def test_the_token_is_asked_for(tmp_path: Path) -> None:
    with TestClient(create_app(tmp_path, token="s3cret"), base_url="http://any.name") as client:
        for given in ({}, {"authorization": "Bearer s3cre"}, {"authorization": "Basic s3cret"}):
            answer = client.get(VERSION, headers=given)
            assert answer.status_code == 401
            assert answer.json()["status_message"] == "unauthenticated"
        assert client.get(VERSION, headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_an_open_address_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--token-file"):
        serve(tmp_path, "0.0.0.0", 0, token=None)


def test_every_answer_has_the_headers(api: Api) -> None:
    answer = api.client.get("/api/nothing", headers={"x-oxen-request-id": "abc-1"})
    assert answer.headers["x-oxen-request-id"] == "abc-1"
    assert answer.headers["oxen-version"] == "0.65.2"
    assert (
        api.client.get(VERSION, headers={"x-oxen-request-id": "a b"}).headers["x-oxen-request-id"]
        != "a b"
    )


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("repo", "x"),
        ("..", "x"),
        ("a", "x"),
        ("ns", ".."),
        ("ns", ".x"),
        ("ns", "a/b"),
        ("n s", "x"),
    ],
)
def test_names_are_checked_before_the_disk(api: Api, namespace: str, name: str) -> None:
    before = sorted(api.root.rglob("*"))
    api.call("POST", "/api/repos", 400, json={"namespace": namespace, "name": name})
    assert sorted(api.root.rglob("*")) == before


def test_a_name_is_taken_once(api: Api) -> None:
    api.create()
    api.call("POST", "/api/repos", 409, json={"namespace": "ns", "name": "repo"})
    api.delete("")
    api.get("", 404)
    api.create()
    assert api.get("")["repository"]["is_empty"] is True
    assert api.call("GET", "/api/repos/ns")["repositories"][0]["name"] == "repo"
