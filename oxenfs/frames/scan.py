"""Packets of a video to its frame index; a full decode only where packets cannot be trusted."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import compress, islice, pairwise
from operator import and_, attrgetter
from typing import TYPE_CHECKING, Any, cast

from av.container import Flags
from av.sidedata.sidedata import Type

from oxenfs.frames.container import PIXELS_MAX, TROUBLE, BadVideo, opened, video_stream
from oxenfs.frames.decode import Decoder, decoded
from oxenfs.frames.index import FrameIndex, Shape
from oxenfs.frames.select import nearest
from oxenfs.frames.source import Source, View, without_media
from oxenfs.frames.times import JUMP_AHEAD, JUMP_BACK, MICRO, Stamps, in_order, repair

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FRAMES_MAX = 1 << 24
_RATE_DEFAULT = Fraction(25)
_VP8_SHOWN = 0x10
_JUMPING = ("mpegts", "mpeg")
_LOOKED_AT = 32
_OWN_PALETTE = frozenset(["png", "apng", "bmp", "tiff", "targa"])
"""Codecs whose every picture has its palette with it."""
_COPIED = frozenset(["ICC_PROFILE", "EXIF", "TYPE_31"])
"""Side data that encoders of pictures write; 31 is EXIF, which PyAV 18 has no name for."""
_NO_SHAPE = Shape(0, 0, "")


_Packet = tuple[int | None, int | None, int | None, bool, bool, int, bool]
"""PTS, DTS, duration, whether it is a keyframe, not to be shown; bytes, and whether damaged."""

_facts: Callable[[Any], _Packet] = attrgetter(
    "pts", "dts", "duration", "is_keyframe", "is_discard", "size", "is_corrupt"
)


def _nameless(cls: type[Type], value: int) -> Type:
    """Return what stands for side data that PyAV has no name for, such as EXIF.

    Without it `VideoFrame.side_data` raises `ValueError` if a frame has any such.
    """
    kind: Any = object.__new__(cls)
    kind._name_, kind._value_ = f"TYPE_{value}", value
    return cast("Type", kind)


setattr(Type, "_missing_", classmethod(_nameless))  # noqa: B010


class _Distrust(Exception):
    """The packets do not tell which frames there are."""


def scan(source: Source, keep: Callable[[Decoder], None] = Decoder.close) -> FrameIndex:
    """Return the frame index of a video.

    Of a plain mp4 or mov only the tables are read, and what its first frame needs; of other
    containers everything, once.

    Args:
        source: the video.
        keep: gets the decoder that decoded the first frame, if there was one.

    Raises:
        BadVideo: there is no frame to show.
        SourceFailed: bytes did not come.
    """
    quick = without_media(source)
    found = None
    try:
        found = _from_packets(quick if quick is not None else View(source), quick is not None)
    except _Distrust:
        pass
    except BadVideo:
        if quick is None:
            raise
        # The zeros may be what it stumbles over.
        return _from_the_start(_patiently(source))
    if found is None:
        return _from_the_start(_patiently(source))
    index, as_coded = found
    decoder = Decoder(source, index)
    try:
        frame = decoder.held(0)
        reordered = as_coded and decoder.stream.codec_context.has_b_frames
        # A damaged first one: the shape is that of the first that is not.
        if frame is None or (reordered and not _comes_as_coded(source)):
            decoder.close()
            return _from_the_start(_patiently(source))
        index = replace(index, shape=shape_of(frame, _aspect(decoder.stream)))
        sought = _from_the_start(index, decoder.stream.codec_context.name)
    except BaseException:
        decoder.close()
        raise
    if not sought.seeks and index.seeks:
        decoder.close()  # it has sought already
        return sought
    decoder.index = index
    keep(decoder)
    return index


def shape_of(frame: VideoFrame, aspect: tuple[int, int]) -> Shape:
    """Return what a filter graph must know of a decoded frame."""
    matrix: tuple[int, ...] = ()
    attached = 0
    entry: Any
    for entry in frame.side_data:
        if entry.type.name in _COPIED:
            attached += entry.buffer_size
        if entry.type == Type.DISPLAYMATRIX:
            data = bytes(entry)
            if len(data) >= 36:
                matrix = tuple(
                    int.from_bytes(data[at : at + 4], "little", signed=True)
                    for at in range(0, 36, 4)
                )
    return Shape(
        frame.width,
        frame.height,
        frame.format.name,
        aspect,
        int(frame.colorspace),
        int(frame.color_range),
        matrix,
        attached,
    )


def _from_the_start(index: FrameIndex, codec: str = "") -> FrameIndex:
    """Return the index without points to seek to if decoding must start at the first packet.

    Palettes of AVI and MOV come with that one alone. Of RPZA pictures that build on others are
    marked as keyframes: FFmpeg writes no table of those.
    """
    palette = index.shape.pixels == "pal8" and codec not in _OWN_PALETTE
    if palette or (codec == "rpza" and len(index.keys) == index.count):
        return replace(index, seeks=array("q"))
    return index


def _aspect(stream: VideoStream) -> tuple[int, int]:
    """Return the container's aspect ratio, else the one that the decoder has met by now."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if ratio is None or ratio <= 0:
        return (0, 1)
    return (ratio.numerator, ratio.denominator)


