"""Clips in which frame i carries i in its pixels, and how it is read back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.video.reformatter import ColorRange

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 10
_CELL = 16


def picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture whose first row of cells is `number` in black and white."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        pixels[:_CELL, bit * _CELL : (bit + 1) * _CELL] = 235 if number >> bit & 1 else 16
    pixels[_CELL:, (number * 7) % width] = (number * 5 % 256, 60, 200)
    return pixels


def number_in(pixels: NDArray[np.uint8]) -> int:
    """Return the number that a picture carries, also after scaling."""
    height, width = pixels.shape[:2]
    value = 0
    for bit in range(BITS):
        x = int((bit + 0.5) * _CELL * width / (BITS * _CELL))
        value |= int(pixels[max(height // 16, 1), x].mean() > 128) << bit
    return value


def clip(
    times: Sequence[int],
    *,
    codec: str = "libx264",
    container: str = "mp4",
    gop: int = 12,
    b_frames: int = 2,
    time_base: Fraction = Fraction(1, 100),
    height: int = 128,
    sound: bool = False,
) -> bytes:
    """Return a video whose frame i is shown at `times[i]` ticks."""
    file = io.BytesIO()
    width = BITS * _CELL
    options = {"libx264": {"preset": "ultrafast", "bf": str(b_frames), "sc_threshold": "0"}}
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=25, options=options.get(codec, {}))
        video = cast("av.VideoStream", stream)
        video.width, video.height = width, height
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "mjpeg":
            # Said twice: without it the encoder sometimes takes it for limited range.
            video.codec_context.color_range = ColorRange.JPEG
        video.codec_context.time_base = time_base
        video.time_base = time_base
        video.codec_context.gop_size = gop
        audio = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.time_base = time, time_base
            out.mux(video.encode(frame))
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 44100, 0
            silence.time_base = Fraction(1, 44100)
            out.mux(audio.encode(silence))
            out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return file.getvalue()
