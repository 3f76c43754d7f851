"""Commits made here and pushed as the official client does: what no workspace can make.

That is empty folders, and commits with any parents and times.
"""

from __future__ import annotations

import functools
import gzip
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from repositories import AUTHOR

from oxenfs.errors import NotFound, Unsupported
from oxenfs.model import (
    Author,
    Change,
    Commit,
    Kind,
    ObjectHash,
    Published,
    Put,
    hash_text,
)
from oxenfs.remote.archive import Limits, Member
from oxenfs.remote.archive_nodes import node_members, read_nodes
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode, Remote, TreePlace
from oxenfs.remote.hashing import commit_id, xxh3
from oxenfs.remote.http.remote import HttpRemote
from oxenfs.remote.local.repository import LocalRemote, create
from oxenfs.remote.local.rocks import database_files
from oxenfs.remote.payloads import COMMIT, encode_payload
from oxenfs.remote.rows import rows_of
from oxenfs.remote.wire import children_of, encode_node

from ..grafting import put_nodes, set_branch

VNODE_SIZE = 8
_PUSHED = ("is empty, which a server cannot store", "was a folder and would become a file")


def commit_node(remote: HttpRemote, commit: ObjectHash) -> RawNode:
    """Return a commit as the server has it."""
    params = {"subtrees": "", "depth": "0", "is_download": "true"}
    with remote.transport.open(
        "GET", f"/tree/download/{hash_text(commit)}", params=params
    ) as answer:
        nodes = {node.id: node for node in read_nodes(answer.pieces(), Limits())}
    return nodes[commit]


def graft_commit(
    remote: Remote, branch: str, parents: tuple[ObjectHash, ...], seconds: int
) -> ObjectHash:
    """Push a commit with the tree of its first parent, and put `branch` at it; return its id."""
    inner = remote.inner if isinstance(remote, WithFolders) else remote
    assert isinstance(inner, HttpRemote)
    message, timestamp_ns = f"graft at {seconds}", seconds * 10**9
    id = commit_id(parents, message, AUTHOR, timestamp_ns)
    commit = Commit(id, parents, AUTHOR, message, timestamp_ns)
    (root,) = children_of(commit_node(inner, parents[0]))
    node = encode_node(COMMIT, id, parents[0], encode_payload(commit), [root])
    _push(inner, branch, id, [node], dict(_folders(inner, parents[0])))
    return id


class WithFolders:
    """A remote over HTTP that stores everything, by a push where its workspace cannot.

    What it does itself is tested through `inner`; only change sets that are refused because of an
    empty folder, or of a folder that becomes a file on an oxen-server, go another way.
    """

    def __init__(self, inner: HttpRemote, folder: Path) -> None:
        self.inner = inner
        self.key = inner.key
        self.address = inner.address
        self._folder = folder

    @functools.cached_property
    def _mirror(self) -> LocalRemote:
        return create(self._folder, AUTHOR, vnode_size=VNODE_SIZE)

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        try:
            return self.inner.publish(branch, base, changes, message, author)
        except Unsupported as exc:
            if not any(why in str(exc) for why in _PUSHED):
                raise
        # Streams of changes have no empty folders in them.
        assert isinstance(changes, Sequence)
        try:
            head = self.inner.branch(branch).commit
        except NotFound:
            head = None
        for commit in {base, head} - {None}:
            assert commit is not None
            put_nodes(self._mirror, [commit_node(self.inner, commit), *self.inner.tree(commit)])
            set_branch(self._mirror, f"has-{hash_text(commit)}", self.inner.commit(commit))
        if head is not None:
            set_branch(self._mirror, branch, self.inner.commit(head))
        done = self._mirror.publish(branch, base, changes, message, author)
        _push_blobs(self.inner, changes)
        node = self._mirror._nodes.get(done.commit)
        nodes = [node, *self._mirror.tree(done.commit)]
        _push(self.inner, branch, done.commit, nodes, dict(_folders(self._mirror, done.commit)))
        return done

    def close(self) -> None:
        self.inner.close()
        if "_mirror" in self.__dict__:
            self._mirror.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _push(
    remote: HttpRemote,
    branch: str,
    id: ObjectHash,
    nodes: Iterable[RawNode],
    folders: dict[bytes, bytes],
) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    archive = b"".join(write_members(node_members(nodes, prefix="")))
    remote.transport.json_of("POST", "/tree/nodes", archive, headers)
    where = f"history/{hash_text(id)}/dir_hashes/"
    files = [Member(where + name, data) for name, data in database_files(folders).items()]
    remote.transport.json_of("POST", "/commits/upload", b"".join(write_members(files)), headers)
    remote.transport.json("PUT", f"/branches/{branch}", body={"commit_id": hash_text(id)})


def _push_blobs(remote: HttpRemote, changes: Iterable[Change]) -> None:
    boundary = secrets.token_hex(8)
    body = b""
    for change in changes:
        if isinstance(change, Put):
            with change.content.open() as source:
                data = source.read()
            body += (
                (
                    f'--{boundary}\r\nContent-Disposition: form-data; name="file[]"; '
                    f'filename="{hash_text(xxh3(data))}"\r\n'
                    "Content-Type: application/gzip\r\n\r\n"
                ).encode()
                + gzip.compress(data)
                + b"\r\n"
            )
    if body:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        body += f"--{boundary}--\r\n".encode()
        assert remote.transport.json_of("POST", "/versions", body, headers)["err_files"] == []


def _folders(remote: Remote, commit: ObjectHash) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and node id of every directory."""
    waiting = [(b"", remote.root(commit))]
    while waiting:
        path, id = waiting.pop()
        yield path, hash_text(id).encode()
        rows = rows_of(remote.directory(id, TreePlace(commit, path)))
        prefix = path + b"/" if path else b""
        waiting += [(prefix + row.name, row.id) for row in rows if row.kind == Kind.DIRECTORY]