def _from_packets(source: Source, tables_only: bool) -> tuple[FrameIndex, bool]:
    """Return the index, and whether frames are shown in the order in which they are coded."""
    # Of the tables alone: a parser would find no keyframe in zeros, and takes half of the time.
    with opened(source, parsed=not tables_only) as container:
        stream = video_stream(container)
        codec = stream.codec_context.name
        if tables_only and codec == "vp8":
            raise _Distrust  # its hidden packets are told by their first byte
        try:
            found = _read(container, stream, codec)
        finally:
            source.check()
        return _index(container, stream, found)


def _comes_as_coded(source: Source) -> bool:
    """Return whether the first frames come out of the decoder in the order of their packets.

    For a stream that says that its pictures are reordered, with packets that say they are not:
    H.264 with B pictures in AVI, and whatever was copied out of that. Its times are then those of
    other frames.
    """
    with opened(View(source)) as container:
        stream = video_stream(container)
        stream.codec_context.options = {"max_pixels": str(PIXELS_MAX)}
        stream.codec_context.thread_type = "NONE"
        frames = islice(decoded(container, stream, source.check), _LOOKED_AT)
        times = [frame.pts for frame in frames if frame.pts is not None]
        source.check()
    return all(a < b for a, b in pairwise(times))


def _read(container: InputContainer, stream: VideoStream, codec: str) -> list[_Packet]:
    """Return what the packets say; raise `_Distrust` if that is not to be relied on."""
    packets: Iterator[Packet[VideoStream]] = container.demux(stream)
    if codec == "vp8":
        packets = filter(_is_shown, packets)
    try:
        # A long video has hundreds of thousands of them, and a line of Python for each is a tenth.
        found = list(map(_facts, islice(packets, FRAMES_MAX + 2)))
    except TROUBLE as exc:
        raise _Distrust from exc
    # The last one is empty: there are no more.
    found = [packet for packet in found if packet[5]]
    if any(packet[6] for packet in found):
        raise _Distrust
    if len(found) > FRAMES_MAX:
        raise BadVideo(f"more than {FRAMES_MAX:,} frames")
    return found


def _is_shown(packet: Packet[VideoStream]) -> bool:
    return not packet.size or bool(memoryview(packet)[0] & _VP8_SHOWN)


