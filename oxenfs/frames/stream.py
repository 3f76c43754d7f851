"""What comes from a container's position on: packets, and the frames in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from oxenfs.frames.container import TROUBLE

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SKIPPING = frozenset(["h264"])
"""Codecs whose packets say whether another frame refers to them (H.264: `nal_ref_idc`)."""


def packets(
    container: InputContainer, stream: VideoStream, on_trouble: Callable[[], None]
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets; what the demuxer cannot read ends it, as in the ffmpeg tool."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except TROUBLE:
        on_trouble()


def decoded(
    container: InputContainer,
    stream: VideoStream,
    on_trouble: Callable[[], None],
    unneeded: Callable[[Packet[VideoStream]], bool] | None = None,
    see: Callable[[Packet[VideoStream]], None] | None = None,
) -> Iterator[VideoFrame]:
    """Yield the frames that come from the container's position on, in presentation order.

    Args:
        container: where its packets come from.
        stream: of the container.
        on_trouble: is called after each error of the library; it may raise.
        unneeded: says of which packets the picture need not come. If no other picture refers to
            it, it is not decoded; that changes no pixel of the others.
        see: gets each packet before it is decoded.
    """
    context = stream.codec_context
    if unneeded is None or context.name not in _SKIPPING:
        unneeded = _needed
    context.skip_frame = "DEFAULT"  # whatever an earlier one left behind
    skips = False
    for packet in packets(container, stream, on_trouble):
        if see is not None:
            see(packet)
        if unneeded(packet) is not skips:
            skips = not skips
            context.skip_frame = "NONREF" if skips else "DEFAULT"
        try:
            yield from packet.decode()
        except TROUBLE:
            on_trouble()
    try:
        yield from context.decode(None)
    except TROUBLE:
        on_trouble()


def _needed(packet: Packet[VideoStream]) -> bool:
    return False
