"""Checks directories of a local repository: nodes, names, totals, and the blobs of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from oxenfs.errors import IntegrityError, NotFound, Unsupported
from oxenfs.model import Commit, ObjectHash, check_name, hash_text
from oxenfs.names import printable
from oxenfs.remote.describe import combined_hash
from oxenfs.remote.hashing import little
from oxenfs.remote.local.blobs import Blobs
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.payloads import (
    DIRECTORY,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    decode_payload,
)
from oxenfs.remote.wire import Child, Node, decode_node


class _Totals(NamedTuple):
    """What entries add up to; files and bytes by data type."""

    entries: int
    counts: Counter[str]
    sizes: Counter[str]


class TreeCheck:
    """Checks trees one after the other, and in each only what was in none before.

    Attributes:
        told_blobs: keys of the blobs whose trouble has been told with a path.
    """

    def __init__(
        self,
        nodes: Nodes,
        blobs: Blobs,
        commits: set[ObjectHash],
        bad_blobs: dict[bytes, str],
        done: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            nodes: where trees are.
            blobs: where blobs are.
            commits: all that the repository has.
            bad_blobs: what is wrong with a blob, by its key.
            done: called for each node.
        """
        self._nodes = nodes
        self._blobs = blobs
        self._commits = commits
        self._bad_blobs = bad_blobs
        self._done = done
        self.told_blobs: set[bytes] = set()
        self._problems: list[str] = []
        # Directory to a digest of its record, of which each parent has a copy.
        self._directories: dict[ObjectHash, int] = {}
        self._vnodes: dict[ObjectHash, _Totals] = {}
        self._waiting: list[tuple[Child, bytes]] = []

    def check(self, root: Child, commit: Commit) -> Iterator[str]:
        """Yield problems below the root directory of `commit`."""
        self._waiting.append((root, b""))
        while self._waiting:
            row, path = self._waiting.pop()
            try:
                payload = decode_payload(DIRECTORY, row.payload)
                assert isinstance(payload, DirectoryPayload)
                known = self._directories.get(row.hash)
                self._directories[row.hash] = _digest(payload)
                if known is None:
                    self._directory(row.hash, payload, path, commit)
                elif known != _digest(payload):
                    self._say(commit, path, "its parents have different records of it")
            except (NotFound, IntegrityError) as exc:
                self._say(commit, path, exc)
            yield from self._problems
            self._problems.clear()

    def _say(self, commit: Commit, path: bytes, problem: object) -> None:
        shown = printable(path) or "/"
        self._problems.append(f"{shown}@{hash_text(commit.id)}: {problem}")

    def _node(self, id: ObjectHash, kind: int) -> Node:
        node = decode_node(self._nodes.get(id))
        if node.type != kind:
            raise IntegrityError(f"node {hash_text(id)} is of type {node.type} and not {kind}")
        self._done()
        return node

    def _directory(
        self, id: ObjectHash, record: DirectoryPayload, path: bytes, commit: Commit
    ) -> None:
        node = self._node(id, DIRECTORY)
        own = node.payload
        assert isinstance(own, DirectoryPayload)
        if own != record:
            self._say(commit, path, "its own record is not the one that its parent has")
        if own.last_commit not in self._commits:
            self._say(commit, path, f"its last commit {hash_text(own.last_commit)} is missing")
        entries, counts, sizes = 0, Counter[str](), Counter[str]()
        names: set[str] = set()
        whole = True
        for child in node.children:
            try:
                if child.hash not in self._vnodes:
                    vnode = self._node(child.hash, VNODE)
                    self._vnodes[child.hash] = self._vnode(vnode, path, commit, names)
            except (NotFound, IntegrityError) as exc:
                self._say(commit, path, exc)
                whole = False
                continue
            totals = self._vnodes[child.hash]
            entries += totals.entries
            counts += totals.counts
            sizes += totals.sizes
        if not whole:
            return
        if own.entries != entries:
            self._say(commit, path, f"the folder says {own.entries} entries and has {entries}")
        if own.size != sizes.total() or +Counter(own.sizes) != sizes:
            self._say(commit, path, f"the folder says {own.size} bytes, in it are {sizes.total()}")
        if +Counter(own.counts) != counts:
            self._say(commit, path, "the folder's numbers of files are not those of what is in it")

    def _vnode(self, node: Node, path: bytes, commit: Commit, names: set[str]) -> _Totals:
        """Return what the entries of a vnode add up to; its directories wait to be checked."""
        assert isinstance(node.payload, VnodePayload)
        if node.payload.entries != len(node.children):
            problem = f"a vnode says {node.payload.entries} entries and has {len(node.children)}"
            self._say(commit, path, problem)
        totals = _Totals(len(node.children), Counter(), Counter())
        for child in node.children:
            payload = decode_payload(child.type, child.payload)
            if not isinstance(payload, FilePayload | DirectoryPayload):
                raise IntegrityError(f"an entry of type {child.type}")
            name = payload.name.encode()
            where = (path + b"/" if path else b"") + name
            try:
                check_name(name)
            except Unsupported as exc:
                self._say(commit, where, exc)
            if payload.name in names:
                self._say(commit, where, "the folder has two of this name")
            names.add(payload.name)
            if isinstance(payload, FilePayload):
                self._file(child, payload, where, commit)
                totals.counts[payload.data_type] += 1
                totals.sizes[payload.data_type] += payload.size
            else:
                if child.hash != payload.id:
                    self._say(commit, where, "its id in the folder's node is another")
                self._waiting.append((child, where))
                totals.counts.update(payload.counts)
                totals.sizes.update(payload.sizes)
        return totals

    def _file(self, row: Child, file: FilePayload, path: bytes, commit: Commit) -> None:
        if row.hash != file.hash:
            self._say(commit, path, "its hash in the folder's node is another")
        if file.combined != combined_hash(file.hash, file.metadata_hash):
            self._say(commit, path, "its combined hash does not fit")
        if file.last_commit not in self._commits:
            self._say(commit, path, f"its last commit {hash_text(file.last_commit)} is missing")
        key = little(file.hash)
        if key in self.told_blobs:
            return
        problem = self._bad_blobs.get(key)
        if problem is None:
            try:
                size = self._blobs.locate(file.hash).size
            except NotFound:
                problem = "is missing"
            else:
                problem = f"has {size} bytes, not {file.size}" if size != file.size else None
        if problem is not None:
            self.told_blobs.add(key)
            self._say(commit, path, f"blob {hash_text(file.hash)} {problem}")


def _digest(record: DirectoryPayload) -> int:
    # The official client writes maps in any order.
    counts, sizes = frozenset(record.counts.items()), frozenset(record.sizes.items())
    return hash((*record[:-2], counts, sizes))
