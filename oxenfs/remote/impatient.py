"""A remote that is asked only as long as it answers: for answers that are not worth waiting for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import Branch, Commit, ObjectHash
from oxenfs.remote.base import BlobPlace, DirectoryNodes, Remote, TreePlace
from oxenfs.remote.wrapping import Wrapping

T = TypeVar("T")

SILENCE_S = 1.5
"""How long a server may be silent before it is taken for one that does not answer now: a connection
takes up to three trips to the other end of the world, and few listings take a second to be made."""


class Impatient(Wrapping):
    """Asks no more after the first question that got no answer. For one command, and one thread."""

    def __init__(self, inner: Remote) -> None:
        """Ask `inner`, whose own deadline should be `SILENCE_S`."""
        super().__init__(inner)
        self._missed: RemoteUnavailable | None = None

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        return self._once(lambda: self._inner.branch(name))

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        return self._once(lambda: self._inner.commit(commit))

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        return self._once(lambda: self._inner.root(commit))

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self._once(lambda: self._inner.directory(directory, place))

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob` from `offset` on."""
        return self._once(lambda: self._inner.read(blob, offset, size, place))

    def _once(self, call: Callable[[], T]) -> T:
        if self._missed is not None:
            raise self._missed
        try:
            return call()
        except RemoteUnavailable as exc:
            self._missed = exc
            raise
