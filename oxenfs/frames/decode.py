"""A decoder that gives the frame with a number, from wherever it is.

It seeks to the index's own keyframe and decodes forward until the frame's exact PTS comes;
seeking to the PTS itself misses frames with open GOPs, FLV, AVI with B-frames and fragmented mp4.
It never gives a neighbour. After a frame it stays where it is, so reading on decodes each once.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING

from oxenfs.frames.container import PIXELS_MAX, TROUBLE, BadVideo, open_container
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.source import Source, View
from oxenfs.frames.starts import Starts
from oxenfs.frames.stream import decoded

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

THREADS = 2
ALONE_PIXELS = 1 << 19
"""Pictures up to this size are decoded by one thread: with two, handing each from thread to thread
takes as long as it saves (360p: 29 ms of wall and of processor for a frame at random, with two
threads 38 and 43; 480p and frames in order: no gain; 720p: 95 and 95, with two 80 and 116)."""
_THREADED = frozenset(["h264", "hevc", "libdav1d", "mpeg4", "vp8", "vp9"])
"""Codecs whose frames may be decoded at the same time. Of Theora, frames were seen that came from
other references after a seek (FFmpeg 8.1): what is not in use everywhere is not trusted so far."""

Passing = Callable[[int, "VideoFrame"], None]
"""Gets each frame that is decoded on the way to another, with its number."""


class Decoder:
    """An open decoder of one video. One thread at a time.

    Attributes:
        index: the video's.
        number: of the frame that was given last; -1 at first.
        passing: gets frames that are decoded on the way.
        welcome: the numbers of those that it wants; others may be left out.
        coming: numbers of the frames that will be asked for next; others may be left out, up to
            the last of them.
        stream: of the container that is open.
    """

    def __init__(self, source: Source, index: FrameIndex) -> None:
        """Open the stream of `index`; raise `BadVideo` if that fails."""
        self._source = source
        self.index = index
        self._patient = not index.trusted
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self.number = -1
        self.passing: Passing | None = None
        self.welcome: Set[int] = frozenset()
        self.coming: Sequence[int] = ()
        self._target: int | None = None
        self._current: VideoFrame | None = None
        # The frame after the one that was looked for, if it came instead of it.
        self._pending: VideoFrame | None = None
        self._before: VideoFrame | None = None
        self._missing: dict[int, int | None] = {}
        self._starts = Starts(index)
        # Where decoding began, if nothing is known about that yet.
        self._sought: int | None = None
        self._open()

    @property
    def bytes(self) -> int:
        """About how much memory this holds: reference pictures and those on their way."""
        shape = self.index.shape
        return 4 << 20 if not shape.width else (4 << 20) + 16 * shape.width * shape.height * 3 // 2

    def close(self) -> None:
        """Let go of the decoder."""
        # A generator that waits refers to us, and so would keep all pictures until a collection.
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None
            del self.stream
        self._current = self._pending = self._before = None

    def distance(self, number: int) -> int:
        """Return how many frames must be decoded to get to `number` from here."""
        if number == self.number:
            return 0
        if self._reachable(number):
            return number - self.number
        return number - self._starts.before(number) + 1

    def frame(self, number: int) -> VideoFrame | None:
        """Return the frame, None if the decoder does not give it: its data is damaged.

        The frame is valid until the next call.

        Raises:
            SourceFailed: bytes did not come.
            BadVideo: it cannot be opened any more.
        """
        if number == self.number and self._current is not None:
            return self._current
        if number in self._missing:
            return None
        for attempt in self._attempts(number):
            if not attempt():
                continue
            found = self._forward(number)
            self._source.check()
            if found is not None:
                self.number, self._current = number, found
                return found
        before = self._before
        known = None if before is None else self._number_of(before)
        self._missing[number] = known if known is not None and known < number else None
        return None

    def held(self, number: int) -> VideoFrame | None:
        """Return the frame, or the last one before it that can be decoded."""
        found = self.frame(number)
        if found is not None or self.index.ordered:
            return found if found is not None else self._before
        before = self._missing.get(number)
        return None if before is None else self.frame(before)

    def _attempts(self, number: int) -> Iterator[Callable[[], bool]]:
        """Yield ways to get before the frame, the cheapest first."""
        if self._reachable(number):
            yield lambda: True
        if self.index.ordered:
            yield self._restart
            return
        yield from self._seeks(number)
        if not self._patient:
            # An error, or frames lost by decoding in several threads: once more, slowly.
            self._patient = True
            self._open()
            yield from self._seeks(number)
        key = self._starts.before(number)
        if key > 0:
            yield partial(self._seek, self._starts.earlier(key))
        yield self._restart

    def _seeks(self, number: int) -> Iterator[Callable[[], bool]]:
        """Yield ways to the keyframe before the frame; to one before it if that one is damaged."""
        key, tried = self._starts.before(number), -1
        while key not in (-1, tried):
            yield partial(self._seek_to, key)
            tried, key = key, self._starts.before(number)

    def _reachable(self, number: int) -> bool:
        """Return whether decoding on from here is the way to get to the frame."""
        if self._ended or number <= self.number:
            return False
        if self.index.ordered:
            return True
        if self._at is None:
            return False
        target = self.index.pts[number]
        if self._pending is not None and (self._time_of(self._pending) or 0) > target:
            return False
        key = self._starts.before(number)
        return key < 0 or self._starts.time(key) <= self._at

    def _open(self) -> None:
        self.close()
        self._container = open_container(View(self._source))
        try:
            stream = self._container.streams[self.index.stream]
        except IndexError as exc:
            raise BadVideo("its video stream is gone") from exc
        if stream.type != "video" or stream.codec_context is None:
            raise BadVideo("its video stream cannot be decoded")
        self.stream: VideoStream = stream  # type: ignore[assignment]
        context = self.stream.codec_context
        context.options = {"max_pixels": str(PIXELS_MAX)}
        small = context.width * context.height <= ALONE_PIXELS
        alone = self._patient or small or context.name not in _THREADED
        context.thread_type = "NONE" if alone else "FRAME"
        context.thread_count = 1 if alone else THREADS
        self._begin()

    def _begin(self) -> None:
        """Note that the next frame comes from the container's position."""
        self._frames = self._decoded()
        self.number, self._given = -1, 0
        self._at: int | None = None
        self._sought = None
        self._ended = False
        self._current = self._pending = self._before = None

    def _restart(self) -> bool:
        self._open()
        return True

    def _seek(self, pts: int) -> bool:
        if self._container is None:
            self._open()
        assert self._container is not None
        try:
            self._container.seek(pts, stream=self.stream, backward=True)
        except TROUBLE:
            self._source.check()
            return False
        self._begin()
        return True

    def _seek_to(self, key: int) -> bool:
        if not self._seek(self._starts.time(key)):
            return False
        self._sought = key
        return True

    def _forward(self, number: int) -> VideoFrame | None:
        """Decode on until the frame comes; None if another one comes instead, or the end."""
        if self.index.ordered:
            return self._count_to(number)
        target = self._target = self.index.pts[number]
        while True:
            frame = self._pending if self._pending is not None else next(self._frames, None)
            self._pending = None
            if frame is None:
                self._ended = True
                return None
            time = self._time_of(frame)
            if time is None:
                continue
            if self._sought and self._starts.reached(self._sought, time):
                key, self._sought = self._sought, None
                codec = self.stream.codec_context.name
                if not self._starts.is_good(key, time, codec, frame.is_corrupt):
                    return None
            if time == target:
                self._at = target
                return frame
            if time > target:
                self._pending = frame
                return None
            self._at = time
            self._pass(frame)

    def _count_to(self, number: int) -> VideoFrame | None:
        while True:
            frame = next(self._frames, None)
            if frame is None:
                self._ended = True
                return None
            self._given += 1
            if self._given == number + 1:
                return frame
            self._before = frame
            self.number = self._given - 1
            if self.passing is not None:
                self.passing(self._given - 1, frame)

    def _pass(self, frame: VideoFrame) -> None:
        self._before = frame
        number = self._number_of(frame)
        if number is not None:
            self.number, self._current = number, frame
            if self.passing is not None:
                self.passing(number, frame)

    def _number_of(self, frame: VideoFrame) -> int | None:
        time = self._time_of(frame)
        if time is None:
            return None
        pts = self.index.pts
        at = bisect.bisect_left(pts, time)
        return at if at < len(pts) and pts[at] == time else None

    def _time_of(self, frame: VideoFrame) -> int | None:
        """Return the time by which the index knows the frame."""
        if not self.index.by_dts:
            return frame.pts
        # Only the last frame comes without a packet.
        return frame.dts if frame.dts is not None else self.index.pts[-1]

    def _decoded(self) -> Iterator[VideoFrame]:
        """Yield frames from the container's position on; errors of single packets are passed by."""
        assert self._container is not None
        skipped = None if self._patient or self.index.ordered else self._unneeded
        return decoded(self._container, self.stream, self._source.check, skipped)

    def _unneeded(self, packet: Packet[VideoStream]) -> bool:
        """Return whether nobody wants the picture of a packet, unless another refers to it."""
        pts, coming = self.index.pts, self.coming
        if self._target is None or packet.pts is None:
            return False
        number = bisect.bisect_left(pts, packet.pts)
        if packet.pts < self._target:
            return self.passing is None or number not in self.welcome
        if packet.pts == self._target or not coming or number >= coming[-1]:
            return False
        at = bisect.bisect_left(coming, number)
        return coming[at] != number and (self.passing is None or number not in self.welcome)
