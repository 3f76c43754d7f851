"""Opens a container of a video, carefully, and chooses the stream that ffmpeg would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import av
from av.stream import Disposition

from oxenfs.frames.source import BLOCK_BYTES, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

PIXELS_MAX = 1 << 26
"""Pictures with more pixels are refused: 0.4 GB each once decoded and scaled."""

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,gif,h264,hevc,ogg,asf,"
    "mpegvideo,m4v,ivf,mp3,aac,wav,flac"
)
"""Demuxers that read one file. Playlists and `concat` lists would open others."""

_DEFAULT_BONUS = 5_000_000
_OPTIONS = {
    "format_whitelist": FORMATS,
    "max_pixels": str(PIXELS_MAX),
    "max_streams": "100",
}


class BadVideo(Exception):
    """It is no video that can be shown, or not in the way that was asked for; says why."""


# Errors of PyAV: its own, and what its text handling and arguments raise on damaged files.
TROUBLE = (av.FFmpegError, ValueError, OSError, IndexError, OverflowError, MemoryError)


_UNPARSED = {"fflags": "noparse+nofillin"}


def open_container(source: Source, *, parsed: bool = True) -> InputContainer:
    """Open `source` for demuxing.

    Args:
        source: the file.
        parsed: whether the library looks into packets. Not if they are not there, and the tables
            tell everything.

    Raises:
        BadVideo: it is no video.
        SourceFailed: its bytes did not come.
    """
    if not source.size:
        raise BadVideo("the file is empty")
    source.seek(0)
    file: Any = source
    try:
        container: InputContainer = av.open(
            file,
            metadata_errors="replace",
            options=dict(_OPTIONS) if parsed else {**_OPTIONS, **_UNPARSED},
            buffer_size=BLOCK_BYTES if source.size > 8 * BLOCK_BYTES else BLOCK_BYTES // 8,
        )
        return container
    except TROUBLE as exc:
        source.check()
        raise BadVideo(f"not a video: {reason(exc)}") from exc


@contextlib.contextmanager
def opened(source: Source, *, parsed: bool = True) -> Iterator[InputContainer]:
    """Open `source`, and close it at the end."""
    container = open_container(source, parsed=parsed)
    try:
        yield container
    finally:
        container.close()


def video_stream(container: InputContainer) -> VideoStream:
    """Return the stream whose frames are shown; raise `BadVideo` if there is none.

    The largest, one marked as default before others, the first of equals. A cover picture is none.
    Source: the ffmpeg tool, choice of streams.
    """
    best: tuple[int, VideoStream] | None = None
    unknown = covers = False
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            covers = True
            continue
        if stream.codec_context is None:
            unknown = True
            continue
        score = stream.codec_context.width * stream.codec_context.height
        if stream.disposition & Disposition.default:
            score += _DEFAULT_BONUS
        if best is None or score > best[0]:
            best = (score, stream)
    if best is not None:
        stream = best[1]
        pixels = stream.codec_context.width * stream.codec_context.height
        if pixels > PIXELS_MAX:
            raise BadVideo(f"its pictures have {pixels:,} pixels; more than {PIXELS_MAX:,}")
        return stream
    if unknown:
        raise BadVideo("its codec is not known")
    raise BadVideo("no video stream" + (", only a cover picture" if covers else ""))


def reason(exc: BaseException) -> str:
    """Return one line about an error of the library."""
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).splitlines()[0]
