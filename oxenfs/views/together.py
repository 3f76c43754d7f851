"""Several questions at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from oxenfs.errors import OxenfsError

T = TypeVar("T")

AT_ONCE = 64
"""How many questions are under way; remotes have limits of their own for what they send."""


async def together(questions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return the answers in the order of `questions`.

    The first failure cancels the others and is raised itself, not a group of them. One question
    alone is asked without a task of its own, and none without a checkpoint.
    """
    if len(questions) == 1:
        return [await questions[0]()]
    answers: dict[int, T] = {}
    failures: list[OxenfsError] = []

    async def ask(numbers: range) -> None:
        try:
            for number in numbers:
                answers[number] = await questions[number]()
        except OxenfsError as exc:
            failures.append(exc)
            nursery.cancel_scope.cancel()

    if questions:
        async with trio.open_nursery() as nursery:
            for first in range(min(AT_ONCE, len(questions))):
                nursery.start_soon(ask, range(first, len(questions), AT_ONCE))
    if failures:
        raise failures[0]
    return [answers[number] for number in range(len(questions))]
