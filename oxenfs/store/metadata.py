"""Listings and commits, kept for ever: what never changes is fetched and decoded once.

A directory's columns are kept by repository and node id: equal ids mean equal subtrees, so commits
share what they have in common. Records are copied out of the database and checked when they are
loaded; the last ones used stay in memory, up to a fixed number of bytes.
"""

from __future__ import annotations

import logging
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import blake3
import trio

from oxenfs.errors import IntegrityError, NotFound, OxenfsError
from oxenfs.kv import Environment, open_environment
from oxenfs.model import Commit, Kind, ObjectHash, hash_text
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.rows import Row, rows_of
from oxenfs.store.columns import Listing, columns_of

log = logging.getLogger(__name__)

LISTING_BYTES_KEPT = 32 << 20
_COMMITS_KEPT = 4096
_TABLE = "listings"


class _Flight:
    """A listing that is being made; whoever else wants it waits.

    Attributes:
        failure: why it could not be made.
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
        self._env = _open_or_replace(cache_dir / "tree")
        # Not xxh3: nobody may choose a repository's name so that it shares another one's records.
        self._prefix = blake3.blake3(remote.key.encode()).digest(length=16)
        self._listings: OrderedDict[ObjectHash, Listing] = OrderedDict()
        self._listing_bytes = 0
        self._building: dict[ObjectHash, _Flight] = {}
        self._commits: OrderedDict[ObjectHash, Commit] = OrderedDict()

    async def listing(self, directory: ObjectHash, place: TreePlace) -> Listing:
        """Return the listing of the directory with that node id.

        From memory or the database without a checkpoint, else from the remote in a thread, once
        however many ask. Cancelling one who asks does not stop the others: whoever is left builds.
        A failure is told to everybody who waits; who asks later tries again.

        Raises:
            NotFound: the remote does not have the node.
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
        """Return a commit; raise `NotFound`."""
        found = self._commits.get(id)
        if found is None:
            found = await trio.to_thread.run_sync(self._remote.commit, id)
            self._keep_commit(found)
        return found

    def close(self) -> None:
        """Let go of the database."""
        self._env.close()

    def _known(self, directory: ObjectHash) -> Listing | None:
        listing = self._listings.get(directory)
        if listing is not None:
            self._listings.move_to_end(directory)
            return listing
        try:
            columns = self._env.get(_TABLE, self._key(directory))
            if columns is None:
                return None
            listing = Listing(columns)
        except OxenfsError as exc:
            log.warning("a cached listing cannot be read and is made again: %s", exc)
            return None
        self._keep(directory, listing)
        return listing

    def _build(self, directory: ObjectHash, place: TreePlace) -> bytes:
        rows = rows_of(self._remote.directory(directory, place))
        columns = columns_of(with_dates(rows, self._date_of))
        try:
            with self._env.write() as txn:
                txn.put(_TABLE, self._key(directory), columns)
        except OxenfsError as exc:
            log.warning("a listing cannot be kept: %s", exc)
        return columns

    def _date_of(self, commit: ObjectHash) -> int:
        found = self._commits.get(commit)
        if found is None:
            try:
                found = self._remote.commit(commit)
            except NotFound:
                # A pruned history: the date is lost, the directory is not.
                log.warning("commit %s is gone: no date for its directories", hash_text(commit))
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

    def _key(self, directory: ObjectHash) -> bytes:
        return self._prefix + directory.to_bytes(16, "big")


def with_dates(rows: list[Row], date_of: Callable[[ObjectHash], int]) -> list[Row]:
    """Return `rows` with each directory's mtime set to the date of its last commit."""
    dates: dict[bytes, int] = {}
    for number, row in enumerate(rows):
        if row.kind == Kind.DIRECTORY:
            if row.commit not in dates:
                dates[row.commit] = date_of(row.last_commit)
            rows[number] = row._replace(mtime_ns=dates[row.commit])
    return rows


def _open_or_replace(path: Path) -> Environment:
    """Open the database; one that does not open is set aside, for it can be made again."""
    try:
        return open_environment(path, [_TABLE], durable=False)
    except IntegrityError as exc:
        aside = path.with_name(f"{path.name}.damaged")
        log.warning("%s; it is set aside as %s and made again", exc, aside)
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        return open_environment(path, [_TABLE], durable=False)
