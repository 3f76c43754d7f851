"""Listings on disk: one record per directory, by repository and node id, kept for ever."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blake3

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import Environment, open_environment
from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.base import DirectoryNodes, RawNode
from oxenfs.remote.payloads import DIRECTORY, VNODE
from oxenfs.remote.rows import Row, rows_of
from oxenfs.remote.wire import children_of
from oxenfs.store.cache_folder import TREE, set_aside
from oxenfs.store.cache_trouble import DAMAGED
from oxenfs.store.columns import columns_of

log = logging.getLogger(__name__)

_LISTINGS = "listings"
_COMPLETE = "complete"
_SEEN = "seen"
_NAME_BYTES_MAX = 400
_WAITING_BYTES_MAX = 512 << 20

TABLES = [_LISTINGS, _COMPLETE, _SEEN]
"""The tables of the database."""


class ListingRecords:
    """The records of one repository. Safe to use from several threads and processes."""

    def __init__(self, repository: str, cache_dir: Path) -> None:
        """Keep records below `cache_dir` for the repository with the key `repository`."""
        self._env = _open_or_replace(cache_dir / TREE)
        # Not xxh3: nobody may choose a repository's name so that it shares another one's records.
        self._prefix = blake3.blake3(repository.encode()).digest(length=16)
        self._is_broken = False

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

    def recall(self, name: str) -> Any:
        """Return a JSON value that was remembered under `name`, None if there is none."""
        try:
            value = self._env.get(_SEEN, self._name(name))
        except OxenfsError:
            return None
        return None if value is None else json.loads(value)

    def remember(self, name: str, value: Any) -> None:
        """Remember a JSON value, for when the remote cannot be asked."""
        encoded = json.dumps(value).encode()
        try:
            if self._env.get(_SEEN, self._name(name)) == encoded:
                return
        except OxenfsError:
            pass
        self._write(_SEEN, self._name(name), encoded)

    def recall_all(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """Yield what was remembered under names that begin with `prefix`, without the prefix."""
        begin = self._name(prefix)
        try:
            with self._env.read() as txn:
                found = list(txn.scan(_SEEN, begin))
        except OxenfsError:
            return
        for key, value in found:
            yield key[len(begin) :].decode(), json.loads(value)

    def close(self) -> None:
        """Let go of the database."""
        self._env.close()

    def _write(self, table: str, key: bytes, value: bytes) -> None:
        if self._is_broken:
            return
        try:
            with self._env.write() as txn:
                txn.put(table, key, value)
        except OxenfsError as exc:
            log.warning("a listing cannot be kept: %s", exc)
            if isinstance(exc, IntegrityError):
                # Not one record, which would be made again: the next start makes a new database.
                self._is_broken = True
                with contextlib.suppress(OSError):
                    (self._env.path / DAMAGED).touch(mode=0o600)

    def _name(self, name: str) -> bytes:
        encoded = name.encode()
        # LMDB's longest key is 511 bytes.
        if len(encoded) > _NAME_BYTES_MAX:
            encoded = encoded[:_NAME_BYTES_MAX] + blake3.blake3(encoded).digest(length=16)
        return self._prefix + encoded

    def _key(self, id: ObjectHash) -> bytes:
        return self._prefix + id.to_bytes(16, "big")


def complete_directories(nodes: Iterator[RawNode]) -> Iterator[DirectoryNodes]:
    """Yield each directory as soon as it and its vnodes have come, in whatever order.

    Memory: directories and vnodes that wait for each other, 512 MiB at the most.

    Raises:
        IntegrityError: too much waits for what does not come.
    """
    waiting: dict[ObjectHash, RawNode] = {}
    missing: dict[ObjectHash, int] = {}
    directory_of: dict[ObjectHash, ObjectHash] = {}
    vnodes: dict[ObjectHash, RawNode] = {}

    waiting_bytes = 0

    def finished(directory: ObjectHash) -> DirectoryNodes:
        nonlocal waiting_bytes
        node = waiting.pop(directory)
        del missing[directory]
        ids = _vnodes_of(node)
        for id in ids:
            directory_of.pop(id, None)
        found = DirectoryNodes(node, tuple(vnodes.pop(id) for id in ids))
        waiting_bytes -= sum(map(_size, (node, *found.vnodes)))
        return found

    for node in nodes:
        waiting_bytes += _size(node)
        if waiting_bytes > _WAITING_BYTES_MAX:
            raise IntegrityError("a tree holds too many nodes that belong to no directory of it")
        if node.node[0] == DIRECTORY:
            ids = _vnodes_of(node)
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


def _vnodes_of(node: RawNode) -> list[ObjectHash]:
    # Each once, whatever is listed: it is taken out when its directory is made.
    return list(dict.fromkeys(child.hash for child in children_of(node)))


def _size(node: RawNode) -> int:
    return len(node.node) + len(node.children)


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
    """Open the database; one that is damaged is set aside, for it can be made again."""
    if (path / DAMAGED).exists():
        set_aside(path)
    try:
        return open_environment(path, TABLES, durable=False)
    except IntegrityError as exc:
        log.warning("%s", exc)
        set_aside(path)
        return open_environment(path, TABLES, durable=False)
