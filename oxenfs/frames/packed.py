"""MPEG-4 pictures packed in pairs: a B picture behind the one that it needs, later an empty packet.

DivX and XviD do so in AVI, which has no PTS. Those that the library makes up are wrong then; the
tool goes by when frames come out of the decoder, one for each packet.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_SAID = re.compile(rb"\x00\x00\x01\xb2DivX\d+(?:b|Build)\d+p")
"""User data of an encoder that packs. Source: libavcodec, mpeg4videodec.c, which reads it too."""
_PICTURE = re.compile(rb"\x00\x00\x01\xb6")
_INTRA, _BETWEEN = 0, 2
_EMPTY_MOST = 19
"""What takes more bytes is no empty packet. Source: libavcodec's MAX_NVOP_SIZE."""


class Pictures:
    """Looks at packets of MPEG-4 that go by for what pictures they have.

    Attributes:
        packed: whether the first packet says that pictures are packed.
        known: whether each packet is one picture for the decoder.
    """

    def __init__(self) -> None:
        """Look at the packets from the first one on."""
        self.packed = False
        self.known = True
        self._kinds = array("b")
        self._times: list[int | None] = []
        self._waits = False

    def watch(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Yield the packets, in the order of the file."""
        for packet in packets:
            if packet.size:
                if not self._times:
                    self.packed = bool(_SAID.search(bytes(packet)))
                if self.packed:
                    self._look(bytes(packet))
                self._times.append(packet.dts)
            yield packet

    @property
    def delayed(self) -> bool:
        """Whether frames come later than their packets, as there are B pictures."""
        return _BETWEEN in self._kinds

    def shown(self, step: int) -> tuple[array[int], array[int], array[int]] | None:
        """Return the times of frames, numbers of keyframes, and the times of their packets.

        A frame's time is the DTS of the packet with which it comes out of the decoder, which keeps
        what is no B picture until the next such one. The last comes without a packet, a `step`
        after. None if it cannot be told without decoding.
        """
        times = [time for time in self._times if time is not None]
        if not self.known or len(times) < len(self._times) or self._kinds[0] != _INTRA:
            return None
        if any(a >= b for a, b in pairwise(times)):
            return None
        keys, seeks = array("I"), array("q")
        key: int | None = None
        for at, kind in enumerate(self._kinds):
            if kind == _BETWEEN:
                continue
            if key is not None:
                keys.append(at - 1)
                seeks.append(key)
            key = times[at] if kind == _INTRA else None
        if key is not None:
            keys.append(len(times) - 1)
            seeks.append(key)
        return array("q", [*times[1:], times[-1] + step]), keys, seeks

    def _look(self, data: bytes) -> None:
        kinds = [data[at.end()] >> 6 for at in _PICTURE.finditer(data, 0, len(data) - 1)]
        empty = len(data) <= _EMPTY_MOST
        if self._waits:
            # The B picture of the packet before comes now, and this packet's afterwards.
            self._kinds.append(_BETWEEN)
            self.known &= empty or kinds == [_BETWEEN]
            self._waits = not empty
        else:
            self._kinds.append(kinds[0] if kinds else -1)
            self.known &= bool(kinds) and not empty and kinds[1:] in ([], [_BETWEEN])
            self._waits = len(kinds) > 1
