"""One change as it is listed; light enough for every command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One change.

    Attributes:
        op: `A` new, `M` other bytes, `D` gone, `R` renamed from `old`.
        size: in bytes; None of what is gone, of a folder, and where nobody asked for it.
        ignored: whether a commit leaves it out without being asked to.
        base: where the commit has what it is compared with; None if it has nothing.
    """

    op: str
    path: bytes
    old: bytes | None
    size: int | None
    ignored: bool = False
    base: bytes | None = None


class Shown(NamedTuple):
    """An `Item` for commands: names as `os.fsdecode` gives them."""

    op: str
    path: str
    old: str | None = None
    size: int | None = None
    ignored: bool = False
    base: str | None = None


def shown(item: Item) -> Shown:
    """Return a change for commands."""
    op, path, old, size, ignored, base = item
    return Shown(
        op,
        os.fsdecode(path),
        None if old is None else os.fsdecode(old),
        size,
        ignored,
        None if base is None else os.fsdecode(base),
    )


def to_columns(items: Sequence[Item]) -> dict[str, Any]:
    """Return changes for the control socket: a letter and a path for each, the rest by number.

    Most changes are new files, of which nothing else is known; rows of all values took longer to
    pack and parse than they took to find.
    """
    more = [
        (number, *shown(item)[2:])
        for number, item in enumerate(items)
        if item[2:] != (None, None, False, None)
    ]
    return {
        "ops": "".join([item.op for item in items]),
        "paths": [os.fsdecode(item.path) for item in items],
        "more": more,
    }


def from_columns(columns: Mapping[str, Any]) -> Iterator[Shown]:
    """Yield the changes of `to_columns`."""
    more = {number: rest for number, *rest in columns["more"]}
    for number, (op, path) in enumerate(zip(columns["ops"], columns["paths"], strict=True)):
        yield Shown(op, path, *more.get(number, ()))
