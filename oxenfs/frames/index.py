"""Where each frame of a video is: the frame index, in memory and as bytes to keep.

Made by `oxenfs.frames.scan` from packets; needs no codec library itself.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from dataclasses import dataclass
from fractions import Fraction

from oxenfs.errors import IntegrityError

FRAMES_MAX = 1 << 24
"""A video of more frames is refused."""

_MAGIC = b"oxfidx01"
_HEADER = struct.Struct("<8sIIIII")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the first decoded frame looks like: all that a filter graph is configured with.

    Attributes:
        width, height: in pixels, before rotation.
        pixels: name of the pixel format.
        aspect: of a sample, numerator and denominator; (0, 1) where unknown.
        colorspace, range: FFmpeg's numbers.
        matrix: the display matrix's nine numbers, empty if there is none.
        attached: bytes of what comes along, such as EXIF: encoders may copy it.
    """

    width: int
    height: int
    pixels: str
    aspect: tuple[int, int] = (0, 1)
    colorspace: int = 2
    range: int = 0
    matrix: tuple[int, ...] = ()
    attached: int = 0


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where each frame of a video stream is, in presentation order.

    Attributes:
        stream: number of the stream in its container.
        streams: how many streams of any kind the container has.
        time_base: seconds per tick, exact.
        start: the container's start time, in ticks.
        pts: int64[frames], in ticks; where `ordered`, made up from the repaired times, which may go
            backwards.
        keys: uint32[keys], numbers of the frames that are keyframes.
        seeks: int64[seeks], PTS at which decoding can start, also of frames that are not shown.
        last_duration: how long the last frame is shown, in ticks.
        ordered: frames can only be told by their order: decode from the beginning and count.
        far_seeks: seeking goes by other rules (MPEG-TS and PS): it needs a margin of time.
        trusted: packets told everything. If not, frames come one at a time from a patient decoder.
        shape: of the first frame.
        by_dts: frames are told by the DTS with which they come from the decoder, as their PTS are
            made up and wrong. `pts` has those, `seeks` one for each of `keys`.
    """

    stream: int
    streams: int
    time_base: Fraction
    start: int
    pts: array[int]
    keys: array[int]
    seeks: array[int]
    last_duration: Fraction
    ordered: bool
    far_seeks: bool
    trusted: bool
    shape: Shape
    by_dts: bool = False

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.pts)

    def time(self, frame: int) -> Fraction:
        """Return when a frame is shown, in seconds."""
        return (self.pts[frame] - self.start) * self.time_base


def dump(index: FrameIndex) -> bytes:
    """Return the index as bytes, with a checksum."""
    shape = index.shape
    facts = {
        "stream": index.stream,
        "streams": index.streams,
        "time_base": str(index.time_base),
        "start": index.start,
        "last_duration": str(index.last_duration),
        "ordered": index.ordered,
        "far_seeks": index.far_seeks,
        "trusted": index.trusted,
        "by_dts": index.by_dts,
        "shape": {name: getattr(shape, name) for name in Shape.__slots__},
    }
    text = json.dumps(facts).encode()
    body = text + zlib.compress(_little(index.pts) + _little(index.seeks) + _little(index.keys), 1)
    counts = (len(text), len(index.pts), len(index.seeks), len(index.keys))
    return _HEADER.pack(_MAGIC, *counts, zlib.crc32(body)) + body


def load(data: bytes) -> FrameIndex:
    """Return the index that `dump` made; raise `IntegrityError` if it is none."""
    try:
        magic, length, frames, seeks, keys, checksum = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        if magic != _MAGIC or zlib.crc32(body) != checksum:
            raise ValueError("not an index")
        facts = json.loads(bytes(body[:length]))
        packed = zlib.decompress(body[length:])
        middle, end = 8 * frames, 8 * (frames + seeks)
        if len(packed) != end + 4 * keys:
            raise ValueError("not all of an index")
        shape = facts["shape"]
        shape["aspect"], shape["matrix"] = tuple(shape["aspect"]), tuple(shape["matrix"])
        return FrameIndex(
            facts["stream"],
            facts["streams"],
            Fraction(facts["time_base"]),
            facts["start"],
            _array("q", packed[:middle]),
            _array("I", packed[end:]),
            _array("q", packed[middle:end]),
            Fraction(facts["last_duration"]),
            facts["ordered"],
            facts["far_seeks"],
            facts["trusted"],
            Shape(**shape),
            facts["by_dts"],
        )
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as exc:
        raise IntegrityError(f"a frame index that cannot be read: {exc}") from exc


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def _array(code: str, data: bytes) -> array[int]:
    values: array[int] = array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
