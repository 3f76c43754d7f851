"""Which row of a listing has which number, from the first look into a directory through every move.

The rows of a directory get consecutive numbers, a block, when they are asked for first. Directories
that did not change keep their block, whichever root they are found under. Of those that did,
`Numbers` says which row has which number; it is merged by name from the one before (`move`).
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from oxenfs.errors import StaleRevision
from oxenfs.mount.blocks import ROOT, Blocks, Inode
from oxenfs.mount.numbers import Numbering, Numbers
from oxenfs.store.columns import Listing
from oxenfs.store.difference import Step

_RETIRED_KEPT = 50_000


class DirectoryChange(NamedTuple):
    """What a move does to the listing of one directory.

    Attributes:
        keeps: equal rows are the same things, and keep their numbers.
    """

    inode: Inode
    old: Listing
    new: Listing
    steps: list[Step]
    keeps: bool


class Given:
    """The numbers that were given out. Nothing here waits; used from one trio loop.

    Attributes:
        blocks: all of them, and where they were given out.
        world: the world (see `Inodes`) that new numbers are of; changed by who moves.
    """

    def __init__(self) -> None:
        """Begin behind the number of the root."""
        self.blocks = Blocks(ROOT + 1)
        self.world = 0
        self._block_of: dict[Inode, int] = {}
        # Of directories that changed since they were looked into first.
        self._merged: dict[Inode, Numbers] = {}
        # Numbers that files had before: who comes back unchanged gets them back.
        self._retired: OrderedDict[bytes, Inode] = OrderedDict()

    def __contains__(self, parent: Inode) -> bool:
        """Return whether the rows of the directory `parent` have numbers."""
        return parent in self._block_of

    def children(self, parent: Inode, listing: Listing) -> Numbers:
        """Return the inodes of the rows of `listing`, the listing of directory `parent` now.

        Raises:
            StaleRevision: the directory had another number of entries before.
        """
        merged = self._merged.get(parent)
        if merged is not None:
            if merged.count != listing.count:
                raise StaleRevision(f"directory {parent} is not what it was")
            return merged
        block = self._block_of.get(parent)
        if block is None:
            block = self.blocks.add(parent, listing.count, self.world)
            self._block_of[parent] = block
        elif self.blocks.counts[block] != listing.count:
            raise StaleRevision(f"directory {parent} is not what it was")
        return Numbers.block(self.blocks.bases[block], listing.count)

    def single(self, parent: Inode) -> Inode:
        """Give out a number for a child of `parent` that is in no listing."""
        # A block of its own keeps the bases sorted and the bisection right.
        return self.blocks.bases[self.blocks.add(parent, 1, self.world)]

    def number(self, parent: Inode, listing: Listing, numbers: array[int]) -> None:
        """Give the rows of a directory those numbers, and new ones where there is a 0."""
        building = Numbering()
        rows = array("I")
        for row, number in enumerate(numbers):
            if not number:
                number = self.blocks.next + len(rows)
                rows.append(row)
            building.add(number)
        self._block_of[parent] = self.blocks.add_rows(parent, rows, listing.count, self.world)
        if len(rows) != listing.count:
            self._merged[parent] = building.numbers()

    def renumber(self, parent: Inode, listing: Listing, rows: Sequence[int]) -> None:
        """Give rows (ascending) of `listing`, that of `parent` now, new numbers.

        The ones before are whoever's knows them.
        """
        before = self.children(parent, listing)
        building = Numbering()
        at = 0
        for offset, row in enumerate(rows):
            for first, count in before.runs(at, row):
                building.add(first, count)
            building.add(self.blocks.next + offset)
            at = row + 1
        for first, count in before.runs(at, listing.count):
            building.add(first, count)
        self.blocks.add_rows(parent, array("I", rows), listing.count, self.world)
        self._merged[parent] = building.numbers()

    def move(self, change: DirectoryChange) -> None:
        """Number the new listing; numbers not taken over are a block of their own."""
        parent, old, new = change.inode, change.old, change.new
        before = self.children(parent, old)
        building = Numbering()
        rows = array("I")
        for step in change.steps:
            if step.same and change.keeps:
                for first, count in before.runs(step.old, step.old + step.length):
                    building.add(first, count)
                continue
            for offset in range(step.length):
                was, now = step.old + offset, step.new + offset
                both = step.old >= 0 and step.new >= 0
                if both and old.is_directory(was) and new.is_directory(now):
                    building.add(before.inode(was))
                    continue
                if step.old >= 0:
                    self._retire(parent, old, was, before.inode(was), keeps=change.keeps)
                if step.new < 0:
                    continue
                again = self._retired.get(_identity(parent, new, now)) if change.keeps else None
                if again is None:
                    again = self.blocks.next + len(rows)
                    rows.append(now)
                building.add(again)
        if rows:
            self.blocks.add_rows(parent, rows, new.count, self.world)
        self._merged[parent] = building.numbers()

    def _retire(
        self, parent: Inode, listing: Listing, row: int, inode: Inode, *, keeps: bool
    ) -> None:
        if listing.is_directory(row):
            # Never the same again: processes may still be in it, and in folders below.
            self._block_of.pop(inode, None)
            self._merged.pop(inode, None)
        elif keeps:
            self._retired[_identity(parent, listing, row)] = inode
            if len(self._retired) > _RETIRED_KEPT:
                self._retired.popitem(last=False)


def _identity(parent: Inode, listing: Listing, row: int) -> bytes:
    """Return what makes a file the same one again, in a folder of that number."""
    facts = (parent, listing.kinds[row], listing.sizes[row], listing.mtimes[row])
    return b"%d %d %d %d " % facts + listing.hashes_between(row, row + 1) + listing.name(row)
