"""What a tree is, as a dict: the model that remotes are compared with."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping

from repositories import content

from oxenfs.model import Change, Content, Kind, MakeDirectory, ObjectHash, Put, Remove, tree_order
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.rows import Row, rows_of

Tree = dict[bytes, bytes | None]
"""Path to the bytes of a file, or to None for a directory. Every directory has its own item."""


def files(**named: bytes) -> Tree:
    return with_folders({name.encode(): data for name, data in named.items()})


def with_folders(tree: Mapping[bytes, bytes | None]) -> Tree:
    """Return `tree` and the directories that its paths lie in."""
    whole: Tree = {}
    for path in sorted(tree, key=tree_order):
        whole.update(dict.fromkeys(above(path)))
        whole[path] = tree[path]
    return whole


def above(path: bytes) -> Iterator[bytes]:
    for at, byte in enumerate(path):
        if byte == ord("/"):
            yield path[:at]


def apply(tree: Tree, changes: Iterable[Change]) -> Tree:
    """Return the tree that a change set makes of `tree`."""
    made = dict(tree)
    for change in changes:
        if isinstance(change, Remove):
            for path in [p for p in made if (p + b"/").startswith(change.path + b"/")]:
                del made[path]
            continue
        for folder in above(change.path):
            if made.get(folder) is not None:
                del made[folder]
            made[folder] = None
        if isinstance(change, MakeDirectory):
            made[change.path] = None
        else:
            for path in [p for p in made if p.startswith(change.path + b"/")]:
                del made[path]
            with change.content.open() as source:
                made[change.path] = source.read()
    return made


def puts(tree: Mapping[bytes, bytes | None]) -> list[Change]:
    """Return the change set that adds all of `tree`."""
    return ordered(
        MakeDirectory(path) if data is None else Put(path, content(data))
        for path, data in tree.items()
    )


def ordered(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: tree_order(change.path))


def rows_below(remote: Remote, commit: ObjectHash) -> dict[bytes, Row]:
    """Return every entry of `commit` by its path."""
    found: dict[bytes, Row] = {}
    waiting = [(remote.root(commit), b"")]
    while waiting:
        directory, path = waiting.pop()
        for row in rows_of(remote.directory(directory, TreePlace(commit, path))):
            where = path + b"/" + row.name if path else row.name
            assert where not in found
            found[where] = row
            if row.kind == Kind.DIRECTORY:
                waiting.append((row.id, where))
    return found


def tree_of(remote: Remote, commit: ObjectHash) -> Tree:
    """Return all of `commit`, every byte of it."""
    return {
        path: None if row.kind == Kind.DIRECTORY else remote.read(row.id, 0, row.size)
        for path, row in rows_below(remote, commit).items()
    }


def trickling(data: bytes, seed: int = 0) -> Content:
    """Return a content whose reads give fewer bytes than they are asked for."""

    class Trickle:
        def __init__(self) -> None:
            self._at = 0
            self._random = random.Random(seed)

        def read(self, size: int) -> bytes:
            size = min(size, self._random.randint(1, max(1, len(data) // 3)))
            self._at += size
            return data[self._at - size : self._at]

        def __enter__(self) -> Trickle:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Content(len(data), 0, Trickle)  # type: ignore[arg-type]
