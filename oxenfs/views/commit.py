"""The tree of one commit as a view."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from oxenfs.errors import IntegrityError, NotFound, RemoteUnavailable
from oxenfs.model import Commit, Kind, ObjectHash, hash_text
from oxenfs.names import quoted
from oxenfs.remote.base import BlobPlace, TreePlace
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import Metadata
from oxenfs.store.siblings import Sibling
from oxenfs.views.base import Attributes, Directory, File, Node, Reader

# XATTR_SIZE_MAX of the kernel: a longer value could not be read at all.
_XATTR_BYTES_MAX = 65536


class Blobs(Protocol):
    """Where a commit's files get their bytes from."""

    def open(
        self,
        blob: ObjectHash,
        size: int,
        place: Callable[[], BlobPlace],
        sibling: Callable[[], Sibling] | None = None,
    ) -> Reader:
        """Return a reader of `blob`, which has `size` bytes.

        Args:
            blob: the hash.
            size: in bytes.
            place: says where a file has it.
            sibling: says which files are beside that one, for reading ahead.
        """


@dataclass(frozen=True, slots=True)
class Tree:
    """What all nodes of one commit share.

    Attributes:
        where: a name for this tree's place in a mount with several; None if it is the only one.
    """

    commit: Commit
    metadata: Metadata
    blobs: Blobs
    where: str | None = None


class CommitDirectory(Directory):
    """A directory of a commit."""

    __slots__ = ("_above", "_id", "_last_commit", "_mtime_ns", "_path", "_tree")

    def __init__(
        self,
        tree: Tree,
        path: bytes,
        id: ObjectHash,
        mtime_ns: int,
        last_commit: ObjectHash,
        above: CommitDirectory | None = None,
    ) -> None:
        """Stand for the directory with node id `id`, which is at `path` in the commit, in `above`.

        Raises:
            IntegrityError: the directory is said to be within itself.
        """
        self._tree = tree
        self._above = above
        self._path = path
        self._id = id
        self._mtime_ns = mtime_ns
        self._last_commit = last_commit
        folder = above
        while folder is not None:
            # An id is a hash of what is below: only a lie has no end.
            if folder._id == id:
                raise IntegrityError(f"the folder {quoted(path)} of the commit contains itself")
            folder = folder._above

    @property
    def key(self) -> Hashable:
        """The path and the node id, and the tree's place."""
        return (self._path, self._id, self._tree.where)

    @property
    def shares(self) -> bytes | None:
        """A folder at the same path of another revision may have the same files."""
        return None if self._tree.where is None else self._path

    @property
    def rows_tell_content(self) -> bool:
        """Rows have the hashes of blobs and node ids."""
        return True

    async def stat(self) -> Attributes:
        """Return the attributes."""
        return Attributes(directory=True, size=0, mtime_ns=self._mtime_ns)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the node id, and who changed anything below last."""
        return await _xattrs(self._tree, self._id, self._last_commit)

    async def listing(self) -> Listing:
        """Return the children."""
        place = TreePlace(self._tree.commit.id, self._path)
        return await self._tree.metadata.listing(self._id, place)

    def child(self, listing: Listing, index: int) -> Node:
        """Return the node in row `index`; raise `IntegrityError` for a folder within itself."""
        if listing.is_directory(index):
            name = listing.name(index)
            return CommitDirectory(
                self._tree,
                self.path_of(name),
                listing.hash(index),
                listing.mtimes[index],
                listing.last_commit(index),
                self,
            )
        return CommitFile(self._tree, self, listing, index)

    def path_of(self, name: bytes) -> bytes:
        """Return the path of the child called `name` in the commit."""
        return self._path + b"/" + name if self._path else name

    async def unlisted(self, name: bytes) -> Node:
        """Raise `NotFound`: a commit hides nothing."""
        raise NotFound(f"no {name!r} in {self._path!r}")


class CommitFile(File):
    """A file of a commit: a row of its directory's listing."""

    __slots__ = ("_directory", "_index", "_listing", "_tree")

    def __init__(
        self, tree: Tree, directory: CommitDirectory, listing: Listing, index: int
    ) -> None:
        """Stand for row `index` of `listing`, the listing of `directory`."""
        self._tree = tree
        self._directory = directory
        self._listing = listing
        self._index = index

    @property
    def key(self) -> Hashable:
        """The path, the blob, and who put it there: no other file of the folder."""
        row = self._index
        path = self._directory.path_of(self._listing.name(row))
        what = (self._listing.hash(row), self._listing.mtimes[row], self._listing.last_commit(row))
        return ("file", path, what, self._tree.where)

    @property
    def kind(self) -> Kind:
        """What its node says it is."""
        return Kind(self._listing.kinds[self._index])

    async def stat(self) -> Attributes:
        """Return the attributes."""
        row = self._index
        return Attributes(
            directory=False, size=self._listing.sizes[row], mtime_ns=self._listing.mtimes[row]
        )

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the blob's hash, and who changed the file last."""
        row = self._index
        return await _xattrs(self._tree, self._listing.hash(row), self._listing.last_commit(row))

    async def open(self) -> Reader:
        """Return a reader of the blob."""
        row = self._index
        return self._tree.blobs.open(
            self._listing.hash(row), self._listing.sizes[row], self._place, self._sibling
        )

    @property
    def blob(self) -> ObjectHash:
        """The hash of its bytes."""
        return self._listing.hash(self._index)

    @property
    def place(self) -> BlobPlace:
        """Where it is, and its size."""
        return self._place()

    def _sibling(self) -> Sibling:
        return Sibling(self._directory.key, self._listing, self._index)

    def _place(self) -> BlobPlace:
        path = self._directory.path_of(self._listing.name(self._index))
        return BlobPlace(self._tree.commit.id, path, self._listing.sizes[self._index])


def root_of(tree: Tree, root: ObjectHash) -> CommitDirectory:
    """Return the root directory of `tree`, whose node id is `root`."""
    commit = tree.commit
    return CommitDirectory(tree, b"", root, commit.timestamp_ns, commit.id)


def date_text(ns: int) -> str:
    """Return a time as RFC 3339 in UTC with nanoseconds, as Oxen writes it."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


async def _xattrs(tree: Tree, id: ObjectHash, last_commit: ObjectHash) -> dict[str, bytes]:
    found = {
        "user.oxen.hash": hash_text(id).encode(),
        "user.oxen.commit": hash_text(last_commit).encode(),
    }
    try:
        commit = await tree.metadata.commit(last_commit)
    except (NotFound, RemoteUnavailable):
        # What is known is better than an error: the hash needs no remote.
        return found
    return found | {
        "user.oxen.author": f"{commit.author.name} <{commit.author.email}>".encode(),
        "user.oxen.date": date_text(commit.timestamp_ns).encode(),
        "user.oxen.message": commit.message.encode()[:_XATTR_BYTES_MAX],
    }
