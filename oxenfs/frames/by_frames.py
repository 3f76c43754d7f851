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
from oxenfs.frames.times import JUMP_AHEAD, JUMP_BACK, MICRO, Stamps, in_order

if TYPE_CHECKING:
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
        times: list[int | None] = []
        stamps = Stamps()
        keys: list[int] = []
        shape: Shape | None = None
        last = 0
        for frame in decoded(container, stream, source.check):
            if shape is None:
                shape = shape_of(frame, aspect_of(stream))
            if frame.key_frame:
                keys.append(len(times))
            times.append(stamps.of(frame))
            last = frame.duration or 0
            if len(times) > FRAMES_MAX:
                raise BadVideo(f"more than {FRAMES_MAX:,} frames")
        source.check()
        if shape is None:
            raise BadVideo("none of its frames can be decoded")
        time_base = time_base_of(stream)
        if container.format.name in elementary.FORMATS:
            step = elementary.step(stream, time_base)
        else:
            step = step_of(stream, time_base)
        far = container.format.name in JUMPING
        late_most = int((JUMP_BACK if far else JUMP_AHEAD) / (MICRO * time_base))
        pts, sound, late = in_order(times, step, late_most)
        sound = sound and stamps.own
        return FrameIndex(
            stream.index,
            len(container.streams),
            time_base,
            start_of(container, stream, time_base),
            pts,
            array("I", keys),
            array("q", (pts[key] for key in keys)) if sound else array("q"),
            last_duration_of(last, pts, stream, time_base) - late,
            not sound,
            far,
            False,
            shape,
        )
