"""How somebody reads the files of a folder: in order, from several places, or at random."""

from __future__ import annotations

from collections import OrderedDict

AHEAD_MAX = 64
AHEAD_BYTES = 12 << 20
_PLACES = 16
_SCATTERED = 8


class Reading:
    """Remembers where readers are, and says how far to make files ahead of one.

    Attributes:
        scattered: so many were read out of order that others on the way are worth making too.
    """

    def __init__(self, each_bytes: int) -> None:
        """Make ahead no more than a number of bytes, given the size of one."""
        self._most = max(2, min(AHEAD_MAX, AHEAD_BYTES // max(each_bytes, 1)))
        self._next: OrderedDict[int, int] = OrderedDict()
        self._jumps = 0

    @property
    def scattered(self) -> bool:
        """Whether reading at random goes on."""
        return self._jumps >= _SCATTERED

    def at(self, number: int) -> int:
        """Note that file `number` is read; return how many after it are to be made ahead.

        The first file of a folder is the beginning of a run, others are once two follow.
        """
        run = self._next.pop(number, None)
        if run is None:
            if number - 1 in self._next or number + 1 in self._next:
                return 0  # again, or a neighbour in passing
            run = 1 if number == 0 else 0
            self._jumps += number != 0
        else:
            run += 1
            self._jumps = 0
        self._next[number + 1] = run
        if len(self._next) > _PLACES:
            self._next.popitem(last=False)
        return 0 if not run else min(2 << run, self._most)
