"""A local repository as a `Remote`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from oxenfs.errors import Conflict, IntegrityError, NotFound
from oxenfs.kv import Environment
from oxenfs.model import CHUNK_BYTES, Author, Branch, Change, Commit, Digest, ObjectHash, Published
from oxenfs.model import hash_text as text
from oxenfs.remote.base import BlobLocation, BlobPlace, DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.changes import check_branch_name
from oxenfs.remote.local.blobs import Blobs, PackFiles, read_at
from oxenfs.remote.local.layout import Layout, finish, make_layout, read_layout
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.local.publish import Publisher
from oxenfs.remote.local.refs import Refs, move_branch
from oxenfs.remote.payloads import COMMIT, DIRECTORY
from oxenfs.remote.verify import check_chunks, chunk_range
from oxenfs.remote.wire import children_of


class LocalRemote:
    """A repository in a folder. Safe to use from several threads and processes.

    Implements `Remote` and `BlobFiles` of `oxenfs.remote.base`.
    """

    def __init__(self, layout: Layout, meta: Environment) -> None:
        """Use `open_repository` or `create`."""
        self.layout = layout
        self.key = f"local:{layout.uuid}"
        self.address = str(layout.root)
        self._meta = meta
        self._nodes = Nodes(meta)
        self._refs = Refs(meta, self._nodes)
        self._blobs = Blobs(layout, meta)

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        return self._refs.branches()

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        return self._refs.branch(name)

    def default_branch(self) -> Branch:
        """Return the branch named in the repository's config; raise `NotFound`."""
        return self._refs.branch(self.layout.default_branch)

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        return self._refs.commit(commit)

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids whose text starts with `prefix` (lowercase hex)."""
        return self._refs.with_prefix(prefix, limit)

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and all its ancestors, children before parents, newest first."""
        return self._refs.history(head)

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        node = self._nodes.get(commit)
        roots = [child.hash for child in children_of(node) if child.type == DIRECTORY]
        if node.node[0] != COMMIT or len(roots) != 1:
            raise IntegrityError(f"node {text(commit)} is not a commit with one root directory")
        return roots[0]

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self._nodes.directory(directory)

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes of `commit`, each once."""
        return self._nodes.below(self.root(commit))

    def tree_between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield nothing: asking for each node that is needed costs no more."""
        return iter(())

    def locate(self, blob: ObjectHash) -> BlobLocation:
        """Return where `blob` lies; raise `NotFound`."""
        return self._blobs.locate(blob)

    def digests(self, blob: ObjectHash, first: int, count: int) -> list[Digest]:
        """Return the digests of `count` chunks from number `first` on."""
        return self._blobs.digests(blob, first, count)

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` verified bytes of `blob` from `offset` on."""
        location = self.locate(blob)
        if size < 0 or offset < 0 or offset + size > location.size:
            raise NotFound(f"blob {text(blob)} ends at {location.size}")
        if not size and location.size:
            return b""
        start, stop = chunk_range(location.size, offset, offset + size)
        data = self._checked(blob, location.size, start, stop, read_at(location, start, stop))
        return data[offset - start : offset - start + size]

    def locate_many(self, blobs: Sequence[ObjectHash]) -> dict[ObjectHash, BlobLocation]:
        """Return where those of `blobs` lie that are here, as `locate` would."""
        return self._blobs.locate_many(blobs)

    def read_each(self, places: Iterable[tuple[ObjectHash, BlobLocation]]) -> Iterator[bytes]:
        """Yield whole blobs, verified; raise `IntegrityError`.

        Args:
            places: of the blobs, as `locate_many` gives them.
        """
        with PackFiles() as files:
            for blob, place in places:
                data = files.read(place, 0, place.size)
                yield self._checked(blob, place.size, 0, place.size, data)

    def _checked(
        self, blob: ObjectHash, blob_size: int, start: int, stop: int, data: bytes
    ) -> bytes:
        if len(data) < stop - start:
            raise IntegrityError(f"blob {text(blob)} is cut off at {start + len(data)}")
        check_chunks(self, blob, blob_size, start // CHUNK_BYTES, memoryview(data))
        return data

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Commit `changes` to `branch`; see `oxenfs.remote.base.Remote.publish`."""
        publisher = Publisher(self.layout, self._meta, self._nodes, self._refs)
        return publisher.publish(branch, base, changes, message, author, self.root)

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Make a branch at `commit`; raise `Conflict` or, for its name, `UsageError`."""
        check_branch_name(name)
        self.commit(commit)
        with self._meta.write() as txn:
            if not move_branch(txn, name, None, commit):
                raise Conflict(f"there is a branch {name!r} already")

    def close(self) -> None:
        """Let go of the index."""
        self._meta.close()

    @property
    def meta(self) -> Environment:
        """The index, for the other modules of this package."""
        return self._meta

    @property
    def nodes(self) -> Nodes:
        """The Merkle nodes."""
        return self._nodes

    @property
    def publisher(self) -> Publisher:
        """What makes commits here."""
        return Publisher(self.layout, self._meta, self._nodes, self._refs)

    def begin(self, branch: str, author: Author) -> None:
        """Make the first branch of a repository without any; see `oxenfs.remote.base.Beginning`."""
        if not self.branches():
            self.publisher.first_commit(branch, "Initialized repository", author)


def create(
    path: Path, author: Author, *, default_branch: str = "main", vnode_size: int = 10_000
) -> LocalRemote:
    """Make a repository with one branch and one empty commit; raise `UsageError` if path is used.

    Killed midway it leaves a folder without a config file, which is no repository.
    """
    layout = make_layout(path, default_branch=default_branch, vnode_size=vnode_size)
    remote = LocalRemote(layout, layout.open_meta(create=True))
    remote.begin(default_branch, author)
    finish(layout)
    return remote


def create_empty(path: Path) -> LocalRemote:
    """Make a repository without any branch or commit, for a first push; otherwise as `create`."""
    layout = make_layout(path)
    remote = LocalRemote(layout, layout.open_meta(create=True))
    finish(layout)
    return remote


def open_repository(path: Path) -> LocalRemote:
    """Return the repository at `path`; raise `NotFound` or `IntegrityError`."""
    layout = read_layout(path)
    return LocalRemote(layout, layout.open_meta())
