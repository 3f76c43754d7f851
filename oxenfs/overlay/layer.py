"""An upper layer as it was at one moment, for reading in a thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from oxenfs.overlay.files import ByteFiles
from oxenfs.overlay.index import Snapshot
from oxenfs.overlay.index_fill import ENTRIES, HASHES, NODES, ORIGINS, PIECES, XATTRS
from oxenfs.overlay.nodes import (
    ROOT,
    Entry,
    Nid,
    Node,
    node_key,
    origin_key,
    unpack_entry,
    unpack_node,
)
from oxenfs.overlay.pieces import Pieces


class Facts(NamedTuple):
    """Size and times of a file.

    Attributes:
        stamp: another one whenever the file of bytes was written to.
    """

    size: int
    mtime_ns: int
    stamp: bytes


class Layer:
    """Nodes and entries of one snapshot, and the files of bytes as they are now."""

    def __init__(self, snapshot: Snapshot, files: ByteFiles) -> None:
        """Read `snapshot`; it must stay open as long."""
        self._snapshot = snapshot
        self.files = files

    def node(self, nid: Nid) -> Node | None:
        """Return a node, None if there is none."""
        packed = self._snapshot.get(NODES, node_key(nid))
        return None if packed is None else unpack_node(packed)

    def packed(self, nid: Nid) -> bytes | None:
        """Return a node as it is kept: equal for equal nodes."""
        return self._snapshot.get(NODES, node_key(nid))

    def entry(self, parent: Nid, name: bytes) -> Entry | None:
        """Return what the layer says about a name."""
        packed = self._snapshot.get(ENTRIES, node_key(parent) + name)
        return None if packed is None else unpack_entry(packed)

    def entries(self, parent: Nid) -> Iterator[tuple[bytes, Entry]]:
        """Yield what the layer says about the names in a folder, in order of names."""
        for key, packed in self._snapshot.scan(ENTRIES, node_key(parent)):
            yield key[8:], unpack_entry(packed)

    def of_origin(self, path: bytes) -> Nid | None:
        """Return the node of what the commit has at `path`."""
        packed = self._snapshot.get(ORIGINS, origin_key(path))
        return None if packed is None else int.from_bytes(packed, "big")

    def pieces(self, data: Nid) -> Pieces:
        """Return which chunks a file of bytes has."""
        return Pieces(self._snapshot.get(PIECES, node_key(data)) or b"")

    def xattrs(self, nid: Nid) -> list[tuple[bytes, bytes]]:
        """Return the extended attributes of a node."""
        found = self._snapshot.scan(XATTRS, node_key(nid))
        return [(key[8:], value) for key, value in found]

    def hash(self, data: Nid) -> bytes | None:
        """Return the hash that was kept for a file of bytes, and its stamp behind that."""
        return self._snapshot.get(HASHES, node_key(data))

    def path(self, folder: Nid) -> bytes | None:
        """Return where a folder is, None if it is gone."""
        names: list[bytes] = []
        while folder != ROOT:
            node = self.node(folder)
            if node is None:
                return None
            names.append(node.name)
            folder = node.parent
        return b"/".join(reversed(names))

    def facts(self, node: Node) -> Facts:
        """Return size and times of a file."""
        found = self.files.stat(node.data) if node.data else None
        if found is None:
            size = 0 if node.data else node.size
            return Facts(size, node.mtime_ns, b"")
        return Facts(found.st_size, found.st_mtime_ns, _stamp(found))

    def is_elsewhere(self, path: bytes) -> bool:
        """Return whether what the commit has at `path` has another name now."""
        nid = self.of_origin(path)
        if nid is None:
            return False
        parent, _, name = path.rpartition(b"/")
        above = self.of_origin(parent)
        entry = None if above is None else self.entry(above, name)
        return entry is None or entry.nid != nid

    def is_vacant(self, path: bytes) -> bool:
        """Return whether nothing is at `path` any more, where something of the commit was."""
        parent, _, name = path.rpartition(b"/")
        above = self.of_origin(parent)
        if above is None:
            return True
        entry = self.entry(above, name)
        return entry is not None and entry.is_whiteout


def _stamp(found: os.stat_result) -> bytes:
    return b"%d.%d.%d" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
