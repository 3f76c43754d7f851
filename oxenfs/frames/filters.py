"""Filter graphs, as ffmpeg has them between decoding and encoding: rotation to pixel format.

Always a graph: `VideoFrame.reformat` differs from it by up to 125 levels on 10-bit sources and by
up to 49 when scaling, and ignores rotation.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import av.filter

from oxenfs.frames.container import TROUBLE, BadVideo, reason
from oxenfs.frames.index import Shape
from oxenfs.frames.spec import Pictures

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

PIXEL_FORMATS = {
    "jpg": "yuvj420p|yuvj422p|yuvj444p",
    "png": "rgb24|rgba|rgb48be|rgba64be|pal8|gray|ya8|gray16be|ya16be|monob",
    "bmp": "bgra|bgr24|rgb565le|rgb555le|rgb444le|rgb8|bgr8|rgb4_byte|bgr4_byte|gray|pal8|monob",
    "rgb": "rgb24",
}
"""Pixel formats of the encoders, in their own order; a graph takes the nearest to the source's."""

_TIME_BASE = Fraction(1, 25)


class Pipeline:
    """Turns decoded frames of one video into pictures of one kind. One thread at a time.

    Attributes:
        width, height, pixels: of the pictures.
        aspect: of a sample of the pictures, (0, 1) where unknown.
        attached: bytes that come along with a frame, and may end in its file.
    """

    def __init__(self, shape: Shape, pictures: Pictures) -> None:
        """Configure for frames of `shape`.

        Raises:
            BadVideo: the pictures cannot be made of such frames, such as a crop outside of them.
        """
        self._shape = shape
        self._pictures = pictures
        self._graphs: dict[tuple[int, int, str], av.filter.Graph] = {}
        blank = av.VideoFrame(shape.width, shape.height, shape.pixels)
        for plane in blank.planes:
            plane.update(bytes(plane.buffer_size))
        blank.pts, blank.time_base = 0, _TIME_BASE
        self.width = self.height = 0
        sample = self.apply(blank)
        self.width, self.height, self.pixels = sample.width, sample.height, sample.format.name
        self.aspect = self._aspect()
        self.attached = shape.attached

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """Return the picture of a frame; raise `BadVideo` if there can be none."""
        key = (frame.width, frame.height, frame.format.name)
        try:
            graph = self._graphs.get(key)
            if graph is None:
                graph = self._graphs[key] = self._graph(*key)
            graph.push(frame)
            return cast("VideoFrame", graph.pull())
        except TROUBLE as exc:
            self._graphs.pop(key, None)
            raise BadVideo(self._complaint(exc)) from exc

    def _graph(self, width: int, height: int, pixels: str) -> av.filter.Graph:
        shape, pictures = self._shape, self._pictures
        graph = av.filter.Graph()
        graph.threads = 1
        # Formats are negotiated in the order in which filters are made, not in that of the flow:
        # they are made in the tool's order.
        user = []
        if pictures.crop is not None:
            w, h, x, y = pictures.crop
            user.append(graph.add("crop", f"{w}:{h}:{x}:{y}"))
        if pictures.size is not None:
            w, h = pictures.size
            user.append(graph.add("scale", f"{w}:{h}"))
        if pictures.gray:
            user.append(graph.add("format", "gray"))
        aspect = shape.aspect if shape.aspect[0] else (0, 1)
        source = graph.add(
            "buffer",
            f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/25"
            f":pixel_aspect={aspect[0]}/{aspect[1]}"
            f":colorspace={shape.colorspace}:range={shape.range}",
        )
        turned = [graph.add(name, args) for name, args in rotation(shape.matrix)]
        sink = graph.add("buffersink")
        last = []
        if self.width and (width, height) != (shape.width, shape.height):
            # The picture changes its size in the middle: all files have the first one's.
            last.append(graph.add("scale", f"{self.width}:{self.height}"))
        last.append(graph.add("format", PIXEL_FORMATS[pictures.format]))
        if shape.matrix:
            # Else encoders write into EXIF that the picture is still to be turned. At the end, as
            # it takes part in the negotiation.
            last.append(graph.add("sidedata", "mode=delete:type=DISPLAYMATRIX"))
        graph.link_nodes(source, *turned, *user, *last, sink).configure()
        return graph

    def _aspect(self) -> tuple[int, int]:
        """Return the sample aspect ratio behind the filters.

        Turning by a quarter inverts it, scaling keeps the shape of what is shown.
        """
        if not self._shape.aspect[0]:
            return (0, 1)
        ratio = Fraction(*self._shape.aspect)
        width, height = self._shape.width, self._shape.height
        if any(name == "transpose" for name, _ in rotation(self._shape.matrix)):
            ratio, width, height = 1 / ratio, height, width
        if self._pictures.size is not None:
            before = (
                Pipeline(self._shape, _unscaled(self._pictures)) if self._pictures.crop else None
            )
            if before is not None:
                width, height = before.width, before.height
            ratio = ratio * Fraction(self.height * width, self.width * height)
        return (ratio.numerator, ratio.denominator)

    def _complaint(self, exc: BaseException) -> str:
        crop, shape = self._pictures.crop, self._shape
        if crop is not None:
            return (
                f"crop={crop[0]}:{crop[1]}:{crop[2]}:{crop[3]} does not fit into its pictures "
                f"({shape.width}x{shape.height}): {reason(exc)}"
            )
        return f"its pictures cannot be made into these: {reason(exc)}"


def _unscaled(pictures: Pictures) -> Pictures:
    return Pictures(pictures.crop, None, pictures.gray, pictures.format, pictures.q)


def rotation(matrix: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return the filters, and their arguments, that a display matrix asks for.

    Source: the ffmpeg tool's autorotate; ISO/IEC 14496-12 for the matrix.
    """
    if len(matrix) < 5:
        return []
    m0, m1, _, m3, m4 = matrix[:5]
    first, second = math.hypot(m0, m3), math.hypot(m1, m4)
    if not first or not second:
        return []
    angle = round(math.degrees(math.atan2(m1 / second, m0 / first))) % 360
    if angle == 90:
        return [("transpose", "cclock_flip" if m3 > 0 else "clock")]
    if angle == 270:
        return [("transpose", "clock_flip" if m3 < 0 else "cclock")]
    if angle == 180:
        return [("hflip", "")] * (m0 < 0) + [("vflip", "")] * (m4 < 0)
    if angle == 0:
        return [("vflip", "")] * (m4 < 0)
    return [("rotate", f"{angle}*PI/180")]


def picture_bytes(picture: Any) -> bytes:
    """Return the pixels of an rgb24 picture, uint8[H, W, 3] in C order."""
    (plane,) = picture.planes
    width = 3 * picture.width
    if plane.line_size == width:
        return bytes(memoryview(plane)[: width * picture.height])
    view = memoryview(plane)
    step = plane.line_size
    return b"".join(view[at * step : at * step + width] for at in range(picture.height))
