"""Numbers for open files and directories, as the kernel wants them."""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

from oxenfs.errors import OxenfsError

T = TypeVar("T")


class UnknownHandle(OxenfsError):
    """The kernel names a handle that is not open."""


class Handles(Generic[T]):
    """Open things by number. A number is never given twice."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers = itertools.count(1)
        self._open: dict[int, T] = {}

    def add(self, thing: T) -> int:
        """Return a number for `thing`."""
        number = next(self._numbers)
        self._open[number] = thing
        return number

    def get(self, number: int) -> T:
        """Return the thing; raise `UnknownHandle`."""
        try:
            return self._open[number]
        except KeyError:
            raise UnknownHandle(f"no open handle {number}") from None

    def items(self) -> list[tuple[int, T]]:
        """Return numbers and things."""
        return list(self._open.items())

    def replace(self, number: int, thing: T) -> None:
        """Let `number` mean another thing."""
        self._open[number] = thing

    def pop(self, number: int) -> T:
        """Return the thing and forget it; raise `UnknownHandle`."""
        thing = self.get(number)
        del self._open[number]
        return thing

    def drain(self) -> list[T]:
        """Return everything that is open and forget it."""
        things = list(self._open.values())
        self._open.clear()
        return things

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)
