"""The frame index of a video from its packets, without decoding."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import compress, islice
from operator import and_, attrgetter
from typing import TYPE_CHECKING, Any

from oxenfs.frames import elementary, packed
from oxenfs.frames.clock import JUMPING, last_duration_of, start_of, step_of, time_base_of
from oxenfs.frames.container import TROUBLE, BadVideo, opened, video_stream
from oxenfs.frames.index import FRAMES_MAX, FrameIndex
from oxenfs.frames.shapes import NO_SHAPE
from oxenfs.frames.source import Source
from oxenfs.frames.times import JUMP_AHEAD, MICRO, repair

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_VP8_SHOWN = 0x10

_Packet = tuple[int | None, int | None, int | None, bool, bool, int, bool]
"""PTS, DTS, duration, whether it is a keyframe, not to be shown; bytes, and whether damaged."""

_facts: Callable[[Any], _Packet] = attrgetter(
    "pts", "dts", "duration", "is_keyframe", "is_discard", "size", "is_corrupt"
)


class Distrust(Exception):
    """The packets do not tell which frames there are."""


def from_packets(source: Source, tables_only: bool) -> tuple[FrameIndex, bool]:
    """Return the index, and whether frames are shown in the order in which they are coded."""
    # Of the tables alone: a parser would find no keyframe in zeros, and takes half of the time.
    with opened(source, parsed=not tables_only) as container:
        stream = video_stream(container)
        codec = stream.codec_context.name
        if tables_only and codec == "vp8":
            raise Distrust  # its hidden packets are told by their first byte
        raw = None
        if container.format.name in elementary.FORMATS:
            raw = elementary.Keyframes(container.format.name == "hevc")
        pairs = None
        if container.format.name == "avi" and codec == "mpeg4":
            pairs = packed.Pictures()
        try:
            found = _read(container, stream, raw or pairs)
        finally:
            source.check()
        if pairs is not None and pairs.packed and pairs.delayed:
            return _index_of_pairs(container, stream, pairs), False
        return _index(container, stream, found, raw)


def _read(
    container: InputContainer,
    stream: VideoStream,
    watching: elementary.Keyframes | packed.Pictures | None,
) -> list[_Packet]:
    """Return what the packets say; raise `Distrust` if that is not to be relied on."""
    packets: Iterator[Packet[VideoStream]] = container.demux(stream)
    if stream.codec_context.name == "vp8":
        packets = filter(_is_shown, packets)
    if watching is not None:
        packets = watching.watch(packets)
    try:
        # A long video has hundreds of thousands of them, and a line of Python for each is a tenth.
        found = list(map(_facts, islice(packets, FRAMES_MAX + 2)))
    except TROUBLE as exc:
        raise Distrust from exc
    # The last one is empty: there are no more.
    found = [packet for packet in found if packet[5]]
    if any(packet[6] for packet in found):
        raise Distrust
    if len(found) > FRAMES_MAX:
        raise BadVideo(f"more than {FRAMES_MAX:,} frames")
    return found


def _is_shown(packet: Packet[VideoStream]) -> bool:
    return not packet.size or bool(memoryview(packet)[0] & _VP8_SHOWN)


def _index(
    container: InputContainer,
    stream: VideoStream,
    found: list[_Packet],
    raw: elementary.Keyframes | None,
) -> tuple[FrameIndex, bool]:
    if not found:
        raise Distrust
    time_base = time_base_of(stream)
    far = container.format.name in JUMPING
    ordered = False
    key = [packet[3] for packet in found]
    discarded = [packet[4] for packet in found]
    if not key[0]:
        raise Distrust
    missing = sum(packet[0] is None for packet in found)
    if missing == len(found):
        if raw is None or not raw.known:
            raise Distrust
        step = elementary.step(stream, time_base)
        index = FrameIndex(
            stream.index,
            len(container.streams),
            time_base,
            0,
            array("q", range(0, step * len(found), step)),
            raw.numbers,
            array("q"),
            Fraction(found[-1][2] or step),
            True,
            far,
            True,
            NO_SHAPE,
        )
        return index, False
    if missing:
        raise Distrust
    pts = [packet[0] or 0 for packet in found]
    times = [packet[1] for packet in found]
    if far:
        ordered = repair(pts, times, [packet[2] or 0 for packet in found], time_base)
        late = int(JUMP_AHEAD / (MICRO * time_base))
        if ordered and any(
            time is not None and not 0 <= stamp - time <= late
            for stamp, time in zip(pts, times, strict=True)
        ):
            # PTS beyond a jump, DTS before it: only the decoder knows where the frame comes.
            raise Distrust
    known = [time for time in times if time is not None]
    if known != sorted(known) or min(pts) < pts[0]:
        raise Distrust
    shown = [not each for each in discarded]
    coded = list(compress(pts, shown))
    ticks = sorted(coded)
    if not ticks or len(set(ticks)) < len(ticks):
        raise Distrust
    last = next(at for at in reversed(range(len(pts))) if shown[at] and pts[at] == ticks[-1])
    keys = sorted(compress(pts, map(and_, key, shown)))
    times_shown = array("q", ticks)
    start = start_of(container, stream, time_base)
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
        last_duration_of(found[last][2] or 0, times_shown, stream, time_base),
        ordered,
        far,
        True,
        NO_SHAPE,
    )
    return index, not ordered and coded == ticks


def _index_of_pairs(
    container: InputContainer, stream: VideoStream, pairs: packed.Pictures
) -> FrameIndex:
    time_base = time_base_of(stream)
    shown = pairs.shown(step_of(stream, time_base))
    if shown is None or not stream.codec_context.has_b_frames:
        raise Distrust
    pts, keys, seeks = shown
    return FrameIndex(
        stream.index,
        len(container.streams),
        time_base,
        start_of(container, stream, time_base),
        pts,
        keys,
        seeks,
        Fraction(pts[-1] - pts[-2]),
        False,
        False,
        False,
        NO_SHAPE,
        True,
    )
