"""H.264 and HEVC without a container: no packet says when its frame is shown."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from oxenfs.frames.clock import rate_of
from oxenfs.frames.select import nearest

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

FORMATS = ("h264", "hevc")

_START = b"\0\0\1"
_H264_SLICES = frozenset(range(1, 6))
_H264_IDR = 5
_HEVC_SLICES = frozenset(range(32))
_HEVC_LEADING = frozenset(range(6, 10))
_HEVC_SKIPPED = frozenset([8, 9])
"""Leading pictures that refer to what is before their keyframe (RASL)."""


def step(stream: VideoStream, time_base: Fraction) -> int:
    """Return how far frames are apart, in ticks.

    The tool adds up their durations, each in whole ticks, from the rate that the headers tell.
    """
    apart = 1 / (Fraction(stream.codec_context.framerate or rate_of(stream)) * time_base)
    return max(nearest(apart.numerator, apart.denominator), 1)


class Keyframes:
    """Looks at packets that go by for where their keyframes are shown.

    Attributes:
        numbers: of the frames that are keyframes.
        known: whether `numbers`, and that each packet is a frame, can be told without decoding.
    """

    def __init__(self, hevc: bool) -> None:
        """Look at packets of HEVC or of H.264."""
        self.numbers = array("I")
        self.known = True
        self._hevc = hevc
        self._count = 0
        self._leads = False

    def watch(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Yield the packets, in the order in which they are coded."""
        for packet in packets:
            if packet.size:
                self._look(packet)
                self._count += 1
            yield packet

    def _look(self, packet: Packet[VideoStream]) -> None:
        kind = self._kind(bytes(packet))
        if packet.is_keyframe:
            # Frames coded before an H.264 IDR picture are shown before it, those behind it after
            # it. Of other keyframes (recovery points) only the decoder knows.
            self.known &= self._hevc or kind == _H264_IDR
            self.numbers.append(self._count)
            self._leads = self._hevc
        elif self._leads and kind in _HEVC_LEADING:
            # Coded behind its keyframe, shown before it; not at all if what it needs is missing.
            self.numbers[-1] += 1
            self.known &= len(self.numbers) > 1 or kind not in _HEVC_SKIPPED
        else:
            self._leads = False

    def _kind(self, data: bytes) -> int:
        """Return the NAL unit type of the first slice, -1 if there is none."""
        at = data.find(_START)
        while 0 <= at < len(data) - len(_START):
            byte = data[at + len(_START)]
            kind = byte >> 1 & 0x3F if self._hevc else byte & 0x1F
            if kind in (_HEVC_SLICES if self._hevc else _H264_SLICES):
                return kind
            at = data.find(_START, at + len(_START))
        return -1
