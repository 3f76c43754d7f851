"""Builds the tree of a new commit: the base's tree with a change set applied.

Only directories on the way to a change are read and written; everything else is shared by id.
Ids of directories and vnodes are hashes of all that is in the node, the path and the last commit
included, so that equal ids always mean equal bytes. (Oxen's own ids are opaque to others; any
unique value does.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from oxenfs.errors import Unsupported
from oxenfs.model import DEPTH_MAX, ObjectHash
from oxenfs.names import quoted
from oxenfs.remote.base import RawNode
from oxenfs.remote.hashing import little, xxh3
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.payloads import (
    DIRECTORY,
    FILE,
    VNODE,
    DirectoryPayload,
    FilePayload,
    Payload,
    VnodePayload,
    decode_payload,
    encode_payload,
)
from oxenfs.remote.wire import Child, children_of, decode_node, encode_node


class _Built(NamedTuple):
    """A directory whose own node waits for the id of the vnode it will lie in."""

    payload: DirectoryPayload
    raw: bytes
    rows: tuple[Child, ...]


class TreeBuilder:
    """Applies one change set."""

    def __init__(
        self,
        nodes: Nodes,
        put: Callable[[RawNode], None],
        commit: ObjectHash,
        vnode_size: int,
    ) -> None:
        """Build for `commit`; `put` gets each new or shared node once.

        Args:
            nodes: where the base's tree is.
            put: stores a node.
            commit: the id of the commit to be.
            vnode_size: entries per bucket of a directory.
        """
        self._nodes = nodes
        self._put = put
        self._commit = commit
        self._vnode_size = vnode_size
        self.changed_paths = 0

    def build(self, base: ObjectHash | None, records: Iterator[Record]) -> Child | None:
        """Return the root directory of the new commit, or None when nothing changes.

        Args:
            base: root directory of the commit to build on; None: there is none.
            records: in tree order.
        """
        old = None
        if base is not None:
            raw = self._nodes.get(base)
            old = _directory_payload(raw)
        built = self._directory(b"", old, _Ahead(records), 0)
        if built is None:
            if base is not None:
                return None
            built = self._assemble(b"", {}, _Totals(None))
        self._put_directory(built, self._commit)
        return Child(DIRECTORY, built.payload.id, built.raw)

    def _directory(
        self, path: bytes, base: DirectoryPayload | None, ahead: _Ahead, depth: int
    ) -> _Built | None:
        """Apply the records below `path`; return None if they change nothing."""
        if depth > DEPTH_MAX:
            raise Unsupported(f"folders are nested deeper than {DEPTH_MAX}: {quoted(path[:80])}...")
        entries: dict[bytes, Child] = {}
        if base is not None:
            for vnode in self._nodes.directory(base.id).vnodes:
                for child in children_of(vnode):
                    entries[_name_of(child)] = child
        totals = _Totals(base)
        fresh: dict[ObjectHash, _Built] = {}
        changed = False
        prefix = path + b"/" if path else b""
        while (record := ahead.below(prefix)) is not None:
            name, slash, _ = record.path[len(prefix) :].partition(b"/")
            old = entries.get(name)
            new = old
            payload: Payload | None = None
            if slash:
                inner = None
                if old is not None and old.type == DIRECTORY and old.hash not in fresh:
                    inner = _payload_of(old)
                built = self._directory(prefix + name, inner, ahead, depth + 1)
                if built is not None:
                    fresh[built.payload.id] = built
                    payload = built.payload
                    new = Child(DIRECTORY, built.payload.id, built.raw)
            else:
                ahead.take()
                if record.op is Op.REMOVE:
                    new = None
                elif record.op is Op.MAKE_DIRECTORY:
                    if old is None or old.type != DIRECTORY:
                        built = self._assemble(prefix + name, {}, _Totals(None))
                        fresh[built.payload.id] = built
                        payload = built.payload
                        new = Child(DIRECTORY, built.payload.id, built.raw)
                elif record.file is not None and (
                    old is None or old.type != FILE or old.hash != record.file.hash
                ):
                    payload = record.file._replace(last_commit=self._commit)
                    new = Child(FILE, payload.hash, encode_payload(payload))
                self.changed_paths += new is not old
            if new is not old:
                changed = True
                if old is not None:
                    totals.account(decode_payload(old.type, old.payload), -1)
                if payload is not None:
                    totals.account(payload, 1)
                if new is None:
                    del entries[name]
                else:
                    entries[name] = new
        if not changed:
            return None
        return self._assemble(path, entries, totals, fresh)

    def _assemble(
        self,
        path: bytes,
        entries: dict[bytes, Child],
        totals: _Totals,
        fresh: dict[ObjectHash, _Built] | None = None,
    ) -> _Built:
        buckets = -(-len(entries) // self._vnode_size)
        groups: list[list[Child]] = [[] for _ in range(buckets)]
        prefix = path + b"/" if path else b""
        for name in sorted(entries):
            bucket = xxh3(prefix, name) % buckets if buckets > 1 else 0
            groups[bucket].append(entries[name])
        vnodes = [(_vnode_id(path, group), group) for group in groups if group]
        id = xxh3(b"dir", path, b"\0", little(self._commit), *(little(v) for v, _ in vnodes))
        payload = DirectoryPayload(
            path.rpartition(b"/")[2].decode(),
            id,
            len(entries),
            sum(totals.sizes.values()),
            self._commit,
            0,
            dict(sorted(totals.counts.items())),
            dict(sorted(totals.sizes.items())),
        )
        rows = []
        for vnode, group in vnodes:
            raw = encode_payload(VnodePayload(vnode, len(group)))
            self._put(encode_node(VNODE, vnode, id, raw, group))
            rows.append(Child(VNODE, vnode, raw))
            for child in group:
                if fresh and child.type == DIRECTORY and child.hash in fresh:
                    self._put_directory(fresh[child.hash], vnode)
        return _Built(payload, encode_payload(payload), tuple(rows))

    def _put_directory(self, built: _Built, parent: ObjectHash) -> None:
        self._put(encode_node(DIRECTORY, built.payload.id, parent, built.raw, built.rows))


class _Ahead:
    """An iterator of records with a look at the next one."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._next = next(records, None)

    def below(self, prefix: bytes) -> Record | None:
        """Return the next record if its path starts with `prefix`."""
        record = self._next
        return record if record is not None and record.path.startswith(prefix) else None

    def take(self) -> None:
        self._next = next(self._records, None)


