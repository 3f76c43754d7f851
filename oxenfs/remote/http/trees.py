"""Trees over HTTP: the archives of `tree/download`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from urllib.parse import quote

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.archive import Limits, read_nodes
from oxenfs.remote.base import DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.wire import COMMIT, DIRECTORY, VNODE, children_of

_LIMITS = Limits(member_bytes=1 << 30)
_RECENT = 8


class Trees:
    """Reads directories and whole trees. Safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        """Ask the repository that `transport` speaks to."""
        self._transport = transport
        self._recent: OrderedDict[ObjectHash, DirectoryNodes] = OrderedDict()
        self._lock = threading.Lock()

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; its listing comes with it."""
        nodes = self._download(commit, b"")
        node = nodes.get(commit)
        if node is None:
            raise NotFound(f"no commit {hash_text(commit)} at {self._transport.base}")
        roots = [child.hash for child in children_of(node) if child.type == DIRECTORY]
        if node.node[0] != COMMIT or len(roots) != 1:
            raise IntegrityError(f"commit {hash_text(commit)} has no root directory")
        self._remember(_directory(nodes, roots[0]))
        return roots[0]

    def directory(self, id: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists a directory: by its path, in one request, or else node by node."""
        with self._lock:
            found = self._recent.get(id)
        if found is not None:
            return found
        # Paths travel as a comma list.
        if b"," not in place.path:
            nodes = self._download(place.commit, place.path)
            if id in nodes:
                return _directory(nodes, id)
        return self._by_id(id)

    def whole(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes of a commit below its root, each once, as they arrive."""
        params = {"subtrees": "", "is_download": "true"}
        yield from self._archive(f"/tree/download/{hash_text(commit)}", params, commit)

    def between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes that the commits after `base` up to `head` have and `base` has not."""
        path = f"/tree/download/{hash_text(base)}..{hash_text(head)}"
        yield from self._archive(path, {}, head)

    def _download(self, commit: ObjectHash, path: bytes) -> dict[ObjectHash, RawNode]:
        params = {"subtrees": path.decode(), "depth": "0", "is_download": "true"}
        with self._transport.open(
            "GET", f"/tree/download/{hash_text(commit)}", params=params
        ) as answer:
            return {node.id: node for node in read_nodes(answer.pieces(), _LIMITS)}

    def _archive(self, path: str, params: dict[str, str], commit: ObjectHash) -> Iterator[RawNode]:
        seen: set[ObjectHash] = set()
        with self._transport.open("GET", path, params=params) as answer:
            for node in read_nodes(answer.pieces(), _LIMITS):
                if node.id not in seen and node.node[:1] in _TREE_NODES:
                    seen.add(node.id)
                    yield node

    def _by_id(self, id: ObjectHash) -> DirectoryNodes:
        directory = self._node(id)
        vnodes = [self._node(child.hash) for child in children_of(directory)]
        return DirectoryNodes(directory, tuple(vnodes))

    def _node(self, id: ObjectHash) -> RawNode:
        path = f"/tree/nodes/hash/{quote(hash_text(id))}/download"
        with self._transport.open("GET", path) as answer:
            for node in read_nodes(answer.pieces(), _LIMITS):
                if node.id == id:
                    return node
        raise NotFound(f"no node {hash_text(id)} at {self._transport.base}")

    def _remember(self, nodes: DirectoryNodes) -> None:
        with self._lock:
            self._recent[nodes.directory.id] = nodes
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)


_TREE_NODES = (bytes([DIRECTORY]), bytes([VNODE]))


def _directory(nodes: dict[ObjectHash, RawNode], id: ObjectHash) -> DirectoryNodes:
    directory = nodes.get(id)
    if directory is None or directory.node[0] != DIRECTORY:
        raise IntegrityError(f"an archive without the directory {hash_text(id)} asked for")
    vnodes = []
    for child in children_of(directory):
        if child.hash not in nodes:
            raise IntegrityError(f"an archive without a vnode of directory {hash_text(id)}")
        vnodes.append(nodes[child.hash])
    return DirectoryNodes(directory, tuple(vnodes))
