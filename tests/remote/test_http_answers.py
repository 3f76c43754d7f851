"""JSON of any shape becomes values, or one error that names the host; no other exception."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxenfs.errors import OxenfsError, RemoteRefused
from oxenfs.model import Author, Branch, Commit, ObjectHash
from oxenfs.remote.http import answers

from .http.misbehaving import Misbehaving, bad, success

__all__ = ["bad"]

COMMIT: dict[str, Any] = {
    "id": "0abc",
    "parent_ids": ["1", "f" * 32],
    "author": "Ünï",
    "email": "",
    "message": "two\nlines",
    "timestamp": "2026-11-20T21:46:37.865952998Z",
}
PARSERS: list[Callable[[Any], object]] = [
    answers.commit_of,
    answers.branch_of,
    answers.hash_of,
    answers.time_of,
]
ANSWERS: list[Callable[[Any], object]] = [
    answers.commits_of,
    answers.branches_of,
    answers.default_branch_of,
    answers.base_of,
    answers.paths_of,
]

KEYS = sorted(
    {
        *COMMIT,
        *("branch", "branches", "commit", "commits", "commit_id", "default_resource", "name"),
        *("paths", "repository", "workspace"),
    }
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*COMMIT.values(), "\ud800", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"])
)
VALUES = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_value_is_parsed_or_refused(value: object) -> None:
    said: list[str] = []
    for parse in PARSERS:
        try:
            parse(value)
        except RemoteRefused as exc:
            said.append(str(exc))
    assert all(len(text) < 200 for text in said)


@settings(max_examples=150, deadline=None)
@given(OBJECTS)
def test_any_answer_is_parsed_or_refused(value: dict[str, Any]) -> None:
    said: list[str] = []
    for parse in ANSWERS:
        try:
            parse(value)
        except RemoteRefused as exc:
            said.append(str(exc))
    assert all(len(text) < 200 for text in said)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(COMMIT)), VALUES)
def test_a_commit_with_one_wrong_field_is_parsed_or_refused(key: str, value: object) -> None:
    try:
        made = answers.commit_of({**COMMIT, key: value})
    except RemoteRefused:
        return
    # Whatever got through can be written down.
    for text in (made.message, made.author.name, made.author.email):
        text.encode()


def test_a_commit_is_what_it_says() -> None:
    assert answers.commit_of({**COMMIT, "more": 1}) == Commit(
        ObjectHash(0xABC),
        (ObjectHash(1), ObjectHash(int("f" * 32, 16))),
        Author("Ünï", ""),
        "two\nlines",
        1795211197865952998,
    )
    assert answers.branch_of({"name": "a/b", "commit_id": "00ff"}) == Branch("a/b", ObjectHash(255))


@pytest.mark.parametrize("key", sorted(COMMIT))
def test_no_field_of_a_commit_may_be_missing(key: str) -> None:
    value = dict(COMMIT)
    del value[key]
    with pytest.raises(RemoteRefused, match="the server sent None for"):
        answers.commit_of(value)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("1969-12-31T23:59:59.000000001Z", -999_999_999),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000_000_000),
    ],
)
def test_times_are_exact(text: str, ns: int) -> None:
    assert answers.time_of(text) == ns


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", 5]
)
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(RemoteRefused, match="for a time"):
        answers.time_of(text)


@pytest.mark.parametrize("text", ["", "g", "ABC", "1" * 33, "-1", " 1", "1\n", "0x1", None, 1])
def test_what_is_no_hash_is_refused(text: object) -> None:
    with pytest.raises(RemoteRefused, match="for a hash"):
        answers.hash_of(text)


def test_half_a_surrogate_pair_is_replaced() -> None:
    (text,) = json.loads('["a\\ud800b"]')
    assert answers.text(text, "a name") == "a?b"


@pytest.mark.parametrize(
    "value", [None, [], {}, 5, {"name": "main"}, {"name": 5, "commit_id": "1"}]
)
def test_an_answer_of_the_wrong_shape_names_the_repository(bad: Misbehaving, value: object) -> None:
    bad.replies = [success(branch=value, branches=value, commit=value, commits=[value])]
    remote = bad.remote()
    for ask in (
        lambda: remote.branch("main"),
        lambda: remote.commit(ObjectHash(1)),
        lambda: list(remote.history(ObjectHash(1))),
    ):
        with pytest.raises(RemoteRefused, match=re.escape(remote.address)):
            ask()


def test_a_list_that_never_ends_is_read_once(bad: Misbehaving) -> None:
    bad.replies = [success(commits=[COMMIT, COMMIT], total_pages=10**9)]
    remote = bad.remote()
    assert len(list(remote.history(ObjectHash(0xABC)))) == 1
    assert len(bad.requests) == 2


@pytest.mark.parametrize("total", [None, "2", 1.5, -1, []])
def test_a_list_without_a_number_of_pages_has_one(bad: Misbehaving, total: object) -> None:
    bad.replies = [success(commits=[COMMIT], total_pages=total)]
    assert len(list(bad.remote().history(ObjectHash(0xABC)))) == 1
    assert len(bad.requests) == 1


def test_pages_are_asked_for_as_they_are_needed(bad: Misbehaving) -> None:
    first, second = COMMIT, {**COMMIT, "id": "2"}
    bad.replies = [success(commits=[c], total_pages=2) for c in (first, second)]
    history = bad.remote().history(ObjectHash(0xABC))
    assert next(history).id == 0xABC
    assert len(bad.requests) == 1
    assert [commit.id for commit in history] == [2]
    assert [r.target.partition("?")[2] for r in bad.requests] == [
        "page=1&page_size=1000",
        "page=2&page_size=1000",
    ]


def test_a_whole_id_is_asked_for_without_reading_all_commits(bad: Misbehaving) -> None:
    id = "ab" * 15
    bad.replies = [success(commit={**COMMIT, "id": id})]
    assert bad.remote().commits_with_prefix(id, 10) == [int(id, 16)]
    assert bad.paths == [f"GET /commits/{id}"]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_any_text_may_be_asked_for_as_a_branch(name: str) -> None:
    from .http.misbehaving import misbehaving

    with misbehaving() as server:
        server.replies = [success(branch={"name": "main", "commit_id": "1"}, branches=[])]
        found = ""
        try:
            found = server.remote().branch(name).name
        except OxenfsError as exc:
            found = str(exc)
        assert found == name or server.host in found
        for request in server.requests:
            assert request.path == "/branches" or request.path.startswith("/branches/")
