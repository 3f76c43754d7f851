"""A remote around another one: what a decorator of remotes inherits and overrides in part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oxenfs.model import Author, Branch, Change, Commit, ObjectHash, Published
from oxenfs.remote.base import BlobPlace, BlobSource, DirectoryNodes, RawNode, Remote, TreePlace


class Wrapping:
    """Passes everything on to the remote that it wraps, with its errors."""

    def __init__(self, inner: Remote) -> None:
        """Stand for `inner`."""
        self._inner = inner
        self.key = inner.key
        self.address = inner.address

    @property
    def inner(self) -> Remote:
        """What it is wrapped around."""
        return self._inner

    # A property, and none without an inner one: who asks whether blobs have to be fetched asks
    # whether there is one.
    @property
    def source(self) -> BlobSource:
        """Where blobs come from, if they have to be fetched: with one try each."""
        source: BlobSource = self._inner.source  # type: ignore[attr-defined]
        return source

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        return self._inner.branches()

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        return self._inner.branch(name)

    def default_branch(self) -> Branch:
        """Return the default branch; raise `NotFound`."""
        return self._inner.default_branch()

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        return self._inner.commit(commit)

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids whose text starts with `prefix`."""
        return self._inner.commits_with_prefix(prefix, limit)

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and its ancestors."""
        return self._inner.history(head)

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        return self._inner.root(commit)

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self._inner.directory(directory, place)

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes of `commit`."""
        return self._inner.tree(commit)

    def tree_between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes that `head` has and `base` has not."""
        return self._inner.tree_between(base, head)

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob` from `offset` on."""
        return self._inner.read(blob, offset, size, place)

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Commit `changes` to `branch`."""
        return self._inner.publish(branch, base, changes, message, author)

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Make a branch at `commit`; raise `OxenfsError` if that is impossible."""
        self._inner.make_branch(name, commit)

    def close(self) -> None:
        """Let go of files and connections."""
        self._inner.close()
