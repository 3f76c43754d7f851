"""Listings on disk: one record per directory, by repository and node id, kept for ever."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import blake3

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import Environment, open_environment
from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.base import DirectoryNodes, RawNode
from oxenfs.remote.rows import Row, rows_of
from oxenfs.remote.wire import DIRECTORY, VNODE, children_of
from oxenfs.store.columns import columns_of

log = logging.getLogger(__name__)

_LISTINGS = "listings"
_COMPLETE = "complete"


class ListingRecords:
    """The records of one repository. Safe to use from several threads and processes."""

    def __init__(self, repository: str, cache_dir: Path) -> None:
        """Keep records below `cache_dir` for the repository with the key `repository`."""
        self._env = _open_or_replace(cache_dir / "tree")
        # Not xxh3: nobody may choose a repository's name so that it shares another one's records.
        self._prefix = blake3.blake3(repository.encode()).digest(length=16)

    def get(self, directory: ObjectHash) -> bytes | None:
        """Return a directory's columns, or None; raise `OxenfsError` if they cannot be read."""
        return self._env.get(_LISTINGS, self._key(directory))

    def put(self, directory: ObjectHash, columns: bytes) -> None:
        """Keep a directory's columns, if that is possible; the log says when it is not."""
        self._write(_LISTINGS, self._key(directory), columns)

    def is_complete(self, commit: ObjectHash) -> bool:
        """Return whether all directories of a commit were kept once."""
        try:
            return self._env.get(_COMPLETE, self._key(commit)) is not None
        except OxenfsError:
            return False

    def set_complete(self, commit: ObjectHash) -> None:
        """Note that all directories of a commit are kept."""
        self._write(_COMPLETE, self._key(commit), b"1")

    def close(self) -> None:
        """Let go of the database."""
        self._env.close()

    def _write(self, table: str, key: bytes, value: bytes) -> None:
        try:
            with self._env.write() as txn:
                txn.put(table, key, value)
        except OxenfsError as exc:
            log.warning("a listing cannot be kept: %s", exc)

    def _key(self, id: ObjectHash) -> bytes:
        return self._prefix + id.to_bytes(16, "big")


def complete_directories(nodes: Iterator[RawNode]) -> Iterator[DirectoryNodes]:
    """Yield each directory as soon as it and its vnodes have come, in whatever order.

    Memory: directories and vnodes that wait for each other.
    """
    waiting: dict[ObjectHash, RawNode] = {}
    missing: dict[ObjectHash, int] = {}
    directory_of: dict[ObjectHash, ObjectHash] = {}
    vnodes: dict[ObjectHash, RawNode] = {}

    def finished(directory: ObjectHash) -> DirectoryNodes:
        node = waiting.pop(directory)
        del missing[directory]
        ids = [child.hash for child in children_of(node)]
        for id in ids:
            directory_of.pop(id, None)
        return DirectoryNodes(node, tuple(vnodes.pop(id) for id in ids))

    for node in nodes:
        if node.node[0] == DIRECTORY:
            ids = [child.hash for child in children_of(node)]
            waiting[node.id] = node
            missing[node.id] = sum(id not in vnodes for id in ids)
            directory_of.update(dict.fromkeys(ids, node.id))
            if not missing[node.id]:
                yield finished(node.id)
        elif node.node[0] == VNODE:
            vnodes[node.id] = node
            owner = directory_of.get(node.id)
            if owner is not None:
                missing[owner] -= 1
                if not missing[owner]:
                    yield finished(owner)


def make_columns(nodes: DirectoryNodes, date_of: Callable[[ObjectHash], int]) -> bytes:
    """Return a directory's columns from its nodes; a directory's mtime is its last commit's date.

    About two microseconds per entry: call it in a thread.

    Raises:
        IntegrityError: a node is damaged.
    """
    return columns_of(with_dates(rows_of(nodes), date_of))


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
    tables = [_LISTINGS, _COMPLETE]
    try:
        return open_environment(path, tables, durable=False)
    except IntegrityError as exc:
        aside = path.with_name(f"{path.name}.damaged")
        log.warning("%s; it is set aside as %s and made again", exc, aside)
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        return open_environment(path, tables, durable=False)
