"""A plain model of what an upper layer shows: names, kinds, link counts."""

from __future__ import annotations

from oxenfs.overlay.nodes import DIRECTORY_MODE, FILE_MODE, ROOT, Node
from oxenfs.overlay.standing import now_ns
from oxenfs.overlay.upper import Upper


def file_node(mode: int = FILE_MODE) -> Node:
    now = now_ns()
    return Node(mode, 0, 0, 1, 0, now, now, now)


def folder_node() -> Node:
    return file_node(DIRECTORY_MODE)._replace(nlink=2)


def shown(upper: Upper, folder: int = ROOT, prefix: bytes = b"") -> dict[bytes, tuple[int, int]]:
    """Return everything below a folder: mode and link count by path."""
    found: dict[bytes, tuple[int, int]] = {}
    for name, entry in upper.entries(folder):
        path = prefix + name
        if entry.is_whiteout:
            found[path] = (0, 0)
            continue
        node = upper.node(entry.nid)
        found[path] = (node.mode, node.nlink)
        if node.is_directory:
            assert (node.parent, node.name) == (folder, name)
            found |= shown(upper, entry.nid, path + b"/")
    return found
