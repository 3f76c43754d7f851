"""Runs asynchronous tests."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import trio

P = ParamSpec("P")

DEADLINE_S = 30.0


def in_trio(
    test: Callable[P, Awaitable[None]], deadline_s: float = DEADLINE_S
) -> Callable[P, None]:
    """Run the test in a loop of its own, and fail it if it hangs."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            with trio.fail_after(deadline_s):
                await test(*args, **kwargs)

        trio.run(main)

    return run
