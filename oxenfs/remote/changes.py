"""What every remote looks at before it publishes: change sets, branch names, conflicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from oxenfs.errors import Conflict, UsageError
from oxenfs.model import Change, check_name, tree_order
from oxenfs.names import printable

BRANCH_BYTES_MAX = 500
# What Oxen's servers refuse in a branch name, and what would not survive in a path.
_BRANCH_BAD = re.compile(r"[~^:?\[*\\\s\x00-\x1f\x7f]|\.\.|@\{|//|\A@\Z|\.\Z|\A/|/\Z|\A\Z|\A-")
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
    shown = ", ".join(map(printable, named[:_CONFLICTS_SHOWN]))
    more = len(named) - _CONFLICTS_SHOWN
    raise Conflict(
        f"branch {branch} moved, and these were changed there too: {shown}"
        + (f" and {more} more" if more > 0 else "")
        + "; nothing was committed",
        named,
    )


def check_branch_name(name: str) -> None:
    """Raise `UsageError` unless Oxen's servers would take `name` for a branch."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(f"a branch name that is not UTF-8: {name!r}") from exc
    if _BRANCH_BAD.search(name) or length > BRANCH_BYTES_MAX:
        raise UsageError(f"not a branch name that Oxen takes: {name!r}")
