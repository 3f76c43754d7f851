"""The breaker: opens when nobody gets an answer, lets one try, closes with the first answer."""

from __future__ import annotations

import pytest

from oxenfs.errors import NotFound, RemoteUnavailable
from oxenfs.remote.breaker import PROBE_S, Breaker
from oxenfs.remote.retry import Patience, Retrying


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Breaker, Clock, list[str]]:
    clock = Clock()
    breaker = Breaker(clock)
    said: list[str] = []
    breaker.on_trip.append(lambda: said.append("trip"))
    breaker.on_close.append(lambda: said.append("close"))
    return breaker, clock, said


def test_it_opens_with_a_missed_deadline_and_lets_one_try() -> None:
    breaker, clock, said = made()
    clock.now = 130
    assert breaker.may_ask()
    breaker.missed(101, "silence")
    assert breaker.is_open
    assert said == ["trip"]
    assert "silence" in str(breaker.refusal())
    assert [breaker.may_ask() for _ in range(5)] == [True] + [False] * 4
    breaker.missed(130, "again")
    assert said == ["trip"]
    assert [breaker.may_ask() for _ in range(3)] == [True, False, False]
    clock.now += PROBE_S + 1
    assert breaker.may_ask()
    breaker.gave_up()
    assert breaker.may_ask()
    breaker.answered()
    assert not breaker.is_open
    assert said == ["trip", "close"]
    assert all(breaker.may_ask() for _ in range(5))


def test_an_answer_to_anybody_meanwhile_keeps_it_closed() -> None:
    breaker, clock, said = made()
    clock.now = 120
    breaker.answered()
    breaker.missed(110, "one hangs")
    assert not breaker.is_open
    assert said == []


class Dead:
    key = address = "dead"
    calls = 0
    error: Exception = RemoteUnavailable("nothing")

    def branches(self) -> list[object]:
        self.calls += 1
        raise self.error


def test_questions_to_a_dead_remote_fail_at_once() -> None:
    clock = Clock()
    dead = Dead()
    remote = Retrying(dead, Patience(tries=3), sleep=lambda s: None, monotonic=clock)  # type: ignore[arg-type]
    clock.now += 1
    with pytest.raises(RemoteUnavailable):
        remote.branches()
    assert dead.calls == 3
    assert remote.breaker.is_open
    remote.breaker.may_ask()
    with pytest.raises(RemoteUnavailable, match="does not answer"):
        remote.branches()
    assert dead.calls == 3
    clock.now += PROBE_S + 1
    dead.error = NotFound("no such thing")
    with pytest.raises(NotFound):
        remote.branches()
    assert not remote.breaker.is_open