def _index(
    container: InputContainer, stream: VideoStream, found: list[_Packet]
) -> tuple[FrameIndex, bool]:
    if not found:
        raise _Distrust
    time_base = _time_base(stream)
    far = container.format.name in _JUMPING
    ordered = False
    key = [packet[3] for packet in found]
    discarded = [packet[4] for packet in found]
    if not key[0]:
        raise _Distrust
    missing = sum(packet[0] is None for packet in found)
    if missing == len(found):
        # An elementary stream: frames follow each other at the rate that its headers tell.
        rate = _rate(stream)
        index = FrameIndex(
            stream.index,
            len(container.streams),
            1 / rate,
            0,
            array("q", range(len(discarded) - sum(discarded))),
            array("I", [0]),
            array("q"),
            Fraction(1),
            True,
            far,
            True,
            _NO_SHAPE,
        )
        return index, False
    if missing:
        raise _Distrust
    pts = [packet[0] or 0 for packet in found]
    times = [packet[1] for packet in found]
    if far:
        ordered = repair(pts, times, [packet[2] or 0 for packet in found], time_base)
    known = [time for time in times if time is not None]
    if known != sorted(known) or min(pts) < pts[0]:
        raise _Distrust
    shown = [not each for each in discarded]
    coded = list(compress(pts, shown))
    ticks = sorted(coded)
    if not ticks or len(set(ticks)) < len(ticks):
        raise _Distrust
    last = next(at for at in reversed(range(len(pts))) if shown[at] and pts[at] == ticks[-1])
    keys = sorted(compress(pts, map(and_, key, shown)))
    times_shown = array("q", ticks)
    start = _start(container, stream, time_base)
    if container.format.name == "avi" and coded == ticks and known:
        # AVI has no PTS. What the library makes up is the DTS of the next packet where pictures
        # might be reordered; frames that come as they are coded are at their own DTS.
        start += pts[-1] - known[-1]
    index = FrameIndex(
        stream.index,
        len(container.streams),
        time_base,
        start,
        times_shown,
        array("I", (bisect.bisect_left(ticks, stamp) for stamp in keys)),
        array("q", () if ordered else sorted(compress(pts, key))),
        _last_duration(found[last][2] or 0, times_shown, stream, time_base),
        ordered,
        far,
        True,
        _NO_SHAPE,
    )
    return index, not ordered and coded == ticks


def _patiently(source: Source) -> FrameIndex:
    """Return the index of the frames that really come out of a decoder."""
    with opened(View(source)) as container:
        stream = video_stream(container)
        # What the library would make up for a missing PTS is wrong where pictures are reordered.
        container.flags &= ~cast("int", Flags.gen_pts.value)
        stream.codec_context.options = {"max_pixels": str(PIXELS_MAX)}
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        times: list[int | None] = []
        stamps = Stamps()
        keys: list[int] = []
        shape: Shape | None = None
        last = 0
        for frame in decoded(container, stream, source.check):
            if shape is None:
                shape = shape_of(frame, _aspect(stream))
            if frame.key_frame:
                keys.append(len(times))
            times.append(stamps.of(frame))
            last = frame.duration or 0
            if len(times) > FRAMES_MAX:
                raise BadVideo(f"more than {FRAMES_MAX:,} frames")
        source.check()
        if shape is None:
            raise BadVideo("none of its frames can be decoded")
        time_base = _time_base(stream)
        step = nearest(time_base.denominator * 1, 1) / (_rate(stream) * time_base.numerator)
        far = container.format.name in _JUMPING
        late_most = int((JUMP_BACK if far else JUMP_AHEAD) / (MICRO * time_base))
        pts, sound, late = in_order(times, max(int(step), 1), late_most)
        sound = sound and stamps.own
        return FrameIndex(
            stream.index,
            len(container.streams),
            time_base,
            _start(container, stream, time_base),
            pts,
            array("I", keys),
            array("q", (pts[key] for key in keys)) if sound else array("q"),
            _last_duration(last, pts, stream, time_base) - late,
            not sound,
            far,
            False,
            shape,
        )


def _time_base(stream: VideoStream) -> Fraction:
    if not stream.time_base:
        raise BadVideo("it has no time base")
    return stream.time_base


def _start(container: InputContainer, stream: VideoStream, time_base: Fraction) -> int:
    """Return the time that the tool counts from, in ticks of the stream.

    The container's start, which is in microseconds. Of MPEG-TS and MPEG-PS it is the earliest of
    the streams that are used: of the video alone, even if its sound begins before.
    """
    if container.format.name in _JUMPING and stream.start_time is not None:
        return stream.start_time
    ticks = Fraction(container.start_time or 0, MICRO) / time_base
    return nearest(ticks.numerator, ticks.denominator)


def _rate(stream: VideoStream) -> Fraction:
    rate = stream.guessed_rate
    return Fraction(rate) if rate else _RATE_DEFAULT


def _last_duration(
    last: int, pts: array[int], stream: VideoStream, time_base: Fraction
) -> Fraction:
    if last > 0:
        return Fraction(last)
    if len(pts) > 1 and pts[-1] > pts[-2]:
        return Fraction(pts[-1] - pts[-2])
    return 1 / (_rate(stream) * time_base)
