"""Small local repositories with known contents."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from oxenfs.model import Author, Change, Content, MakeDirectory, ObjectHash, Put, Remove, tree_order
from oxenfs.remote.base import DirectoryNodes, Remote, TreePlace
from oxenfs.remote.local.repository import LocalRemote, create

AUTHOR = Author("Ada", "ada@example.com")
MTIME_NS = 1_600_000_000_123_456_789
KIB = 1024
MIB = 1024 * KIB


def noise(size: int, seed: object) -> bytes:
    """Return `size` bytes that are the same for the same seed and differ everywhere."""
    return random.Random(repr(seed)).randbytes(size)


def content(data: bytes, mtime_ns: int = MTIME_NS) -> Content:
    return Content(len(data), mtime_ns, lambda: io.BytesIO(data))


def make_repository(path: Path, files: Mapping[bytes, bytes]) -> LocalRemote:
    """Return a new repository whose branch `main` has one commit with `files`, by path."""
    remote = create(path, AUTHOR)
    commit(remote, files)
    return remote


def commit(
    remote: Remote,
    files: Mapping[bytes, bytes],
    *,
    message: str = "message",
    author: Author = AUTHOR,
    remove: Iterable[bytes] = (),
    folders: Iterable[bytes] = (),
    branch: str = "main",
) -> ObjectHash:
    """Commit to `branch` and return the new commit's id."""
    changes: list[Change] = [Put(path, content(data)) for path, data in files.items()]
    changes += [Remove(path) for path in remove]
    changes += [MakeDirectory(path) for path in folders]
    changes.sort(key=lambda change: tree_order(change.path))
    base = remote.branch(branch).commit
    return remote.publish(branch, base, changes, message, author).commit


class Spy:
    """A remote that notes who is asked for what, and fails when it is told to.

    Attributes:
        calls: the ids of directories and commits asked for, in order.
        failures: raised instead of an answer, by id.
    """

    def __init__(self, remote: Remote, key: str | None = None) -> None:
        self._remote = remote
        self.key = key or remote.key
        self.calls: list[ObjectHash] = []
        self.failures: dict[ObjectHash, Exception] = {}

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        self._called(directory)
        return self._remote.directory(directory, place)

    def commit(self, commit: ObjectHash) -> Any:
        self._called(commit)
        return self._remote.commit(commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    def _called(self, id: ObjectHash) -> None:
        self.calls.append(id)
        if id in self.failures:
            raise self.failures[id]


def spied(remote: Remote, key: str | None = None) -> tuple[Spy, Remote]:
    """Return a spy, and the same object as a remote."""
    spy = Spy(remote, key)
    return spy, cast("Remote", spy)
