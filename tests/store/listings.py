"""Asks for listings."""

from __future__ import annotations

from oxenfs.model import ObjectHash
from oxenfs.remote.base import TreePlace
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.rows import find_row
from oxenfs.store.columns import Listing


def node(remote: LocalRemote, path: bytes = b"") -> tuple[ObjectHash, TreePlace]:
    """Return the id of the directory at `path` of the branch's head, and its place."""
    head = remote.branch("main").commit
    row = find_row(remote, head, path)
    return remote.root(head) if row is None else row.id, TreePlace(head, path)


def names(listing: Listing) -> list[bytes]:
    return listing.names_between(0, listing.count)
