"""A change set becomes a commit of a local repository.

Order of what reaches the disk: blobs (packs flushed, files synced), their index rows, nodes, and
last, in one transaction, commit and branch. A kill at any point leaves the branch at the old or
the new commit; blobs that got in are found by the next try.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from oxenfs.errors import (
    Conflict,
    NotFound,
    NothingToPublish,
    OxenfsError,
    SourceChanged,
    UsageError,
)
from oxenfs.kv import Environment, Transaction
from oxenfs.model import (
    Author,
    Change,
    Commit,
    MakeDirectory,
    ObjectHash,
    Published,
    Put,
)
from oxenfs.names import quoted
from oxenfs.remote.base import RawNode
from oxenfs.remote.changes import check_branch_name, checked, refuse_conflicts
from oxenfs.remote.describe import combined_hash, describe
from oxenfs.remote.hashing import commit_id
from oxenfs.remote.local.blob_writer import BlobWriter
from oxenfs.remote.local.conflicts import conflicts
from oxenfs.remote.local.layout import Layout
from oxenfs.remote.local.merkle import TreeBuilder
from oxenfs.remote.local.nodes import Nodes, NodeWriter
from oxenfs.remote.local.refs import (
    Refs,
    has_commit,
    move_branch,
    put_commit,
)
from oxenfs.remote.local.spool import Op, Record, Spool
from oxenfs.remote.payloads import COMMIT, FilePayload, encode_payload
from oxenfs.remote.wire import Child, encode_node

_SECOND_NS = 1_000_000_000

Along = Callable[[Transaction, ObjectHash], None]
"""Writes what belongs together with a new commit; gets the transaction and the commit's id."""


