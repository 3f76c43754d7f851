"""A remote whose questions all go one way: the base of decorators that decide how it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from oxenfs.model import Branch, Commit, ObjectHash
from oxenfs.remote.base import BlobPlace, DirectoryNodes, TreePlace
from oxenfs.remote.wrapping import Wrapping

T = TypeVar("T")


class Asking(Wrapping, ABC):
    """Puts each question with a single answer to the remote that it wraps through `ask`.

    Iterators are passed on as they are, and so is whatever changes something.
    """

    @abstractmethod
    def ask(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, which asks the remote and may be called again."""

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        return self.ask(self._inner.branches)

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        return self.ask(lambda: self._inner.branch(name))

    def default_branch(self) -> Branch:
        """Return the default branch; raise `NotFound`."""
        return self.ask(self._inner.default_branch)

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        return self.ask(lambda: self._inner.commit(commit))

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids whose text starts with `prefix`."""
        return self.ask(lambda: self._inner.commits_with_prefix(prefix, limit))

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        return self.ask(lambda: self._inner.root(commit))

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self.ask(lambda: self._inner.directory(directory, place))

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob` from `offset` on."""
        return self.ask(lambda: self._inner.read(blob, offset, size, place))
