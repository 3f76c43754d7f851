"""The frame index of a video from the frames that come out of its decoder."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, cast

from av.container import Flags

from oxenfs.frames import elementary
from oxenfs.frames.clock import JUMPING, last_duration_of, start_of, step_of, time_base_of
from oxenfs.frames.container import PIXELS_MAX, BadVideo, opened, video_stream
from oxenfs.frames.index import FRAMES_MAX, FrameIndex
from oxenfs.frames.shapes import aspect_of, shape_of
from oxenfs.frames.source import Source, View
from oxenfs.frames.stream import decoded
from oxenfs.frames.times import JUMP_AHEAD, MICRO, Moved, Stamps, in_order

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from oxenfs.frames.index import Shape


def from_frames(source: Source) -> FrameIndex:
    """Return the index of the frames that really come out of a decoder."""
    with opened(View(source)) as container:
        stream = video_stream(container)
        # What the library would make up for a missing PTS is wrong where pictures are reordered.
        container.flags &= ~cast("int", Flags.gen_pts.value)
        stream.codec_context.options = {"max_pixels": str(PIXELS_MAX)}
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        time_base = time_base_of(stream)
        far = container.format.name in JUMPING
        moved = Moved(time_base) if far else None
        times: list[int | None] = []
        stamps = Stamps()
        keys: list[int] = []
        shape: Shape | None = None
        last = 0

        def see(packet: Packet[VideoStream]) -> None:
            if moved is not None:
                moved.see(packet.pts, packet.dts, packet.duration or 0)

        for frame in decoded(container, stream, source.check, see=see):
            if shape is None:
                shape = shape_of(frame, aspect_of(stream))
            if frame.key_frame:
                keys.append(len(times))
            pts, dts = frame.pts, frame.dts
            times.append(stamps.of(*(moved.of(pts, dts) if moved is not None else (pts, dts))))
            last = frame.duration or 0
            if len(times) > FRAMES_MAX:
                raise BadVideo(f"more than {FRAMES_MAX:,} frames")
        source.check()
        if shape is None:
            raise BadVideo("none of its frames can be decoded")
        if container.format.name in elementary.FORMATS:
            step = elementary.step(stream, time_base)
        else:
            step = step_of(stream, time_base)
        late_most = None if far else int(JUMP_AHEAD / (MICRO * time_base))
        shown, sound = in_order(times, step, late_most)
        sound = sound and stamps.own and not (moved is not None and moved.jumped)
        return FrameIndex(
            stream.index,
            len(container.streams),
            time_base,
            start_of(container, stream, time_base),
            shown,
            array("I", keys),
            array("q", (shown[key] for key in keys)) if sound else array("q"),
            last_duration_of(last, shown, stream, time_base),
            not sound,
            far,
            False,
            shape,
        )
