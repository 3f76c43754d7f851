"""Inode numbers: one block of consecutive numbers per directory.

The children of a directory get the numbers `base`, `base + 1`, ... in the order of its listing, all
at once, the first time it is listed or looked into. So a listing of 200,000 files costs one record
of 24 bytes, and nothing is kept per file. From a number back: the block by bisection, the parent
from the block, the row from the distance to the base. Lookup counts are not needed: a number is
never given to anything else while the mount lives, so there is nothing that `forget` could free.
"""

from __future__ import annotations

import bisect
from array import array
from collections import OrderedDict
from typing import TypeAlias

from oxenfs.errors import NotADirectory, NotFound, StaleRevision
from oxenfs.store.columns import Listing
from oxenfs.views.base import Directory, Node

Inode: TypeAlias = int  # pyfuse3 has plain numbers
ROOT: Inode = 1
_DIRECTORIES_KEPT = 4096


class Inodes:
    """Which inode is which node. Used from one trio loop; no method but `node` and `path` waits."""

    def __init__(self, root: Directory) -> None:
        """Give `root` the number 1."""
        self._root = root
        self._bases = array("Q")
        self._counts = array("Q")
        self._parents = array("Q")
        self._block_of: dict[Inode, int] = {}
        self._next = ROOT + 1
        # Nodes that are in no listing, by inode and by parent and key.
        self._unlisted: dict[Inode, tuple[Inode, bytes, Node]] = {}
        self._unlisted_inode: dict[tuple[Inode, object], Inode] = {}
        self._directories: OrderedDict[Inode, Directory] = OrderedDict()

    def children(self, parent: Inode, listing: Listing) -> int:
        """Return the inode of the first row of `listing`, the listing of directory `parent`.

        Raises:
            StaleRevision: the directory had another number of entries before.
        """
        block = self._block_of.get(parent)
        if block is None:
            block = len(self._bases)
            self._bases.append(self._next)
            self._counts.append(listing.count)
            self._parents.append(parent)
            self._block_of[parent] = block
            self._next += listing.count
        elif self._counts[block] != listing.count:
            raise StaleRevision(f"directory {parent} is not what it was")
        return self._bases[block]

    def unlisted(self, parent: Inode, name: bytes, node: Node) -> Inode:
        """Return the inode of a node that no listing shows; the same one for the same key."""
        where = (parent, node.key)
        inode = self._unlisted_inode.get(where)
        if inode is None:
            inode = self._next
            self._next += 1
            # A block of its own keeps the bases sorted and the bisection right.
            self._bases.append(inode)
            self._counts.append(1)
            self._parents.append(parent)
            self._unlisted[inode] = (parent, name, node)
            self._unlisted_inode[where] = inode
        return inode

    async def node(self, inode: Inode) -> Node:
        """Return the node with that number; raise `NotFound` for one that was never given out."""
        # Up to a directory that is known, and down again. Not by recursion: trees can be deep.
        rows: list[tuple[Inode, int]] = []
        while (node := self._known(inode)) is None:
            parent, row = self.place(inode)
            rows.append((inode, row))
            inode = parent
        for below, row in reversed(rows):
            if not isinstance(node, Directory):
                raise NotADirectory(f"inode {inode} is a file")
            listing = await node.listing()
            if row >= listing.count:
                raise StaleRevision(f"inode {below} is gone")
            node = node.child(listing, row)
            inode = below
            if isinstance(node, Directory):
                self._directories[inode] = node
                if len(self._directories) > _DIRECTORIES_KEPT:
                    self._directories.popitem(last=False)
        return node

    async def directory(self, inode: Inode) -> Directory:
        """Return the directory with that number; raise `NotADirectory` for another node."""
        node = await self.node(inode)
        if not isinstance(node, Directory):
            raise NotADirectory(f"inode {inode} is a file")
        return node

    async def path(self, inode: Inode) -> bytes:
        """Return where the node is, from the root of the mount: for messages."""
        names: list[bytes] = []
        while inode != ROOT:
            if inode in self._unlisted:
                parent, name, _ = self._unlisted[inode]
            else:
                parent, row = self.place(inode)
                name = (await (await self.directory(parent)).listing()).name(row)
            names.append(name)
            inode = parent
        return b"/".join(reversed(names))

    def _known(self, inode: Inode) -> Node | None:
        if inode == ROOT:
            return self._root
        kept = self._directories.get(inode)
        if kept is not None:
            self._directories.move_to_end(inode)
            return kept
        return self._unlisted[inode][2] if inode in self._unlisted else None

    def is_unlisted(self, inode: Inode) -> bool:
        """Return whether no listing shows the node."""
        return inode in self._unlisted

    def place(self, inode: Inode) -> tuple[Inode, int]:
        """Return the parent of a node, and its row there; raise `NotFound`."""
        block = bisect.bisect_right(self._bases, inode) - 1
        if block < 0 or inode >= self._next:
            raise NotFound(f"inode {inode} was never given out")
        return self._parents[block], inode - self._bases[block]
