"""Which small files of a folder to fetch before anybody asks for them.

A shuffled epoch over all files and a sample of a tenth look the same until the sample ends, so what
is fetched ahead is bounded by what was really read of the folder: as much again at first, sixteen
times as much from 2% on, the nearest names first. A folder of up to 32 MiB is cheap: it takes a
link of 1 Gbit/s as long as a dozen round trips of 20 ms. Of larger ones four times as much comes
from 3% on, eight times from 12% on. Files that are read in the order of the listing (`cp -r`,
`tar`) are a run: like a large file, without a budget.

What samples move by that is held by `tests/store/test_ahead.py`: of 1% twice its bytes, of 5% up to
17 times, of 30% all that there is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from oxenfs.model import Kind
from oxenfs.store.columns import Listing

SMALL_BYTES_MAX = 1 << 20
# Up to which part of a folder's files how many come for each that was read. The last one without
# end: a folder may be read more often than it has files.
_GRADES = ((0.02, 1), (math.inf, 16))
_GRADES_COSTLY = ((0.03, 1), (0.12, 4), (math.inf, 8))
_CHEAP_BYTES = 32 << 20
_REST_BYTES = 256 << 10
_READS_MIN = 5
_RUN_MIN = 4
_RUN_GROWTH = 4
_RUN_FILES_MAX = 500
_RUN_BYTES_MAX = 8 << 20
_LISTING_BYTES = 32 << 20
_FOLDERS = 4096

Ahead = Callable[[list[int]], int]
"""Asks for the files in some rows; returns how many have to be fetched (were not there)."""


class Sibling(NamedTuple):
    """Where a file stands in its folder.

    Attributes:
        folder: names the folder; equal folders have equal listings.
    """

    folder: Hashable
    listing: Listing
    row: int


class _Folder:
    """What was read of one folder.

    Attributes:
        known: a byte per row; 0 is a small file that nobody asked for yet.
        left_bytes: of those.
        bytes: of all small files in it.
    """

    __slots__ = ("bytes", "known", "last", "left_bytes", "listing", "reads", "run", "spent")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.known = bytearray(listing.count)
        self.left_bytes = 0
        kinds, sizes = listing.kinds, listing.sizes
        for row in range(listing.count):
            if kinds[row] == Kind.DIRECTORY or not 0 < sizes[row] <= SMALL_BYTES_MAX:
                self.known[row] = 1
            else:
                self.left_bytes += sizes[row]
        self.bytes = self.left_bytes
        self.reads = self.spent = self.run = 0
        self.last = -2

    def mark(self, row: int) -> bool:
        """Note that somebody asked for a row; return whether that is new."""
        if self.known[row]:
            return False
        self.known[row] = 1
        self.left_bytes -= self.listing.sizes[row]
        return True


class Siblings:
    """The folders that were read from. Used from one trio loop."""

    def __init__(self, factor: int = 1) -> None:
        """Begin with none; `factor` multiplies the budgets (2 over 80 ms)."""
        self.factor = factor
        self._folders: OrderedDict[Hashable, _Folder] = OrderedDict()
        self._listing_bytes = 0

    def read(self, sibling: Sibling, ahead: Ahead) -> None:
        """Note the first read of a file, and ask for others of its folder."""
        row = sibling.row
        folder = self._folder(sibling.folder, sibling.listing)
        if folder.reads >= folder.listing.count:
            # The next epoch: what came in the last one may have been evicted.
            folder = self._folders[sibling.folder] = _Folder(sibling.listing)
        folder.mark(row)
        folder.reads += 1
        folder.run = folder.run + 1 if 0 < row - folder.last <= 3 else 1
        folder.last = row
        if not folder.left_bytes:
            return
        if folder.run >= _RUN_MIN:
            self._ahead_in_order(folder, row, ahead)
        if folder.reads > 1:
            self._ahead_around(folder, row, ahead)

    def _ahead_in_order(self, folder: _Folder, row: int, ahead: Ahead) -> None:
        files = min(folder.run * _RUN_GROWTH, _RUN_FILES_MAX)
        left_bytes = _RUN_BYTES_MAX
        sizes = folder.listing.sizes
        end = min(row + 1 + files, folder.listing.count)
        rows = []
        at = folder.known.find(0, row + 1, end)
        while at >= 0 and left_bytes > 0:
            folder.mark(at)
            rows.append(at)
            left_bytes -= sizes[at]
            at = folder.known.find(0, at + 1, end)
        if rows:
            ahead(rows)

    def _ahead_around(self, folder: _Folder, row: int, ahead: Ahead) -> None:
        part = folder.reads / folder.listing.count
        grades = _GRADES if folder.bytes <= _CHEAP_BYTES else _GRADES_COSTLY
        grade = next(each for below, each in grades if part < below)
        if folder.reads < _READS_MIN:
            # So few of a small folder are chance.
            grade = 1
        budget = folder.reads * grade * self.factor
        if folder.left_bytes <= _REST_BYTES and folder.reads >= _READS_MIN:
            budget = folder.spent + folder.listing.count
        while folder.spent < budget:
            rows = _nearest(folder, row, budget - folder.spent)
            if not rows:
                return
            # What is in the cache costs nothing.
            folder.spent += ahead(rows)

    def _folder(self, key: Hashable, listing: Listing) -> _Folder:
        folder = self._folders.get(key)
        if folder is not None:
            self._folders.move_to_end(key)
            return folder
        folder = self._folders[key] = _Folder(listing)
        self._listing_bytes += listing.bytes
        while len(self._folders) > 1 and (
            self._listing_bytes > _LISTING_BYTES or len(self._folders) > _FOLDERS
        ):
            _, old = self._folders.popitem(last=False)
            self._listing_bytes -= old.listing.bytes
        return folder


def _nearest(folder: _Folder, row: int, count: int) -> list[int]:
    """Return up to `count` rows near `row` that nobody asked for, and mark them."""
    known = folder.known
    rows: list[int] = []
    above, below = row, row
    while len(rows) < count:
        above = known.find(0, above) if above >= 0 else -1
        below = known.rfind(0, 0, below + 1) if below >= 0 else -1
        if above < 0 and below < 0:
            break
        nearest = above if below < 0 or 0 <= above - row <= row - below else below
        folder.mark(nearest)
        rows.append(nearest)
    return rows
