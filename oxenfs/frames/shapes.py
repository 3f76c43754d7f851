"""The shape of a decoded frame: what a filter graph must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from av.sidedata.sidedata import Type

from oxenfs.frames.index import Shape

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_COPIED = frozenset(["ICC_PROFILE", "EXIF", "TYPE_31"])
"""Side data that encoders of pictures write; 31 is EXIF, which PyAV 18 has no name for."""

NO_SHAPE = Shape(0, 0, "")
"""Of a video of which no frame was decoded yet."""


def _nameless(cls: type[Type], value: int) -> Type:
    """Return what stands for side data that PyAV has no name for, such as EXIF.

    Without it `VideoFrame.side_data` raises `ValueError` if a frame has any such.
    """
    kind: Any = object.__new__(cls)
    kind._name_, kind._value_ = f"TYPE_{value}", value
    return cast("Type", kind)


setattr(Type, "_missing_", classmethod(_nameless))  # noqa: B010


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


def aspect_of(stream: VideoStream) -> tuple[int, int]:
    """Return the container's aspect ratio, else the one that the decoder has met by now."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if ratio is None or ratio <= 0:
        return (0, 1)
    return (ratio.numerator, ratio.denominator)
