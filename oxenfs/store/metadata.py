"""Listings and commits, kept for ever: what never changes is fetched and decoded once.

A directory's columns are kept by repository and node id (`oxenfs.store.records`): equal ids mean
equal subtrees, so commits share what they have in common. Records are copied out of the database
and checked when they are loaded; the last ones used stay in memory, up to a number of bytes.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from itertools import islice
from pathlib import Path

import trio

from oxenfs.errors import NotFound, OxenfsError, StaleRevision
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.base import BlobFiles, Remote, TreePlace
from oxenfs.store.columns import Listing
from oxenfs.store.records import ListingRecords, complete_directories, make_columns

log = logging.getLogger(__name__)

LISTING_BYTES_KEPT = 32 << 20
_COMMITS_KEPT = 4096
# A page of a server's list of commits. Whoever is further behind asks folder by folder.
_COMMITS_BEHIND_MAX = 1000
_USAGE = "usage:"


class _Flight:
    """A listing or a commit that is being fetched; whoever else wants it waits.

    Attributes:
        failure: why it could not be had.
    """

    __slots__ = ("done", "failure")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.failure: Exception | None = None


class Metadata:
    """The trees and commits of one remote. Used from one trio loop."""

    def __init__(self, remote: Remote, cache_dir: Path) -> None:
        """Keep what is learnt about `remote` below `cache_dir`."""
        self._remote = remote
        self._records = ListingRecords(remote.key, cache_dir)
        self._listings: OrderedDict[ObjectHash, Listing] = OrderedDict()
        self._listing_bytes = 0
        self._building: dict[ObjectHash, _Flight] = {}
        self._commits: OrderedDict[ObjectHash, Commit] = OrderedDict()
        self._asking: dict[ObjectHash, _Flight] = {}
        self._roots: OrderedDict[ObjectHash, ObjectHash] = OrderedDict()

    async def listing(self, directory: ObjectHash, place: TreePlace) -> Listing:
        """Return the listing of the directory with that node id.

        From memory or the database without a checkpoint, else from the remote in a thread, once
        however many ask. Cancelling one who asks does not stop the others: whoever is left builds.
        A failure is told to everybody who waits; who asks later tries again.

        Raises:
            StaleRevision: the remote does not have the node: the commit was pruned.
            IntegrityError: what it has is damaged.
        """
        while True:
            found = self._known(directory)
            if found is not None:
                return found
            other = self._building.get(directory)
            if other is None:
                break
            await other.done.wait()
            if other.failure is not None:
                raise other.failure
        flight = self._building[directory] = _Flight()
        try:
            columns = await trio.to_thread.run_sync(self._build, directory, place)
            listing = Listing(columns)
            self._keep(directory, listing)
            return listing
        except Exception as exc:
            flight.failure = exc
            raise
        finally:
            del self._building[directory]
            flight.done.set()

    async def commit(self, id: ObjectHash) -> Commit:
        """Return a commit; raise `NotFound`. Asked for once however many want it."""
        while (found := self._commits.get(id)) is None:
            other = self._asking.get(id)
            if other is not None:
                await other.done.wait()
                if other.failure is not None:
                    raise other.failure
                continue
            flight = self._asking[id] = _Flight()
            try:
                found = await trio.to_thread.run_sync(self._remote.commit, id)
                self._keep_commit(found)
                return found
            except Exception as exc:
                flight.failure = exc
                raise
            finally:
                del self._asking[id]
                flight.done.set()
        return found

    async def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        found = self._roots.get(commit)
        if found is None:
            found = await trio.to_thread.run_sync(self._remote.root, commit)
            self._roots[commit] = found
            if len(self._roots) > _COMMITS_KEPT:
                self._roots.popitem(last=False)
        return found

    async def learn(self, base: Commit, head: Commit, root: ObjectHash) -> None:
        """Fetch the listings that `head` has and `base` has not in one request, if possible.

        It is where the remote is elsewhere, nothing of `head` is known and `base` is one of its
        ancestors. Listings are fetched one by one otherwise, so a failure is a line in the log.

        Args:
            base: a commit whose listings are known, mostly.
            head: the commit that will be read next.
            root: the id of its root directory.
        """
        self._keep_commit(head)
        try:
            await trio.to_thread.run_sync(self._learn, base, head, root, abandon_on_cancel=True)
        except OxenfsError as exc:
            log.info("no difference of trees, so folder by folder: %s", exc)

    def known_usage(self, root: ObjectHash) -> tuple[int, int] | None:
        """Return size and number of files below a root directory, if they were remembered."""
        value = self._records.recall(_USAGE + hash_text(root))
        return None if value is None else (int(value[0]), int(value[1]))

    def remember_usage(self, root: ObjectHash, size_bytes: int, files: int) -> None:
        """Remember them."""
        self._records.remember(_USAGE + hash_text(root), [size_bytes, files])

    def is_complete(self, commit: ObjectHash) -> bool:
        """Return whether all listings of a commit are kept."""
        return self._records.is_complete(commit)

    def close(self) -> None:
        """Let go of the database."""
        self._records.close()

    def _known(self, directory: ObjectHash) -> Listing | None:
        listing = self._listings.get(directory)
        if listing is not None:
            self._listings.move_to_end(directory)
            return listing
        try:
            columns = self._records.get(directory)
            if columns is None:
                return None
            listing = Listing(columns)
        except OxenfsError as exc:
            log.warning("a cached listing cannot be read and is made again: %s", exc)
            return None
        self._keep(directory, listing)
        return listing

    def _learn(self, base: Commit, head: Commit, root: ObjectHash) -> None:
        if isinstance(self._remote, BlobFiles):
            return
        if self._records.get(root) is not None:
            return
        if base.id not in head.parents:
            between: list[Commit] = []
            for commit in islice(self._remote.history(head.id), _COMMITS_BEHIND_MAX):
                if commit.id == base.id:
                    break
                between.append(commit)
            else:
                return
            # For the dates of folders.
            for commit in between[:_COMMITS_KEPT]:
                self._keep_commit(commit)
        for nodes in complete_directories(self._remote.tree_between(base.id, head.id)):
            self._records.put(nodes.directory.id, make_columns(nodes, self._date_of))

    def _build(self, directory: ObjectHash, place: TreePlace) -> bytes:
        try:
            nodes = self._remote.directory(directory, place)
        except NotFound as exc:
            # Not `NotFound`: the folder is in the tree, its commit is lost.
            gone = f"the remote has commit {hash_text(place.commit)} no more: {exc}"
            raise StaleRevision(gone) from exc
        columns = make_columns(nodes, self._date_of)
        self._records.put(directory, columns)
        return columns

    def _date_of(self, commit: ObjectHash) -> int:
        found = self._commits.get(commit)
        if found is None:
            found = commit_or_none(self._remote, commit)
            if found is None:
                return 0
            self._keep_commit(found)
        return found.timestamp_ns

    def _keep(self, directory: ObjectHash, listing: Listing) -> None:
        old = self._listings.pop(directory, None)
        self._listing_bytes += listing.bytes - (0 if old is None else old.bytes)
        self._listings[directory] = listing
        while self._listing_bytes > LISTING_BYTES_KEPT and len(self._listings) > 1:
            _, dropped = self._listings.popitem(last=False)
            self._listing_bytes -= dropped.bytes

    def _keep_commit(self, commit: Commit) -> None:
        self._commits[commit.id] = commit
        if len(self._commits) > _COMMITS_KEPT:
            self._commits.popitem(last=False)


def commit_or_none(remote: Remote, commit: ObjectHash) -> Commit | None:
    """Return a commit; None if the history was pruned: dates are lost then, directories not."""
    try:
        return remote.commit(commit)
    except NotFound:
        log.warning("commit %s is gone: no date for its directories", hash_text(commit))
        return None
