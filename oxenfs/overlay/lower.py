"""The tree of a commit by path, for threads: what changes are compared with."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import BinaryIO, NamedTuple, cast

from oxenfs.errors import OxenfsError, RemoteUnavailable
from oxenfs.model import Content, Kind, ObjectHash, hash_text
from oxenfs.names import quoted
from oxenfs.remote.base import BlobPlace, Remote, TreePlace
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import commit_or_none
from oxenfs.store.records import ListingRecords, make_columns

_LISTINGS_KEPT = 256
_PIECE_BYTES = 1 << 20
_KEPT_BYTES_MAX = 64 << 10
_KEPT = "file:"


class Found(NamedTuple):
    """What a commit has at a path.

    Attributes:
        hash: blob of a file, node id of a folder.
    """

    directory: bool
    hash: ObjectHash
    size: int
    mtime_ns: int

    @property
    def same_as(self) -> tuple[bool, ObjectHash]:
        """What is equal for equal things."""
        return self.directory, self.hash


class LowerTree:
    """One commit. Blocking; for one thread."""

    def __init__(self, remote: Remote, records: ListingRecords, commit: ObjectHash) -> None:
        """Look at `commit`; listings are kept in `records`."""
        self.remote = remote
        self.commit = commit
        self._records = records
        self._root: ObjectHash | None = None
        self._listings: OrderedDict[bytes, Listing | None] = OrderedDict()

    def find(self, path: bytes) -> Found | None:
        """Return what is at `path`, None if there is nothing."""
        if not path:
            return Found(True, self._root_id(), 0, 0)
        parent, _, name = path.rpartition(b"/")
        listing = self.listing(parent)
        row = -1 if listing is None else listing.find(name)
        if listing is None or row < 0:
            return None
        return Found(
            listing.is_directory(row), listing.hash(row), listing.sizes[row], listing.mtimes[row]
        )

    def row(self, path: bytes) -> Row | None:
        """Return the entry at `path`; None if there is nothing, and for the root."""
        parent, _, name = path.rpartition(b"/")
        listing = self.listing(parent) if path else None
        row = -1 if listing is None else listing.find(name)
        return None if listing is None or row < 0 else listing.entry(row)

    def listing(self, path: bytes) -> Listing | None:
        """Return the listing of the folder at `path`, None if there is no folder."""
        if path in self._listings:
            self._listings.move_to_end(path)
            return self._listings[path]
        found = self.find(path)
        listing = self._read(path, found.hash) if found is not None and found.directory else None
        self._listings[path] = listing
        if len(self._listings) > _LISTINGS_KEPT:
            self._listings.popitem(last=False)
        return listing

    def content(self, path: bytes, found: Found) -> Content:
        """Return the bytes of a file of the commit on their way into another one."""
        place = BlobPlace(self.commit, path, found.size)

        def opened() -> BinaryIO:
            return cast("BinaryIO", io.BufferedReader(_Blob(self.remote, found.hash, place)))

        return Content(found.size, found.mtime_ns, opened, found.hash, stored=found.hash)

    def read(self, path: bytes, found: Found, offset: int, size: int) -> bytes:
        """Return a range of a file of the commit."""
        place = BlobPlace(self.commit, path, found.size)
        return self.remote.read(found.hash, offset, size, place)

    def whole(self, path: bytes, found: Found) -> bytes:
        """Return a file of the commit; a small one is kept as listings are."""
        name = _KEPT + hash_text(found.hash)
        kept = self._records.recall(name)
        if kept is not None:
            return str(kept).encode("latin-1")
        data = self.read(path, found, 0, found.size)
        if found.size <= _KEPT_BYTES_MAX:
            self._records.remember(name, data.decode("latin-1"))
        return data

    def _root_id(self) -> ObjectHash:
        if self._root is None:
            self._root = self.remote.root(self.commit)
        return self._root

    def _read(self, path: bytes, id: ObjectHash) -> Listing:
        try:
            columns = self._records.get(id)
            if columns is not None:
                return Listing(columns)
        except OxenfsError:
            pass  # made again
        try:
            nodes = self.remote.directory(id, TreePlace(self.commit, path))
        except RemoteUnavailable as exc:
            where = quoted(path) if path else "the root"
            raise RemoteUnavailable(f"what the commit has in {where} is not kept: {exc}") from exc
        columns = make_columns(nodes, self._date_of)
        self._records.put(id, columns)
        return Listing(columns)

    def _date_of(self, commit: ObjectHash) -> int:
        found = commit_or_none(self.remote, commit)
        return 0 if found is None else found.timestamp_ns


class _Blob(io.RawIOBase):
    """A blob of the repository as a stream."""

    def __init__(self, remote: Remote, blob: ObjectHash, place: BlobPlace) -> None:
        self._remote = remote
        self._blob = blob
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read on."""
        size = min(len(buffer), self._place.size - self._at, _PIECE_BYTES)
        if size <= 0:
            return 0
        data = self._remote.read(self._blob, self._at, size, self._place)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def is_directory(listing: Listing, row: int) -> bool:
    """Return whether a row of a listing is a folder."""
    return listing.kinds[row] == Kind.DIRECTORY
