"""The names of a folder of an overlay at one moment: the layer's own and those shining through."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from oxenfs.mount.blocks import Inode
from oxenfs.mount.numbers import Numbers
from oxenfs.overlay.nodes import Entry, Nid
from oxenfs.store.columns import Listing

_AT_ONCE = 256


class MergedListing:
    """A snapshot, in order of names; nothing is kept per lower entry.

    Attributes:
        nid: the folder.
        below: the listing of its origin; None if it has none.
    """

    def __init__(
        self,
        nid: Nid,
        entries: list[tuple[bytes, Entry]],
        below: Listing | None,
        numbers: Numbers | None,
    ) -> None:
        """Merge `entries` of `nid` into `below`, whose rows have the inodes `numbers`."""
        self.nid = nid
        self.below = below
        self._numbers = numbers
        self._names = [name for name, _ in entries]
        self._shown = [not entry.is_whiteout for _, entry in entries]
        # Before which row of the listing each name comes.
        self._rows = [0 if below is None else _row_after(below, name) for name in self._names]

    def inode(self, row: int) -> Inode:
        """Return the inode of a row of `below`."""
        assert self._numbers is not None
        return self._numbers.inode(row)

    def after(self, position: int) -> Iterator[tuple[int, bytes, bool, int]]:
        """Yield what comes after `position`: the next position, name, whether own, row below.

        A position is the number of own names and rows that are passed; it is never 0 again.
        """
        count = 0 if self.below is None else self.below.count
        own = self._own_before(position)
        row = position - own
        while own < len(self._names) or row < count:
            if own < len(self._names) and self._rows[own] == row:
                name = self._names[own]
                own += 1
                if self._shown[own - 1]:
                    yield own + row, name, True, -1
                continue
            assert self.below is not None
            stop = self._rows[own] if own < len(self._names) else count
            stop = min(stop, row + _AT_ONCE)
            for name in self.below.names_between(row, stop):
                row += 1
                # A row that an own name covers comes right after it.
                if own and self._names[own - 1] == name:
                    continue
                yield own + row, name, False, row - 1

    def _own_before(self, position: int) -> int:
        """Return how many of the first `position` names and rows are own names."""
        # The own name number i is passed at position i + rows[i] + 1.
        low, high = 0, len(self._names)
        while low < high:
            middle = (low + high) // 2
            if middle + self._rows[middle] + 1 <= position:
                low = middle + 1
            else:
                high = middle
        return low


class _Names:
    """The names of a listing as a sequence, for bisection."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def __len__(self) -> int:
        return self._listing.count

    def __getitem__(self, row: int) -> bytes:
        return self._listing.name(row)


def _row_after(listing: Listing, name: bytes) -> int:
    """Return the first row whose name is not before `name`."""
    return bisect.bisect_left(_Names(listing), name)
