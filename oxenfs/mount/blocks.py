"""Blocks of inode numbers: which were given to which directory's children, and when."""

from __future__ import annotations

import bisect
from array import array
from typing import TypeAlias

from oxenfs.errors import NotFound

Inode: TypeAlias = int  # pyfuse3 has plain numbers

ROOT = 1
"""The number of the root, which is in no block."""


class Blocks:
    """Consecutive numbers, a block per directory and occasion; 28 bytes each. Nothing is freed.

    Attributes:
        bases: the first number of each block; ascending.
        counts: how many numbers it has.
        parents: the inode of the directory whose children have them.
        worlds: the world (see `Inodes`) in which they were given out.
    """

    __slots__ = ("_next", "_rows", "bases", "counts", "parents", "worlds")

    def __init__(self, first: int) -> None:
        """Begin with number `first`."""
        self.bases = array("Q")
        self.counts = array("Q")
        self.parents = array("Q")
        self.worlds = array("I")
        # Which rows a block numbers, where it is not all of them.
        self._rows: dict[int, array[int]] = {}
        self._next = first

    @property
    def next(self) -> int:
        """The number that comes next: the base of the block that is added next."""
        return self._next

    def add(self, parent: int, count: int, world: int) -> int:
        """Give out the next `count` numbers; return the block."""
        self.bases.append(self._next)
        self.counts.append(count)
        self.parents.append(parent)
        self.worlds.append(world)
        self._next += count
        return len(self.bases) - 1

    def add_rows(self, parent: int, rows: array[int], of: int, world: int) -> int:
        """Give numbers to those rows of a listing of `of` rows; return the block."""
        block = self.add(parent, len(rows), world)
        if len(rows) != of:
            self._rows[block] = rows
        return block

    def row(self, block: int, inode: int) -> int:
        """Return the row that a number of `block` was given to."""
        row = inode - self.bases[block]
        return self._rows[block][row] if block in self._rows else row

    def block(self, inode: int) -> int:
        """Return the block that a number is in; raise `NotFound` if it was never given out."""
        block = bisect.bisect_right(self.bases, inode) - 1
        if block < 0 or inode >= self._next:
            raise NotFound(f"inode {inode} was never given out")
        return block

    def parent(self, inode: int) -> int:
        """Return the directory whose child got that number; raise `NotFound`."""
        return self.parents[self.block(inode)]
