"""The videos that a child has open: their bytes, indexes, decoders and filter graphs."""

from __future__ import annotations

import bisect
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxenfs.frames import index as indexes
from oxenfs.frames.container import BadVideo
from oxenfs.frames.decode import Decoder
from oxenfs.frames.filters import Pipeline
from oxenfs.frames.index import FrameIndex, Shape
from oxenfs.frames.pictures import bound, encode, exact_size
from oxenfs.frames.scan import scan
from oxenfs.frames.select import MISSING, TooMany, select
from oxenfs.frames.source import Source
from oxenfs.frames.spec import Pictures, Spec

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DECODER_BYTES = 220 << 20
"""How much memory the open decoders of a child may hold, about."""

PASSING_BYTES = 32 << 20
"""How much memory pictures may hold that passed by and wait for being encoded."""

_DECODERS_EACH = 3
_APPROACH = 600
_PIPELINES = 32
_WELCOMES_EACH = 4
_PASSING_PRICE = 4
"""What making one passing frame costs, in frames decoded on the way to one that is asked for,
twice: scaling and encoding it, and decoding it if nothing refers to it."""


class Pipelines:
    """Filter graphs, the last used ones: videos of the same shape share them."""

    def __init__(self) -> None:
        """Begin without any."""
        self._made: OrderedDict[tuple[Shape, Pictures], Pipeline] = OrderedDict()

    def of(self, shape: Shape, pictures: Pictures) -> Pipeline:
        """Return what makes such pictures; raise `BadVideo` if they cannot be made."""
        key = (shape, pictures)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Pipeline(shape, pictures)
            if len(self._made) > _PIPELINES:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return found