class Publisher:
    """Publishes to one repository."""

    def __init__(self, layout: Layout, meta: Environment, nodes: Nodes, refs: Refs) -> None:
        """Write to the repository in `layout`."""
        self._layout = layout
        self._meta = meta
        self._nodes = nodes
        self._refs = refs

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
        root_of: Callable[[ObjectHash], ObjectHash],
    ) -> Published:
        """See `oxenfs.remote.base.Remote.publish`; `root_of` gives a commit's root directory."""
        check_branch_name(branch)
        _check_text(message, author)
        # A base that is not there is told before anything is read.
        root_of(base)
        with self._spool() as spool:
            files, size = self._store(changes, spool)
            commit, changed = self._apply(branch, base, spool, message, author, root_of)
        return Published(commit, branch, changed, files, size)

    def publish_stored(
        self,
        branch: str,
        base: ObjectHash | None,
        records: Iterable[Record],
        message: str,
        author: Author,
        root_of: Callable[[ObjectHash], ObjectHash],
        along: Along | None = None,
    ) -> ObjectHash:
        """Commit changes whose blobs are stored already; return the new commit's id.

        Args:
            branch: as in `publish`.
            base: None for the first commit of a repository: `branch` must not exist then.
            records: in tree order, with names that were checked.
            message: as in `publish`.
            author: as in `publish`.
            root_of: gives a commit's root directory.
            along: writes more in the transaction that moves the branch.

        Raises:
            Conflict: as `publish`; without paths if the branch exists and `base` is None.
            NothingToPublish: the head already has all of it.
        """
        check_branch_name(branch)
        _check_text(message, author)
        with self._spool() as spool:
            for record in records:
                spool.add(record)
            return self._apply(branch, base, spool, message, author, root_of, along)[0]

    def _apply(
        self,
        branch: str,
        base: ObjectHash | None,
        spool: Spool,
        message: str,
        author: Author,
        root_of: Callable[[ObjectHash], ObjectHash],
        along: Along | None = None,
    ) -> tuple[ObjectHash, int]:
        with self._layout.held():
            head = self._head(branch)
            start = base if head is None else head
            if base is None and head is not None:
                raise Conflict(f"branch {branch} exists already")
            if base is not None and start is not None:
                found = conflicts(self._nodes, root_of(base), root_of(start), spool.records())
                refuse_conflicts(branch, found)
            return self._commit(branch, head, start, spool, message, author, root_of, along)

    def first_commit(self, branch: str, message: str, author: Author) -> ObjectHash:
        """Make a commit without parents and without files, and `branch` at it."""
        check_branch_name(branch)
        _check_text(message, author)
        with self._spool() as spool, self._layout.held():
            return self._commit(branch, None, None, spool, message, author, lambda id: id)[0]

    def _store(self, changes: Iterable[Change], spool: Spool) -> tuple[int, int]:
        writer = BlobWriter(self._layout, self._meta)
        files = size = 0
        try:
            for change in checked(changes):
                if isinstance(change, Put):
                    stored = writer.add(change.content)
                    if stored.size != change.content.size:
                        raise SourceChanged(
                            f"{quoted(change.path)} has {stored.size} bytes and not "
                            f"{change.content.size}; nothing was committed"
                        )
                    name = change.path.rpartition(b"/")[2].decode()
                    whole = len(stored.head) == stored.size
                    about = describe(name, stored.head, whole)
                    file = FilePayload(
                        name,
                        about.metadata_hash,
                        stored.hash,
                        combined_hash(stored.hash, about.metadata_hash),
                        stored.size,
                        ObjectHash(0),
                        change.content.mtime_ns,
                        about.data_type,
                        about.metadata,
                        about.mime_type,
                        about.extension,
                    )
                    spool.add(Record(Op.PUT, change.path, file))
                    files += stored.new
                    size += stored.size * stored.new
                else:
                    made = isinstance(change, MakeDirectory)
                    spool.add(Record(Op.MAKE_DIRECTORY if made else Op.REMOVE, change.path))
            writer.flush()
        finally:
            writer.close()
        return files, size

    def _commit(
        self,
        branch: str,
        head: ObjectHash | None,
        start: ObjectHash | None,
        spool: Spool,
        message: str,
        author: Author,
        root_of: Callable[[ObjectHash], ObjectHash],
        along: Along | None = None,
    ) -> tuple[ObjectHash, int]:
        parents = () if start is None else (start,)
        timestamp_ns = time.time_ns()
        while has_commit(self._meta, id := commit_id(parents, message, author, timestamp_ns)):
            # Ids count whole seconds; the same message on the same parent needs another one.
            timestamp_ns += _SECOND_NS
        commit = Commit(id, parents, author, message, timestamp_ns)
        writer = NodeWriter(self._meta)
        builder = TreeBuilder(self._nodes, writer.put, id, self._layout.vnode_size)
        base_root = None if start is None else root_of(start)
        root = builder.build(base_root, spool.records())
        if root is None:
            raise NothingToPublish(f"branch {branch} has all of this already")
        writer.put(_commit_node(commit, root))
        with self._meta.write() as txn:
            writer.flush_into(txn)
            put_commit(txn, commit)
            if not move_branch(txn, branch, head, id):
                raise Conflict(f"branch {branch} moved while it was held; try again")
            if along is not None:
                along(txn, id)
        return id, builder.changed_paths

    def _head(self, branch: str) -> ObjectHash | None:
        try:
            return self._refs.branch(branch).commit
        except NotFound:
            return None

    @contextlib.contextmanager
    def _spool(self) -> Iterator[Spool]:
        """Give a spool for one publish, in which the disk's errors become ours."""
        try:
            with contextlib.closing(Spool(self._layout.tmp)) as spool:
                yield spool
        except OSError as exc:
            raise OxenfsError(f"cannot write to the repository {self._layout.root}: {exc}") from exc


def _check_text(message: str, author: Author) -> None:
    for text in (message, author.name, author.email):
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise UsageError(f"not UTF-8, and Oxen stores nothing else: {text!r}") from exc


def _commit_node(commit: Commit, root: Child) -> RawNode:
    parent = commit.parents[0] if commit.parents else 0
    return encode_node(COMMIT, commit.id, parent, encode_payload(commit), [root])