class _Totals:
    """Number and bytes of files below a directory, by data type, kept up to date by difference."""

    def __init__(self, base: DirectoryPayload | None) -> None:
        self.counts = dict(base.counts) if base else {}
        self.sizes = dict(base.sizes) if base else {}

    def account(self, payload: Payload, sign: int) -> None:
        """Add (1) or take away (-1) an entry."""
        if isinstance(payload, FilePayload):
            self._add(payload.data_type, sign, sign * payload.size)
        elif isinstance(payload, DirectoryPayload):
            for data_type, count in payload.counts.items():
                self._add(data_type, sign * count, sign * payload.sizes.get(data_type, 0))

    def _add(self, data_type: str, count: int, size: int) -> None:
        self.counts[data_type] = self.counts.get(data_type, 0) + count
        self.sizes[data_type] = self.sizes.get(data_type, 0) + size
        if not self.counts[data_type]:
            del self.counts[data_type]
            del self.sizes[data_type]


def _vnode_id(path: bytes, group: list[Child]) -> ObjectHash:
    return xxh3(b"vnode", path, b"\0", *(child.payload for child in group))


def _name_of(child: Child) -> bytes:
    payload = decode_payload(child.type, child.payload)
    return payload.name.encode()  # type: ignore[union-attr]


def _payload_of(child: Child) -> DirectoryPayload:
    payload = decode_payload(DIRECTORY, child.payload)
    assert isinstance(payload, DirectoryPayload)
    return payload


def _directory_payload(raw: RawNode) -> DirectoryPayload:
    payload = decode_node(raw).payload
    assert isinstance(payload, DirectoryPayload)
    return payload
