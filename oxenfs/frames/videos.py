"""The videos that a child has open: their bytes, indexes, decoders and filter graphs."""

from __future__ import annotations

import bisect
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxenfs.frames import index as indexes
from oxenfs.frames.container import BadVideo
from oxenfs.frames.decode import Decoder
from oxenfs.frames.filters import Pipeline
from oxenfs.frames.index import FrameIndex
from oxenfs.frames.pictures import bound, encode, exact_size
from oxenfs.frames.scan import scan
from oxenfs.frames.select import TooMany, select
from oxenfs.frames.source import Source
from oxenfs.frames.spec import Pictures, Spec

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DECODER_BYTES = 200 << 20
"""How much memory the open decoders of a child may hold, about."""

PASSING_BYTES = 16 << 20
_DECODERS_EACH = 3
_PIPELINES_EACH = 8


class Video:
    """One video.

    Attributes:
        source: its bytes.
        pipelines: how its frames become pictures, by the text of what is wanted.
        welcome: frames that are made when they pass by.
    """

    def __init__(self, source: Source) -> None:
        """Nothing is read yet."""
        self.source = source
        self.pipelines: OrderedDict[str, Pipeline] = OrderedDict()
        self.welcome: set[int] = set()
        self._expected = ""
        self._index: FrameIndex | None = None

    def expect(self, order: Order) -> None:
        """Let the frames of a SPEC be welcome when they pass by, once each."""
        if self._expected != order.spec.text:
            self._expected = order.spec.text
            self.welcome = set(select(self.index(), order.spec))

    def index(self, kept: bytes | None = None) -> FrameIndex:
        """Return the index, from `kept` if that is one, else from the video."""
        if self._index is None:
            self._index = indexes.load(kept) if kept else scan(self.source)
        return self._index

    def pipeline(self, pictures: Pictures) -> Pipeline:
        """Return the filters that make such pictures; raise `BadVideo` if they cannot be made."""
        found = self.pipelines.get(pictures.text)
        if found is None:
            found = self.pipelines[pictures.text] = Pipeline(self.index().shape, pictures)
            if len(self.pipelines) > _PIPELINES_EACH:
                self.pipelines.popitem(last=False)
        self.pipelines.move_to_end(pictures.text)
        return found


def plan(video: Video, spec: Spec, kept: bytes | None) -> tuple[dict[str, int], bytes, array[int]]:
    """Return what the folder of a SPEC has: facts, the index as bytes, the frame of each file.

    Facts: `count`, `width`, `height` and `bytes` (of each file: exact if `exact`, else a bound).

    Raises:
        BadVideo: there is nothing to show; says why.
        SourceFailed: its bytes did not come.
    """
    index = video.index(kept)
    try:
        picks = select(index, spec)
    except TooMany as exc:
        raise BadVideo(str(exc)) from exc
    pipeline = video.pipeline(spec.pictures)
    exact = exact_size(pipeline, spec.pictures)
    facts = {
        "count": len(picks),
        "width": pipeline.width,
        "height": pipeline.height,
        "exact": int(exact is not None),
        "bytes": exact if exact is not None else bound(pipeline, spec.pictures),
    }
    return facts, b"" if kept else indexes.dump(index), picks


class Decoders:
    """Open decoders, the last used ones, as many as fit into a number of bytes."""

    def __init__(self, limit_bytes: int = DECODER_BYTES) -> None:
        """Hold up to `limit_bytes`."""
        self._limit = limit_bytes
        self._open: OrderedDict[int, tuple[str, Decoder]] = OrderedDict()

    def at(self, name: str, video: Video, frame: int) -> Decoder:
        """Return the decoder of a video that gets to a frame with the least work."""
        index = video.index()
        own = [(key, held) for key, (whose, held) in self._open.items() if whose == name]
        fresh = frame - self._key_before(index, frame) + 1
        if own:
            key, best = min(own, key=lambda one: one[1].distance(frame))
            if best.distance(frame) < fresh or len(own) >= _DECODERS_EACH:
                if best.distance(frame) >= fresh:
                    key, best = own[0]  # all are elsewhere: the one not used for longest
                self._open.move_to_end(key)
                return best
        decoder = Decoder(video.source, index)
        self._open[id(decoder)] = (name, decoder)
        self._shrink()
        return decoder

    def forget(self, name: str) -> None:
        """Close the decoders of a video."""
        for key in [key for key, (whose, _) in self._open.items() if whose == name]:
            self._open.pop(key)[1].close()

    @staticmethod
    def _key_before(index: FrameIndex, frame: int) -> int:
        if index.ordered:
            return 0
        at = bisect.bisect_right(index.keys, frame) - 1
        return index.keys[at] if at >= 0 else 0

    def _shrink(self) -> None:
        while len(self._open) > 1 and sum(d.bytes for _, d in self._open.values()) > self._limit:
            self._open.popitem(last=False)[1][1].close()


Made = tuple[int, bytes | None]
"""A frame's number and its file; None if the frame cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the daemon wants of a video.

    Attributes:
        pictures: what becomes of the frames; may be rows of an array.
        frames: their numbers, in order.
        passing: whether other frames of the SPEC are welcome too if they are on the way.
    """

    spec: Spec
    pictures: Pictures
    frames: list[int]
    holds: bool
    passing: bool


class Run:
    """Frames to make, in order; the way there is decoded once.

    Attributes:
        id: what the daemon calls it.
        name: of the video.
    """

    def __init__(self, id: int, name: str, video: Video, order: Order) -> None:
        """Plan to make what `order` says of `video`."""
        self.id = id
        self.name = name
        self._video = video
        self._order = order
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether all are made."""
        return self._next >= len(self._order.frames)

    def step(self, decoders: Decoders, hurried: Callable[[], bool]) -> Iterator[Made]:
        """Make the next frame; then those that were on the way, until something hurries us.

        Raises:
            BadVideo, SourceFailed: this run is over.
        """
        order = self._order
        frame = order.frames[self._next]
        self._next += 1
        pipeline = self._video.pipeline(order.pictures)
        decoder = decoders.at(self.name, self._video, frame)
        on_the_way: list[tuple[int, VideoFrame]] = []
        room = PASSING_BYTES // max(pipeline.width * pipeline.height * 3, 1)

        def passed(number: int, decoded: VideoFrame) -> None:
            # Behind the filters a picture is small, and encoding it can wait.
            if len(on_the_way) < room and number != frame and number in self._video.welcome:
                on_the_way.append((number, pipeline.apply(decoded)))

        if order.passing:
            self._video.expect(order)
        decoder.passing = passed if order.passing else None
        try:
            found = decoder.held(frame) if order.holds else decoder.frame(frame)
        finally:
            decoder.passing = None
        if found is None:
            yield frame, None
        else:
            yield frame, encode(pipeline.apply(found), order.pictures, pipeline.aspect)
            self._video.welcome.discard(frame)
        for number, picture in on_the_way:
            if hurried():
                return
            yield number, encode(picture, order.pictures, pipeline.aspect)
            self._video.welcome.discard(number)
