"""What every remote does with a change set on its way in, and how it names conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from oxenfs.errors import Conflict
from oxenfs.model import Change, check_name, tree_order

_CONFLICTS_NAMED = 1000
_CONFLICTS_SHOWN = 5


def checked(changes: Iterable[Change]) -> Iterator[Change]:
    """Yield `changes` one by one, each after a look at its path.

    Raises:
        Unsupported: a name that Oxen cannot store.
        ValueError: they are not in tree order, which is the caller's mistake.
    """
    folder: bytes | None = None
    last: list[bytes] = []
    last_name = b""
    for change in changes:
        path = change.path
        at, _, name = path.rpartition(b"/")
        # Folders are looked at once, not with each of their files.
        if at == folder:
            in_order = name >= last_name
        else:
            components = tree_order(path)
            for component in components[:-1]:
                check_name(component)
            in_order = components >= [*last, last_name]
            folder, last = at, components[:-1]
        check_name(name)
        if not in_order:
            raise ValueError(f"changes are not in tree order: {path!r}")
        last_name = name
        yield change


def refuse_conflicts(branch: str, paths: Iterable[bytes]) -> None:
    """Raise `Conflict` if there are any `paths` that were changed on both sides."""
    named = tuple(islice(paths, _CONFLICTS_NAMED))
    if not named:
        return
    shown = ", ".join(path.decode("utf-8", "replace") for path in named[:_CONFLICTS_SHOWN])
    more = len(named) - _CONFLICTS_SHOWN
    raise Conflict(
        f"branch {branch} moved, and these were changed there too: {shown}"
        + (f" and {more} more" if more > 0 else "")
        + "; nothing was committed",
        named,
    )
