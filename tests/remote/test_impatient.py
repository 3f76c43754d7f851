"""Impatience: after the first question without an answer there is no second one."""

from __future__ import annotations

from typing import cast

import pytest

from oxenfs.errors import NotFound, RemoteUnavailable
from oxenfs.remote.base import Remote
from oxenfs.remote.impatient import Impatient

from .test_retry import QUESTIONS, Failing


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_follows_one_without_an_answer(name: str) -> None:
    inner = Failing(RemoteUnavailable("silent"))
    remote = Impatient(cast("Remote", inner))
    with pytest.raises(RemoteUnavailable, match="silent"):
        QUESTIONS[name](remote)
    for question in QUESTIONS.values():
        with pytest.raises(RemoteUnavailable, match="silent"):
            question(remote)
    assert inner.calls == [name]


def test_an_answer_that_says_no_is_one() -> None:
    inner = Failing(NotFound("no such branch"))
    remote = Impatient(cast("Remote", inner))
    with pytest.raises(NotFound):
        remote.branch("main")
    for question in QUESTIONS.values():
        question(remote)
    assert inner.calls == ["branch", *QUESTIONS]
