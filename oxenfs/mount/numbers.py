"""The inode numbers of a listing's rows, as runs of consecutive numbers."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator
from itertools import chain, islice

_FIRST_ROW = array("I", [0])


class Numbers:
    """The inodes of the rows of one listing. Immutable.

    A directory that never changed is one run. One that changed has about two runs per change, so
    that what a mount remembers of a folder of 200,000 files is in proportion to its changes.

    Attributes:
        count: number of rows.
    """

    __slots__ = ("_by_first", "_firsts", "_starts", "count")

    def __init__(self, count: int, starts: array[int], firsts: array[int]) -> None:
        """Number `count` rows: row `starts[n]` has `firsts[n]`, those behind it the next ones."""
        self.count = count
        self._starts = starts
        self._firsts = firsts
        # From a number back: the runs in the order of their numbers, where that is another one.
        ordered = all(map(int.__lt__, firsts, islice(firsts, 1, None)))
        self._by_first: array[int] | None = None
        if not ordered:
            self._by_first = array("I", sorted(range(len(firsts)), key=firsts.__getitem__))

    @classmethod
    def block(cls, base: int, count: int) -> Numbers:
        """Return consecutive numbers from `base` on. Made at every open, so without a look."""
        made = cls.__new__(cls)
        made.count, made._starts, made._firsts = count, _FIRST_ROW, array("Q", [base])
        made._by_first = None
        return made

    def inode(self, row: int) -> int:
        """Return the inode of `row`."""
        if len(self._starts) == 1:
            return self._firsts[0] + row
        run = bisect.bisect_right(self._starts, row) - 1
        return self._firsts[run] + row - self._starts[run]

    def row(self, inode: int) -> int:
        """Return the row with that inode, or -1."""
        order = self._by_first
        if order is None:
            run = bisect.bisect_right(self._firsts, inode) - 1
        else:
            at = bisect.bisect_right(order, inode, key=self._firsts.__getitem__) - 1
            run = order[at] if at >= 0 else -1
        if run < 0:
            return -1
        row = self._starts[run] + inode - self._firsts[run]
        stop = self._starts[run + 1] if run + 1 < len(self._starts) else self.count
        return row if row < stop else -1

    def between(self, start: int, stop: int) -> Iterator[int]:
        """Yield the inodes of rows `start` to `stop`."""
        if len(self._starts) == 1:
            first = self._firsts[0]
            return iter(range(first + start, first + stop))
        return chain.from_iterable(
            range(first, first + count) for first, count in self.runs(start, stop)
        )

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield first number and length of each run in rows `start` to `stop`."""
        run = bisect.bisect_right(self._starts, start) - 1
        while start < stop:
            ends = self._starts[run + 1] if run + 1 < len(self._starts) else self.count
            ends = min(ends, stop)
            yield self._firsts[run] + start - self._starts[run], ends - start
            start = ends
            run += 1


class Numbering:
    """Builds `Numbers` run by run."""

    def __init__(self) -> None:
        """Begin at row 0."""
        self._starts = array("I")
        self._firsts = array("Q")
        self._count = 0
        self._next = -1

    def add(self, first: int, count: int = 1) -> None:
        """Give the next `count` rows the numbers from `first` on."""
        if first != self._next:
            self._starts.append(self._count)
            self._firsts.append(first)
        self._count += count
        self._next = first + count

    def numbers(self) -> Numbers:
        """Return what was added."""
        if not self._starts:
            return Numbers.block(0, 0)
        return Numbers(self._count, self._starts, self._firsts)
