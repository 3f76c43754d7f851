"""A video to its frame index: from packets; by a full decode only where those cannot be trusted."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise

from oxenfs.frames.by_frames import from_frames
from oxenfs.frames.by_packets import Distrust, from_packets
from oxenfs.frames.container import PIXELS_MAX, BadVideo, opened, video_stream
from oxenfs.frames.decode import Decoder
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.shapes import aspect_of, shape_of
from oxenfs.frames.source import Source, View, without_media
from oxenfs.frames.stream import decoded

_LOOKED_AT = 32
_OWN_PALETTE = frozenset(["png", "apng", "bmp", "tiff", "targa"])
"""Codecs whose every picture has its palette with it."""


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
        found = from_packets(quick if quick is not None else View(source), quick is not None)
    except Distrust:
        pass
    except BadVideo:
        if quick is None:
            raise
        # The zeros may be what it stumbles over.
        return _from_the_start(from_frames(source))
    if found is None:
        return _from_the_start(from_frames(source))
    index, as_coded = found
    decoder = Decoder(source, index)
    try:
        frame = decoder.held(0)
        reordered = as_coded and decoder.stream.codec_context.has_b_frames
        # A damaged first one: the shape is that of the first that is not.
        if frame is None or (reordered and not _comes_as_coded(source)):
            decoder.close()
            return _from_the_start(from_frames(source))
        index = replace(index, shape=shape_of(frame, aspect_of(decoder.stream)))
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


def _from_the_start(index: FrameIndex, codec: str = "") -> FrameIndex:
    """Return the index without points to seek to if decoding must start at the first packet.

    Palettes of AVI and MOV come with that one alone. Of RPZA pictures that build on others are
    marked as keyframes: FFmpeg writes no table of those.
    """
    palette = index.shape.pixels == "pal8" and codec not in _OWN_PALETTE
    if palette or (codec == "rpza" and len(index.keys) == index.count):
        return replace(index, seeks=array("q"))
    return index


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
