"""How far ahead of a reader of one file to fetch.

A reader that goes on where it was gets a window of four times what it has read in one go: 98% of
the rate of a single download over 20 ms, 94% over 80 ms, and nothing for who jumps about.
"""

from __future__ import annotations

WINDOW_BYTES_MAX = 32 << 20
"""What a round trip of 80 ms takes at 125 MB/s, three times: for requests that have been sent, for
answers under way, and for a reader that stops now and then."""

PART_BYTES_MAX = 4 << 20
"""The largest request: an eighth of the window, so that some are under way at any time."""

_GROWTH = 4
# The kernel sends the requests of its own read-ahead in any order.
_SLACK_BYTES = 2 << 20


class Window:
    """What is known of one reader.

    Attributes:
        end: behind the furthest byte of the present run.
        run_bytes: how much was read in one go.
    """

    __slots__ = ("end", "run_bytes", "start")

    def __init__(self) -> None:
        """Begin without a run."""
        self.start = self.end = 0
        self.run_bytes = 0

    def note(self, offset: int, end: int) -> int:
        """Note a read; return up to where to have everything, at least `end`."""
        near = self.start - _SLACK_BYTES <= offset <= self.end + _SLACK_BYTES
        if self.run_bytes and near and end > self.start:
            self.start, self.end = offset, max(self.end, end)
            self.run_bytes += end - offset
        elif not self.run_bytes or not near:
            self.start, self.end = offset, end
            self.run_bytes = end - offset
        window = min(_GROWTH * self.run_bytes, WINDOW_BYTES_MAX)
        # The first read of a run says nothing about the next one.
        return self.end + window if self.run_bytes > end - offset else end

    @property
    def part_bytes(self) -> int:
        """How much to ask for in one request."""
        return min(max(self.run_bytes, 1 << 18), PART_BYTES_MAX)
