"""Trees over HTTP: the archives of `tree/download`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.archive import Limits
from oxenfs.remote.archive_nodes import read_nodes
from oxenfs.remote.base import DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.payloads import COMMIT, DIRECTORY, VNODE, DirectoryPayload, encode_payload
from oxenfs.remote.wire import decode_node, encode_node

# A node lists the entries of one bucket, some 200 bytes each: clients make buckets of 10,000.
_NODE_BYTES_MAX = 256 << 20
_WHOLE = Limits(member_bytes=_NODE_BYTES_MAX)
# All of these is kept until its directory is made: 2.5 million entries.
_ONE = Limits(members=200_000, member_bytes=_NODE_BYTES_MAX, total_bytes=512 << 20)
_RECENT = 8
# Oxen-server 0.65 makes the first commit of an empty repository with a root of this id, which it
# names in the commit's node and does not have.
_NO_ROOT = ObjectHash(0)
_TREE_NODES = (bytes([DIRECTORY]), bytes([VNODE]))


class Trees:
    """Reads directories and whole trees. Safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        """Ask the repository that `transport` speaks to."""
        self._transport = transport
        self._recent: OrderedDict[ObjectHash, DirectoryNodes] = OrderedDict()
        self._lock = threading.Lock()

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; its listing comes with it."""
        with self._transport.open(
            "GET", f"/tree/download/{hash_text(commit)}", params=_params(b"")
        ) as answer:
            nodes = {node.id: node for node in read_nodes(answer.pieces(), _ONE)}
            raw = nodes.get(commit)
            if raw is None:
                raise NotFound(f"no commit {hash_text(commit)} at {self._transport.base}")
            node = decode_node(raw)
            roots = [child.hash for child in node.children if child.type == DIRECTORY]
            if node.type != COMMIT or len(roots) != 1:
                raise IntegrityError(f"commit {hash_text(commit)} has no root directory")
            self._remember(_directory(nodes, roots[0]))
        return roots[0]

    def directory(self, id: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists a directory: by its path, in one request, or else node by node."""
        if id == _NO_ROOT:
            return _empty()
        with self._lock:
            found = self._recent.get(id)
        if found is not None:
            return found
        if _can_be_asked_by_path(place.path):
            with self._transport.open(
                "GET", f"/tree/download/{hash_text(place.commit)}", params=_params(place.path)
            ) as answer:
                nodes = {node.id: node for node in read_nodes(answer.pieces(), _ONE)}
                if id in nodes:
                    return _directory(nodes, id)
        return self._by_id(id)

    def whole(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes of a commit below its root, each once, as they arrive."""
        params = {"subtrees": "", "is_download": "true"}
        empty = True
        for node in self._archive(f"/tree/download/{hash_text(commit)}", params):
            empty = False
            yield node
        if empty:
            yield _empty().directory

    def between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes that the commits after `base` up to `head` have and `base` has not."""
        yield from self._archive(f"/tree/download/{hash_text(base)}..{hash_text(head)}", {})

    def _archive(self, path: str, params: dict[str, str]) -> Iterator[RawNode]:
        seen: set[ObjectHash] = set()
        with self._transport.open("GET", path, params=params) as answer:
            for node in read_nodes(answer.pieces(), _WHOLE):
                if node.id not in seen and node.node[:1] in _TREE_NODES:
                    seen.add(node.id)
                    yield node

    def _by_id(self, id: ObjectHash) -> DirectoryNodes:
        nodes = {id: self._node(id)}
        for child in decode_node(nodes[id]).children:
            nodes[child.hash] = self._node(child.hash)
        return _directory(nodes, id)

    def _node(self, id: ObjectHash) -> RawNode:
        path = f"/tree/nodes/hash/{hash_text(id)}/download"
        with self._transport.open("GET", path) as answer:
            nodes = {node.id: node for node in read_nodes(answer.pieces(), _ONE)}
        if id not in nodes:
            raise NotFound(f"no node {hash_text(id)} at {self._transport.base}")
        return nodes[id]

    def _remember(self, nodes: DirectoryNodes) -> None:
        with self._lock:
            self._recent[nodes.directory.id] = nodes
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)


def _params(path: bytes) -> dict[str, str]:
    return {"subtrees": path.decode(), "depth": "0", "is_download": "true"}


def _can_be_asked_by_path(path: bytes) -> bool:
    """Return whether `path` can stand in a query: several travel as one comma list, as UTF-8."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return b"," not in path


def _directory(nodes: dict[ObjectHash, RawNode], id: ObjectHash) -> DirectoryNodes:
    """Return the directory `id` out of `nodes`; each is one by what it says itself, too."""
    if id == _NO_ROOT:
        return _empty()
    if id not in nodes:
        raise IntegrityError(f"directory {hash_text(id)} is missing")
    directory = decode_node(nodes[id])
    if directory.type != DIRECTORY:
        raise IntegrityError(f"node {hash_text(id)} is not a directory")
    vnodes = []
    for child in directory.children:
        raw = nodes.get(child.hash)
        if raw is None:
            raise IntegrityError(f"a vnode of directory {hash_text(id)} is missing")
        if decode_node(raw).type != VNODE:
            raise IntegrityError(f"a child of directory {hash_text(id)} is no vnode")
        vnodes.append(raw)
    return DirectoryNodes(nodes[id], tuple(vnodes))


def _empty() -> DirectoryNodes:
    """Return the root directory of a commit without files."""
    payload = encode_payload(DirectoryPayload("", _NO_ROOT, 0, 0, _NO_ROOT, 0, {}, {}))
    return DirectoryNodes(encode_node(DIRECTORY, _NO_ROOT, _NO_ROOT, payload, ()), ())
