"""Branches and commits of a local repository.

Table `refs`: branch name (UTF-8) to commit id (16 bytes LE).
Table `commits`: text of the id to Unix nanoseconds (i64 LE); the commit itself is a node.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.kv import Environment, Transaction
from oxenfs.model import Branch, Commit, ObjectHash, hash_text
from oxenfs.remote.changes import BRANCH_BYTES_MAX
from oxenfs.remote.hashing import little
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.wire import decode_node

_TIME = struct.Struct("<q")
_TIME_MAX = (1 << 63) - 1


class Refs:
    """Reads branches and commits. Safe to use from several threads."""

    def __init__(self, meta: Environment, nodes: Nodes) -> None:
        """Read from the index `meta`."""
        self._meta = meta
        self._nodes = nodes

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        with self._meta.read() as txn:
            return [Branch(name.decode(), _id(value)) for name, value in txn.scan("refs")]

    def branch(self, name: str) -> Branch:
        """Return one branch; raise `NotFound`."""
        # What was no UTF-8 on the command line cannot be the name of a branch.
        key = name.encode(errors="replace")
        value = self._meta.get("refs", key) if 0 < len(key) <= BRANCH_BYTES_MAX else None
        if value is None:
            raise NotFound(f"no branch {name!r} in {self._meta.path.parent}")
        return Branch(name, _id(value))

    def commit(self, id: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        if self._meta.get("commits", hash_text(id).encode()) is None:
            raise NotFound(f"no commit {hash_text(id)} in {self._meta.path.parent}")
        payload = decode_node(self._nodes.get(id)).payload
        if not isinstance(payload, Commit):
            raise IntegrityError(f"node {hash_text(id)} is not a commit")
        return payload

    def with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids that start with `prefix`."""
        found = []
        with self._meta.read() as txn:
            for key in txn.keys("commits", prefix.encode()):
                found.append(ObjectHash(int(key, 16)))
                if len(found) >= limit:
                    break
        return found

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and its ancestors, newest first, children before parents.

        Nothing is read ahead before the first merge, and everything there: with clocks that
        differ, a parent may be newer than another child of it.
        """
        commit = self.commit(head)
        while len(commit.parents) == 1:
            yield commit
            commit = self.commit(commit.parents[0])
        children = self._count_children(commit)
        heap = [_Newest(commit)]
        while heap:
            commit = heapq.heappop(heap).commit
            yield commit
            for parent in set(commit.parents):
                children[parent] -= 1
                if not children[parent]:
                    heapq.heappush(heap, _Newest(self.commit(parent)))

    def _count_children(self, head: Commit) -> dict[ObjectHash, int]:
        """Return how many children each ancestor of `head` has, up to `head`."""
        counts = dict.fromkeys(head.parents, 1)
        waiting = list(counts)
        while waiting:
            for parent in set(self.commit(waiting.pop()).parents):
                if parent not in counts:
                    waiting.append(parent)
                counts[parent] = counts.get(parent, 0) + 1
        return counts


class _Newest:
    """Orders commits by time, the newest first."""

    def __init__(self, commit: Commit) -> None:
        self.commit = commit

    def __lt__(self, other: _Newest) -> bool:
        mine, others = self.commit, other.commit
        return (mine.timestamp_ns, mine.id) > (others.timestamp_ns, others.id)


def put_commit(txn: Transaction, commit: Commit) -> None:
    """List a commit; its node is stored beside."""
    txn.put(
        "commits",
        hash_text(commit.id).encode(),
        _TIME.pack(max(-_TIME_MAX, min(commit.timestamp_ns, _TIME_MAX))),
    )


def has_commit(meta: Environment, id: ObjectHash) -> bool:
    """Return whether the repository lists that commit."""
    return meta.get("commits", hash_text(id).encode()) is not None


def move_branch(txn: Transaction, name: str, old: ObjectHash | None, new: ObjectHash) -> bool:
    """Set a branch if it is still at `old` (None: absent); return whether it was."""
    key = name.encode()
    value = txn.get("refs", key)
    if (None if value is None else _id(value)) != old:
        return False
    txn.put("refs", key, little(new))
    return True


def _id(value: bytes) -> ObjectHash:
    return ObjectHash(int.from_bytes(value, "little"))
