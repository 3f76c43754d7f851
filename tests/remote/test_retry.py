"""Retries: what is asked again, how often, after which pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from repositories import AUTHOR

from oxenfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    IntegrityError,
    NoServer,
    NotFound,
    RemoteRefused,
    RemoteUnavailable,
)
from oxenfs.model import ObjectHash
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.retry import Patience, Retrying

from .http.misbehaving import Misbehaving, bad, reply, success

__all__ = ["bad"]

ID = ObjectHash(1)
PLACE = TreePlace(ID, b"")
QUESTIONS: dict[str, Callable[[Remote], object]] = {
    "branches": lambda remote: remote.branches(),
    "branch": lambda remote: remote.branch("main"),
    "default_branch": lambda remote: remote.default_branch(),
    "commit": lambda remote: remote.commit(ID),
    "commits_with_prefix": lambda remote: remote.commits_with_prefix("ab", 5),
    "root": lambda remote: remote.root(ID),
    "directory": lambda remote: remote.directory(ID, PLACE),
    "read": lambda remote: remote.read(ID, 0, 1),
}
ONCE: dict[str, Callable[[Retrying], object]] = {
    "publish": lambda remote: remote.publish("main", ID, [], "m", AUTHOR),
    "history": lambda remote: remote.history(ID),
    "tree": lambda remote: remote.tree(ID),
}


class Failing:
    """A remote whose every method fails as told, then answers `fine`."""

    key = "key"
    address = "address"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: object) -> object:
            self.calls.append(name)
            if self.failures:
                raise self.failures.pop(0)
            return "fine"

        return call


class Clock:
    """Time that passes only in pauses and calls."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def retrying(inner: Failing, clock: Clock, patience: Patience | None = None) -> Retrying:
    return Retrying(cast("Remote", inner), patience, clock.sleep, clock.monotonic)


def down(count: int) -> list[Exception]:
    return [RemoteUnavailable(f"down {n}") for n in range(count)]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_asked_again(clock: Clock, name: str) -> None:
    inner = Failing(*down(3))
    remote = retrying(inner, clock)
    assert QUESTIONS[name](remote) == "fine"
    assert inner.calls == [name] * 4
    assert remote.retries == 3


@pytest.mark.parametrize("name", ONCE)
def test_what_may_have_happened_is_not_repeated(clock: Clock, name: str) -> None:
    inner = Failing(RemoteUnavailable("lost"))
    with pytest.raises(RemoteUnavailable, match="lost"):
        ONCE[name](retrying(inner, clock))
    assert (inner.calls, clock.pauses) == ([name], [])


def test_the_number_of_tries_is_limited(clock: Clock) -> None:
    inner = Failing(*down(10))
    with pytest.raises(RemoteUnavailable, match="down 3"):
        retrying(inner, clock).commit(ID)
    assert len(inner.calls) == 4


def test_pauses_grow_and_differ(clock: Clock) -> None:
    with pytest.raises(RemoteUnavailable):
        retrying(Failing(*down(10)), clock, Patience(tries=5, first_wait_s=1.0)).commit(ID)
    assert len(clock.pauses) == 4
    for number, pause in enumerate(clock.pauses):
        assert 2**number <= pause <= 1.5 * 2**number


def test_no_try_begins_after_the_deadline(clock: Clock) -> None:
    patience = Patience(tries=100, deadline_s=10.0, first_wait_s=1.0)
    inner = Failing(*down(100))
    with pytest.raises(RemoteUnavailable):
        retrying(inner, clock, patience).commit(ID)
    assert clock.now_s <= 10.0
    assert len(inner.calls) == len(clock.pauses) + 1 <= 5


def test_time_that_calls_take_counts(clock: Clock) -> None:
    class Slow(Failing):
        def commit(self, id: ObjectHash) -> object:
            clock.now_s += 6
            return self.__getattr__("commit")(id)

    inner = Slow(*down(100))
    with pytest.raises(RemoteUnavailable):
        retrying(inner, clock, Patience(tries=100, deadline_s=10.0)).commit(ID)
    assert len(inner.calls) == 2


def test_busy_waits_as_long_as_it_is_told(clock: Clock) -> None:
    inner = Failing(Busy("busy", 7.0), Busy("busy", 0.0))
    retrying(inner, clock).commit(ID)
    first, second = clock.pauses
    assert first == 7.0
    assert 0.4 <= second <= 0.6


def test_busy_for_longer_than_the_deadline_is_told_at_once(clock: Clock) -> None:
    inner = Failing(Busy("busy", 31.0))
    with pytest.raises(Busy):
        retrying(inner, clock).commit(ID)
    assert (len(inner.calls), clock.pauses) == (1, [])


def test_damage_is_asked_for_once_more(clock: Clock) -> None:
    inner = Failing(IntegrityError("on the way"))
    assert cast("object", retrying(inner, clock).commit(ID)) == "fine"
    inner = Failing(IntegrityError("first"), IntegrityError("second"))
    with pytest.raises(IntegrityError, match="second"):
        retrying(inner, clock).commit(ID)
    assert len(inner.calls) == 2


@pytest.mark.parametrize("error", [NotFound, AccessDenied, Conflict, RemoteRefused, ValueError])
def test_what_will_not_change_is_not_asked_again(clock: Clock, error: type[Exception]) -> None:
    inner = Failing(error("no"))
    with pytest.raises(error):
        retrying(inner, clock).commit(ID)
    assert (len(inner.calls), clock.pauses) == (1, [])


def test_closing_and_names_are_passed_on(clock: Clock) -> None:
    inner = Failing()
    remote = retrying(inner, clock)
    remote.close()
    assert (inner.calls, remote.key, remote.address) == (["close"], "key", "address")


@pytest.mark.parametrize(("status", "requests"), [(500, 4), (502, 4), (429, 4), (404, 1), (401, 1)])
def test_the_server_is_asked_as_often_as_the_budget_says(
    bad: Misbehaving, clock: Clock, status: int, requests: int
) -> None:
    bad.replies = [reply(status)]
    inner = bad.remote()
    remote = Retrying(inner, sleep=clock.sleep, monotonic=clock.monotonic)
    with pytest.raises((RemoteUnavailable, NotFound, AccessDenied)):
        remote.branch("main")
    assert len(bad.requests) == inner.transport.requests == requests


def test_a_server_that_is_back_is_heard(bad: Misbehaving, clock: Clock) -> None:
    good = success(branch={"name": "main", "commit_id": "1"})
    busy = reply(429, headers={"Retry-After": "5"})
    bad.replies = [reply(503), busy, good]
    remote = Retrying(bad.remote(), sleep=clock.sleep, monotonic=clock.monotonic)
    assert remote.branch("main").commit == 1
    assert clock.pauses[1] == 5.0
    assert remote.retries == 2


def test_nobody_at_an_address_that_never_answered_is_told_at_once(clock: Clock) -> None:
    inner = Failing(NoServer("nobody"))
    remote = Retrying(
        cast("Remote", inner), sleep=clock.sleep, monotonic=clock.monotonic, met=False
    )
    with pytest.raises(NoServer, match="nobody"):
        remote.branch("main")
    assert clock.pauses == []
    assert QUESTIONS["branch"](remote) == "fine"
    # From now on it is worth waiting for.
    inner.failures = [NoServer("away"), NoServer("away")]
    assert QUESTIONS["branch"](remote) == "fine"
    assert remote.retries == 2
