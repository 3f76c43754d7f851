"""The protocol of a remote: revisions, trees, blobs, publishing.

Every method may block (disk, network) and may be called from any thread; whoever has a loop calls
them in one. Errors are those of `oxenfs.errors`; a remote's libraries' exceptions end in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from oxenfs.errors import NotFound
from oxenfs.model import Author, Branch, Change, Commit, Digest, ObjectHash, Published


class RawNode(NamedTuple):
    """A Merkle node in the wire's own form (`oxenfs.remote.wire` reads it).

    Attributes:
        node: header, payload and one 33-byte row per child.
        children: the children's payloads, concatenated.
    """

    id: ObjectHash
    node: bytes
    children: bytes


class BlobsMissing(NotFound):
    """The server lacks some of the blobs that were asked for, and sends none.

    Attributes:
        hashes: of those that it lacks.
    """

    def __init__(self, message: str, hashes: frozenset[ObjectHash]) -> None:
        """Say which blobs are missing."""
        super().__init__(message)
        self.hashes = hashes


class DirectoryNodes(NamedTuple):
    """Everything that lists one directory: its own node and its vnodes, in any order."""

    directory: RawNode
    vnodes: tuple[RawNode, ...]


@dataclass(frozen=True, slots=True)
class TreePlace:
    """Where a directory is: remotes that only know paths need it, others ignore it."""

    commit: ObjectHash
    path: bytes


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """A file that has a blob: remotes whose ranges go by path need one, others ignore it.

    Attributes:
        commit: one that has the file.
        size: of the file, in bytes.
    """

    commit: ObjectHash
    path: bytes
    size: int


class Remote(Protocol):
    """A repository somewhere.

    Attributes:
        key: names the repository for caches. Equal keys promise equal immutable objects under
            equal ids; remotes that do not trust each other never share one.
        address: the repository as a user would type it, without revision or secrets.
    """

    key: str
    address: str

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""

    def default_branch(self) -> Branch:
        """Return the branch that an address without a revision means; raise `NotFound`."""

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids whose text starts with `prefix` (lowercase hex)."""

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and all its ancestors, each once, children before parents, newest first."""

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with node id `directory`; raise `NotFound`."""

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes of `commit`, each once."""

    def tree_between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes that `head` has and its ancestor `base` has not.

        In one answer, to spare asking for each: a remote on this machine yields none. Nodes that
        commits in between had may be among them.
        """

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob` from `offset` on, verified where that is possible.

        A remote that knows only the hash of a whole blob cannot check a part of a large one:
        whoever reads all of it checks the end (`oxenfs.history.read_file`, the store).

        Raises:
            NotFound: the remote does not have the blob, or it ends before `offset + size`.
            IntegrityError: what is stored does not have the hash.
        """

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Commit `changes` (a change set in tree order, made against `base`) to `branch`.

        The new commit stands on top of the branch's head at that moment. A branch that does not
        exist yet starts at `base`. Either all of it happens or nothing.

        Raises:
            Conflict: a path changed here was changed to something else between `base` and the head.
            NothingToPublish: the head already has all of it.
            Unsupported: a name that Oxen cannot store.
            SourceChanged: a content was not what it said it was.
        """

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Make a branch at `commit`; raise `OxenfsError` if that is impossible."""

    def close(self) -> None:
        """Let go of files and connections; calls after it are errors."""


class BlobSource(Protocol):
    """Blobs of a remote that is elsewhere, as the store fetches them: one try each, no patience.

    Every method may block and may be called from any thread.

    Attributes:
        host: the server, with its scheme: what is fetched from it is never shown for another one.
        requests, received_bytes: how many were sent, and came back, headers included.
    """

    host: str

    @property
    def requests(self) -> int:
        """How many requests were sent."""

    @property
    def received_bytes(self) -> int:
        """How many bytes came, headers included."""

    def batch(
        self, blobs: Sequence[ObjectHash], timeout_s: float | None = None
    ) -> Iterator[list[tuple[ObjectHash, bytes]]]:
        """Yield blobs of up to 16 MiB in this order as they arrive, each with its hash checked.

        Those that came together are yielded together.

        Args:
            blobs: the hashes.
            timeout_s: for connecting and for silence; None for the remote's own.

        Raises:
            NotFound: the server lacks one of them; `BlobsMissing` says which.
            IntegrityError: other bytes, or another order, than asked for.
        """

    def range_into(
        self,
        place: BlobPlace,
        offset: int,
        views: Sequence[memoryview],
        timeout_s: float | None = None,
    ) -> Iterator[int]:
        """Fill `views` with the file's bytes from `offset` on; yield the number of each when full.

        The bytes are unchecked beyond their number. Errors as of `batch`.
        """

    def abort(self) -> None:
        """Break all connections that are in use: whoever waits for an answer gets an error."""


@runtime_checkable
class Elsewhere(Protocol):
    """A remote whose blobs have to be fetched.

    Attributes:
        source: where from.
    """

    source: BlobSource


@runtime_checkable
class Beginning(Protocol):
    """A remote that may have no branch yet, as a server makes repositories."""

    def begin(self, branch: str, author: Author) -> None:
        """Make `branch`, at an empty commit, if the repository has no branch at all.

        Raises:
            UsageError: not a name for a branch.
        """


@runtime_checkable
class Staging(Protocol):
    """A remote at which a publish is staged, under a name, before it is committed.

    Whoever notes the name beforehand can find out after a crash whether the commit happened.
    """

    def publish_as(
        self,
        name: str,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Publish as `Remote.publish` does, and leave the name there until `unstage`."""

    def staged_on(self, name: str) -> ObjectHash | None:
        """Return the commit that `name` stands on: its own, once it is committed; None: gone."""

    def unstage(self, name: str) -> None:
        """Remove what is staged under `name`: it cannot be committed any more."""


class BlobLocation(NamedTuple):
    """Where the bytes of a blob lie on this machine.

    Attributes:
        path: the file; many small blobs share one.
        offset: of the blob's first byte in that file.
        size: of the blob, in bytes.
    """

    path: str
    offset: int
    size: int


@runtime_checkable
class BlobFiles(Protocol):
    """A remote on this machine: the store reads its files in place instead of copying them."""

    def locate(self, blob: ObjectHash) -> BlobLocation:
        """Return where `blob` lies; raise `NotFound`. A point read, fit for the event loop."""

    def digests(self, blob: ObjectHash, first: int, count: int) -> list[Digest]:
        """Return the digests of `count` chunks from number `first` on.

        Blobs of one chunk have none: they are checked by their own hash.

        Raises:
            IntegrityError: the record is missing or damaged.
        """
