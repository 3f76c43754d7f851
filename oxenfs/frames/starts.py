"""Where decoding of a video can start: the index's seek points, but for those that are damaged."""

from __future__ import annotations

import bisect

from oxenfs.frames.index import FrameIndex

_FAR_S = 1
_UNFOUNDED = frozenset(["flv", "h263", "mpeg4", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"])
"""Codecs that decode what follows a keyframe though that one is missing, without a word."""


class Starts:
    """The seek points of a video, by their number.

    What a damaged keyframe lacks is taken from the frame before, as in the tool: decoding must
    begin earlier then. Only the decoder knows.
    """

    def __init__(self, index: FrameIndex) -> None:
        """Begin with all of them."""
        self._index = index
        self._damaged: set[int] = set()

    def time(self, key: int) -> int:
        """Return the time to seek to."""
        return self._index.seeks[key]

    def before(self, number: int) -> int:
        """Return which seek point is the last at or before the frame, -1 if there is none."""
        index = self._index
        if index.by_dts:
            key = bisect.bisect_right(index.keys, number) - 1
        else:
            key = bisect.bisect_right(index.seeks, index.pts[number]) - 1
        while key in self._damaged:
            key -= 1
        return key

    def earlier(self, key: int) -> int:
        """Return the time of a seek point that is surely before the frames of `key`."""
        index = self._index
        if not index.far_seeks:
            return index.seeks[key - 1]
        limit = index.seeks[key] - int(_FAR_S / index.time_base)
        return index.seeks[max(bisect.bisect_right(index.seeks, limit, 0, key) - 1, 0)]

    def reached(self, key: int, time: int) -> bool:
        """Return whether a frame of that time is the keyframe or comes after it."""
        return time >= self._shown(key)

    def is_good(self, key: int, time: int, codec: str, corrupt: bool) -> bool:
        """Return whether decoding may begin there, and remember it.

        Args:
            key: the seek point.
            time: of the first frame that reaches it.
            codec: the video's.
            corrupt: whether the decoder says that this frame is damaged.
        """
        bad = corrupt if time == self._shown(key) else codec in _UNFOUNDED
        if bad:
            self._damaged.add(key)
        return not bad

    def _shown(self, key: int) -> int:
        index = self._index
        return index.pts[index.keys[key]] if index.by_dts else index.seeks[key]
