"""How somebody reads the files of a folder: in order, from several places, or at random."""

from __future__ import annotations

from collections import OrderedDict

AHEAD_MAX = 64
AHEAD_BYTES = 12 << 20
SCATTERED = 8
_PLACES = 16


class Reading:
    """Remembers where readers are, and says how far to make files ahead of one.

    Attributes:
        jumps: how many were read out of order, since the last run.
    """

    def __init__(self, each_bytes: int, window_bytes: int = 0) -> None:
        """Make ahead no more than a number of bytes, given the size of one.

        Args:
            each_bytes: of a file, or of a row.
            window_bytes: so much in a row is no run yet: the kernel asks for that when a program
                looks at one place.
        """
        self._most = max(2, min(AHEAD_MAX, AHEAD_BYTES // max(each_bytes, 1)))
        self._window = -(-window_bytes // max(each_bytes, 1))
        self._next: OrderedDict[int, int] = OrderedDict()
        self.jumps = 0

    def at(self, number: int) -> int:
        """Note that file `number` is read; return how many after it are to be made ahead.

        The first file of a folder is the beginning of a run, others are once two follow.
        """
        run = self._next.pop(number, None)
        if run is None:
            if number - 1 in self._next or number + 1 in self._next:
                return 0  # again, or a neighbour in passing
            run = 1 if number == 0 else 0
            self.jumps += number != 0
        else:
            run += 1
        length = run - self._window
        if length > 1:
            self.jumps = 0
        self._next[number + 1] = run
        if len(self._next) > _PLACES:
            self._next.popitem(last=False)
        # Two in a row are no run while others are read at random: that happens.
        if length <= (1 if self.jumps >= SCATTERED else 0):
            return 0
        return min(2 << length, self._most)