class Video:
    """One video.

    Attributes:
        source: its bytes.
    """

    def __init__(self, source: Source, pipelines: Pipelines | None = None) -> None:
        """Nothing is read yet."""
        self.source = source
        self._pipelines = pipelines or Pipelines()
        self._welcome: OrderedDict[tuple[str, str], set[int]] = OrderedDict()
        self._made: dict[tuple[str, str], set[int]] = {}
        self._spare: Decoder | None = None
        self._index: FrameIndex | None = None

    def take_spare(self) -> Decoder | None:
        """Return the decoder that made the index, once."""
        spare, self._spare = self._spare, None
        return spare

    def note(self, order: Order, frame: int) -> None:
        """Note that a frame of an order is made: it is not welcome any more."""
        key = (order.spec.text, order.pictures.text)
        if key in self._welcome:
            self._welcome[key].discard(frame)
        elif order.jumps:
            self._made.setdefault(key, set()).add(frame)
            if len(self._made) > _WELCOMES_EACH:
                del self._made[next(iter(self._made))]

    def welcome(self, order: Order) -> set[int]:
        """Return the frames of a SPEC that are not made yet, to be made when they pass by."""
        key = (order.spec.text, order.pictures.text)
        found = self._welcome.get(key)
        if found is None:
            made = self._made.pop(key, set())
            found = self._welcome[key] = set(select(self.index(), order.spec)) - made
            if len(self._welcome) > _WELCOMES_EACH:
                self._welcome.popitem(last=False)
        return found

    def index(self, kept: bytes | None = None) -> FrameIndex:
        """Return the index, from `kept` if that is one, else from the video."""
        if self._index is None:
            self._index = indexes.load(kept) if kept else scan(self.source, self._keep)
        return self._index

    def _keep(self, decoder: Decoder) -> None:
        self._spare = decoder

    def pipeline(self, pictures: Pictures) -> Pipeline:
        """Return the filters that make such pictures; raise `BadVideo` if they cannot be made."""
        return self._pipelines.of(self.index().shape, pictures)


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
        self.adopt(name, video)
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

    def approach(self, name: str, video: Video, frame: int) -> None:
        """Let a decoder go to a frame that will be asked for; if that fails, it is told then."""
        if frame == MISSING or self.cost(name, video, frame) > _APPROACH:
            return
        try:
            self.at(name, video, frame).frame(frame)
        except Exception:
            self.forget(name)

    def adopt(self, name: str, video: Video) -> None:
        """Take the decoder that made the index of a video: it counts from now on."""
        spare = video.take_spare()
        if spare is not None:
            self._open[id(spare)] = (name, spare)
            self._shrink()

    def cost(self, name: str, video: Video, frame: int) -> int:
        """Return how many frames must be decoded for one, from where decoders are."""
        fresh = frame - self._key_before(video.index(), frame) + 1
        return min(
            [fresh, *(d.distance(frame) for whose, d in self._open.values() if whose == name)]
        )

    def forget(self, name: str) -> None:
        """Close the decoders of a video."""
        for key in [key for key, (whose, _) in self._open.items() if whose == name]:
            self._open.pop(key)[1].close()

    @staticmethod
    def _key_before(index: FrameIndex, frame: int) -> int:
        if index.ordered or not index.seeks:
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
        holds: the frame before stands in for one that cannot be decoded.
        files: how many the SPEC has in all.
        jumps: how many of them were read out of order.
    """

    spec: Spec
    pictures: Pictures
    frames: list[int]
    holds: bool
    files: int
    jumps: int

    def like(self, other: Order) -> bool:
        """Return whether a frame becomes the same file by another order."""
        return self.pictures == other.pictures and self.holds == other.holds

    def takes_passing(self, index: FrameIndex) -> bool:
        """Return whether other frames of the SPEC are worth making if they are on the way.

        Whoever has read so many at random will read as many again. The chance that one of those
        is this frame, times half of a GOP, is what making it now will save.
        """
        return self.jumps * index.count >= _PASSING_PRICE * self.files * max(len(index.seeks), 1)


class Run:
    """Frames to make, in order; then those that were on the way.

    Attributes:
        id: what the daemon calls it.
        name: of the video.
        awaited: the frames that somebody waits for.
    """

    def __init__(
        self, id: int, name: str, video: Video, order: Order, awaited: Iterable[int] = ()
    ) -> None:
        """Plan to make what `order` says of `video`."""
        self.id = id
        self.name = name
        self.video = video
        self.awaited = set(awaited)
        self._order = order
        # Sorted, for looking up; a list of words may be in any order.
        self._in_order = sorted(order.frames)
        self._next = 0
        self._passed: OrderedDict[int, VideoFrame] = OrderedDict()
        self._picture_bytes = 1

    @property
    def next(self) -> int | None:
        """The frame to be decoded next; None if only some that passed by are left to encode."""
        order = self._order
        return order.frames[self._next] if self._next < len(order.frames) else None

    @property
    def done(self) -> bool:
        """Whether all are made."""
        return self.next is None and not self._passed

    @property
    def passed_bytes(self) -> int:
        """How much memory the pictures take that wait for being encoded, about."""
        return len(self._passed) * self._picture_bytes

    def spare(self, run: Run, frame: int) -> None:
        """Note that another run has just made a frame."""
        order = self._order
        if run._order.like(order) and frame in order.frames[self._next :]:
            order.frames.remove(frame)
            self.awaited.discard(frame)

    def give(self, run: Run) -> None:
        """Give a picture to a run that wants it next, if it has passed by here."""
        frame = run.next
        if (
            frame is not None
            and frame in self._passed
            and run._order.pictures == self._order.pictures
        ):
            run._passed[frame] = self._passed.pop(frame)

    def make(self, decoders: Decoders, room_bytes: int) -> Made:
        """Make the next frame; keep pictures that pass by, not more than `room_bytes` of them.

        Raises:
            BadVideo, SourceFailed: this run is over.
        """
        order, frame = self._order, self.next
        assert frame is not None
        self._next += 1
        pipeline = self.video.pipeline(order.pictures)
        self._picture_bytes = pipeline.width * pipeline.height * 3
        picture = self._passed.pop(frame, None)
        if picture is None:
            picture = self._decoded(decoders, pipeline, frame, room_bytes // self._picture_bytes)
        self.awaited.discard(frame)
        self.video.note(order, frame)
        return frame, None if picture is None else self._encoded(pipeline, frame, picture)

    def make_passed(self) -> Made:
        """Make one of the frames that passed by."""
        frame, picture = self._passed.popitem(last=False)
        return frame, self._encoded(self.video.pipeline(self._order.pictures), frame, picture)

    def _decoded(
        self, decoders: Decoders, pipeline: Pipeline, frame: int, room: int
    ) -> VideoFrame | None:
        order = self._order
        decoder = decoders.at(self.name, self.video, frame)
        if order.takes_passing(self.video.index()):
            welcome = self.video.welcome(order)

            def passed(number: int, decoded: VideoFrame) -> None:
                # Behind the filters a picture is small, and encoding it can wait.
                if number in welcome and number != frame and len(self._passed) < room:
                    welcome.discard(number)
                    self._passed[number] = pipeline.apply(decoded)

            decoder.passing, decoder.welcome = passed, welcome
        decoder.coming = self._in_order
        try:
            found = decoder.held(frame) if order.holds else decoder.frame(frame)
        finally:
            decoder.passing, decoder.coming = None, ()
        return None if found is None else pipeline.apply(found)

    def _encoded(self, pipeline: Pipeline, frame: int, picture: VideoFrame) -> bytes:
        return encode(picture, self._order.pictures, pipeline.aspect)
