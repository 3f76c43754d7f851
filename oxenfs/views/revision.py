"""The root of one revision, beside others in a mount; it is opened when somebody looks into it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from oxenfs.errors import NotFound, StaleRevision
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.base import Remote
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import Metadata
from oxenfs.views.base import Attributes, Directory, Node
from oxenfs.views.commit import Blobs, CommitDirectory, Tree


@dataclass(frozen=True, slots=True)
class Source:
    """Where all revisions of a repository come from.

    Attributes:
        wrap: what goes around the folder of each revision, such as its frames.
    """

    remote: Remote
    metadata: Metadata
    blobs: Blobs
    wrap: Callable[[Directory], Directory] = lambda directory: directory


class RevisionDirectory(Directory):
    """The root of one commit, somewhere in a mount; nothing is asked before it is looked into."""

    def __init__(
        self,
        source: Source,
        where: str,
        commit: ObjectHash,
        below: Mapping[bytes, Directory] | None = None,
    ) -> None:
        """Stand for `commit`.

        Args:
            source: where it comes from.
            where: a name for this place, its own in the mount.
            commit: its id.
            below: more children, by name only; what the tree has goes before.
        """
        self._source = source
        self._where = where
        self._commit = commit
        self._below = below or {}
        self._root: CommitDirectory | None = None

    @property
    def key(self) -> Hashable:
        """The place, the commit, and what is there by name only."""
        below = tuple((name, child.key) for name, child in sorted(self._below.items()))
        return (self._where, self._commit, below)

    @property
    def rows_tell_content(self) -> bool:
        """Rows have the hashes of blobs and node ids."""
        return True

    @property
    def shares(self) -> bytes:
        """The root has the same path in all revisions."""
        return b""

    async def stat(self) -> Attributes:
        """Return the attributes; the time is the commit's, 0 if the commit is gone."""
        try:
            date = (await self._source.metadata.commit(self._commit)).timestamp_ns
        except NotFound:
            date = 0
        return Attributes(directory=True, size=0, mtime_ns=date)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return what the root of the tree has."""
        return await (await self._opened()).xattrs()

    async def listing(self) -> Listing:
        """Return the children; raise `StaleRevision` if the commit is gone."""
        return await (await self._opened()).listing()

    def child(self, listing: Listing, index: int) -> Node:
        """Return the node in row `index`."""
        assert self._root is not None, "a listing came from here"
        return self._root.child(listing, index)

    async def unlisted(self, name: bytes) -> Node:
        """Return one of the children that are there by name only."""
        found = self._below.get(name)
        if found is None:
            raise NotFound(f"no {name!r} in {self._where}")
        return found

    async def _opened(self) -> CommitDirectory:
        if self._root is None:
            metadata = self._source.metadata
            try:
                commit = await metadata.commit(self._commit)
                root = await metadata.root(self._commit)
            except NotFound as exc:
                gone = f"commit {hash_text(self._commit)} is gone from the remote: {exc}"
                raise StaleRevision(gone) from exc
            tree = Tree(commit, metadata, self._source.blobs, self._where)
            self._root = CommitDirectory(tree, b"", root, commit.timestamp_ns, commit.id)
        return self._root
