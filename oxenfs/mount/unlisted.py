"""Inodes of nodes that no listing shows, such as `.oxenfs`: kept one by one, as they are few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from oxenfs.views.base import Node


class Unlisted:
    """Nodes by inode, and inodes by parent and key. A node that is gone keeps its number."""

    def __init__(self) -> None:
        """Know none."""
        self._nodes: dict[int, tuple[int, bytes, Node | None]] = {}
        self._inodes: dict[tuple[int, object], int] = {}
        self._in: dict[int, list[int]] = {}

    def __contains__(self, inode: int) -> bool:
        return inode in self._nodes

    def node(self, inode: int) -> Node | None:
        """Return the node as it is now; None if it is gone."""
        return self._nodes[inode][2]

    def name(self, inode: int) -> bytes:
        """Return the name under which the node was found."""
        return self._nodes[inode][1]

    def has_in(self, parent: int) -> bool:
        """Return whether there are any in that directory."""
        return parent in self._in

    def number(self, parent: int, name: bytes, node: Node, new: Callable[[], int]) -> int:
        """Return the inode of `node`, the same one for the same key; else one from `new`."""
        where = (parent, node.key)
        inode = self._inodes.get(where)
        if inode is None:
            inode = self._inodes[where] = new()
            self._in.setdefault(parent, []).append(inode)
            self._nodes[inode] = (parent, name, node)
        elif self._nodes[inode][2] is None:
            self._nodes[inode] = (parent, name, node)
        return inode

    def within(self, parent: int) -> Iterator[tuple[int, bytes, Node]]:
        """Yield number, name and node of those in `parent` that are not gone."""
        for inode in self._in.get(parent, ()):
            _, name, node = self._nodes[inode]
            if node is not None:
                yield inode, name, node

    def change(self, now: Mapping[int, Node | None]) -> None:
        """Let inodes be those nodes from now on; None: gone."""
        for inode, node in now.items():
            parent, name, _ = self._nodes[inode]
            self._nodes[inode] = (parent, name, node)
            if node is not None:
                self._inodes[parent, node.key] = inode
