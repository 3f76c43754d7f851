"""Puts nodes and commits into a local repository that no publish of ours makes."""

from __future__ import annotations

from collections.abc import Iterable

from repositories import AUTHOR

from oxenfs.model import Commit, ObjectHash
from oxenfs.remote.base import RawNode, Remote
from oxenfs.remote.hashing import commit_id, little
from oxenfs.remote.local.nodes import pack
from oxenfs.remote.local.refs import put_commit
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import COMMIT, encode_payload
from oxenfs.remote.wire import children_of, encode_node


def put_nodes(remote: LocalRemote, nodes: Iterable[RawNode]) -> None:
    """Store nodes as they are, over what is there under their ids."""
    with remote._meta.write() as txn:
        for node in nodes:
            txn.put("nodes", little(node.id), pack(node))


def set_branch(remote: LocalRemote, branch: str, commit: Commit) -> None:
    """List a commit whose node is there, and put a branch at it."""
    with remote._meta.write() as txn:
        put_commit(txn, commit)
        txn.put("refs", branch.encode(), little(commit.id))


def graft_commit(
    remote: Remote, branch: str, parents: tuple[ObjectHash, ...], seconds: int
) -> ObjectHash:
    """Put `branch` at a new commit with the tree of its first parent; return its id."""
    assert isinstance(remote, LocalRemote)
    message, timestamp_ns = f"graft at {seconds}", seconds * 10**9
    id = commit_id(parents, message, AUTHOR, timestamp_ns)
    commit = Commit(id, parents, AUTHOR, message, timestamp_ns)
    (root,) = children_of(remote._nodes.get(parents[0]))
    put_nodes(remote, [encode_node(COMMIT, id, parents[0], encode_payload(commit), [root])])
    set_branch(remote, branch, commit)
    return id
