"""Pictures to the bytes of a file, as the ffmpeg tool writes them; and how long those can get."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

from oxenfs.frames.container import TROUBLE, BadVideo, reason
from oxenfs.frames.filters import Pipeline, picture_bytes
from oxenfs.frames.spec import Pictures

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

_ENCODERS = {"jpg": "mjpeg", "png": "png", "bmp": "bmp"}
_BMP = {
    "bgra": (32, 0),
    "bgr24": (24, 0),
    "rgb565le": (16, 3),
    "rgb555le": (16, 0),
    "rgb444le": (16, 3),
    "monob": (1, 2),
}
"""Bits per pixel and entries of the palette; others are of 8 bits. Three entries are bit masks."""
_TIME_BASE = Fraction(1, 25)


def encode(picture: VideoFrame, pictures: Pictures, aspect: tuple[int, int]) -> bytes:
    """Return the bytes of the file.

    Raises:
        BadVideo: the encoder refuses.
    """
    if pictures.format == "rgb":
        return picture_bytes(picture)
    encoder = cast("VideoCodecContext", av.CodecContext.create(_ENCODERS[pictures.format], "w"))
    encoder.width, encoder.height = picture.width, picture.height
    encoder.pix_fmt = picture.format.name
    encoder.time_base = _TIME_BASE
    # More than one thread: default Huffman tables, files 15% larger and different.
    encoder.thread_count = 1
    if aspect[0]:
        encoder.sample_aspect_ratio = Fraction(*aspect)
    if pictures.format == "jpg":
        # The flag qscale does nothing: PyAV cannot set a frame's quality.
        encoder.options = {"qmin": str(pictures.q), "qmax": str(pictures.q)}
    # Else PyAV rescales the time, and the picture type of the video would be asked of the encoder.
    picture.time_base = _TIME_BASE
    picture.pts = 0
    picture.pict_type = 0
    try:
        packets = [*encoder.encode(picture), *encoder.encode(None)]
    except TROUBLE as exc:
        raise BadVideo(f"a picture cannot be encoded: {reason(exc)}") from exc
    return b"".join(map(bytes, packets))


def exact_size(pipeline: Pipeline, pictures: Pictures) -> int | None:
    """Return the size of every file in bytes where it does not depend on what is seen."""
    width, height = pipeline.width, pipeline.height
    if pictures.format == "rgb":
        return width * height * 3
    if pictures.format == "bmp":
        bits, colors = _BMP.get(pipeline.pixels, (8, 256))
        return 54 + 4 * colors + height * ((bits * width + 31) // 32 * 4)
    return None


def bound(pipeline: Pipeline, pictures: Pictures) -> int:
    """Return a number of bytes that no file of these pictures exceeds."""
    pixels = pipeline.width * pipeline.height
    rest = 1024 + pipeline.attached
    if pictures.format == "png":
        bits = av.VideoFormat(pipeline.pixels).padded_bits_per_pixel
        return pixels * max(bits, 8) * 102 // 800 + rest + 64 * pipeline.height
    return exact_size(pipeline, pictures) or pixels * 3 + rest
