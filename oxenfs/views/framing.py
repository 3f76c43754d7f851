"""A video as a folder of frame files.

Sizes: a file has its exact size from `open` on, which decodes and encodes it; until then a bound is
shown that the kernel may not keep. A program that takes the first `stat` for a promise then reads
up to the end, and nothing is ever cut off.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Mapping
from fractions import Fraction

import trio

from oxenfs.errors import DecodeError, NotFound, VideoError
from oxenfs.frames import plans
from oxenfs.frames.jobs import Video
from oxenfs.frames.plans import Plan
from oxenfs.frames.select import MISSING
from oxenfs.frames.service import Frames
from oxenfs.frames.spec import Spec
from oxenfs.model import Kind
from oxenfs.store.columns import Listing, columns_alike, columns_of
from oxenfs.views.base import FOREVER, Attributes, Directory, File, Node, Reader

ERROR_XATTR = "user.oxenfs.error"
_LISTING_BYTES = 32 << 20
_LARGE = 2000
_DIGITS = 6
_DIGITS_MAX = 9


class FrameListing(Listing):
    """The files of one video. Its sizes change: each once, from a bound to what it is.

    Attributes:
        plan: which files these are; sizes are those that it knows at each moment.
    """

    __slots__ = ("plan",)

    def __init__(self, columns: bytes, plan: Plan) -> None:
        """Lay views over `columns`, and over the sizes of `plan`."""
        super().__init__(columns)
        self.plan = plan
        self.sizes = memoryview(plan.sizes).toreadonly()
        self.exact = memoryview(plan.exact).toreadonly()

    def find(self, name: bytes) -> int:
        """Return the row of the file called `name`, or -1: by its number, or by bisection."""
        if self.count >= 10**_DIGITS:
            row = bisect.bisect_left(range(self.count), name, key=self.name)
        else:
            digits = name.partition(b".")[0]
            row = int(digits) - 1 if digits.isdigit() else -1
        return row if 0 <= row < self.count and self.name(row) == name else -1

    def number(self, row: int) -> int:
        """Return which file is in `row`, counted from 0: names sort by text beyond 999999."""
        if self.count < 10**_DIGITS:
            return row
        return int(self.name(row).partition(b".")[0]) - 1


class Framing:
    """What all frame folders of a mount share. Used from one trio loop.

    Attributes:
        frames: makes plans, files and rows.
    """

    def __init__(self, frames: Frames) -> None:
        """Show what `frames` makes."""
        self.frames = frames
        self._listings: OrderedDict[tuple[str, str, int], FrameListing] = OrderedDict()
        self._bytes = 0

    async def listing(self, video: Video, spec: Spec, mtime_ns: int) -> FrameListing:
        """Return the files of a video; errors as of `Frames.plan`.

        A list of words is known without a look at the video.
        """
        key = (video.key, spec.text, mtime_ns)
        found = self._listings.get(key)
        if found is not None:
            self._listings.move_to_end(key)
            return found
        if spec.select == "words":
            plan = self.frames.known_plan(video, spec) or plans.by_name(video, spec)
        else:
            plan = await self.frames.plan(video, spec)
        return await self._make(key, plan, mtime_ns)

    async def planned(self, video: Video, spec: Spec, mtime_ns: int) -> FrameListing:
        """Return the same with what only a look at the video tells."""
        found = await self.listing(video, spec, mtime_ns)
        if found.plan.picks or not found.count:
            return found
        return await self._make(
            (video.key, spec.text, mtime_ns), await self.frames.plan(video, spec), mtime_ns
        )

    async def _make(self, key: tuple[str, str, int], plan: Plan, mtime_ns: int) -> FrameListing:
        count, ending = len(plan.sizes), plan.spec.extension
        if count > _LARGE:
            columns = await trio.to_thread.run_sync(_columns, count, ending, mtime_ns)
        else:
            columns = _columns(count, ending, mtime_ns)
        listing = FrameListing(columns, plan)
        old = self._listings.pop(key, None)
        self._bytes += listing.bytes - (old.bytes if old is not None else 0)
        self._listings[key] = listing
        while self._bytes > _LISTING_BYTES and len(self._listings) > 1:
            self._bytes -= self._listings.popitem(last=False)[1].bytes
        return listing


class VideoFolder(Directory):
    """The frames of one video."""

    __slots__ = ("file", "framing", "mtime_ns", "path", "spec", "video")

    def __init__(
        self,
        framing: Framing,
        spec: Spec,
        video: Video,
        file: File,
        path: bytes,
        mtime_ns: int,
    ) -> None:
        """Show the frames of `file`, which is at `path` in the tree."""
        self.framing = framing
        self.spec = spec
        self.video = video
        self.file = file
        self.path = path
        self.mtime_ns = mtime_ns

    @property
    def key(self) -> tuple[object, ...]:
        """The SPEC and the key of the file."""
        return ("frames", self.spec.text, self.file.key)

    async def stat(self) -> Attributes:
        """Return the attributes; the video is not looked at."""
        return Attributes(directory=True, size=0, mtime_ns=self.mtime_ns)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the video's, and why there are no frames if there are none."""
        found = dict(await self.file.xattrs())
        try:
            await self.framing.frames.plan(self.video, self.spec)
        except (VideoError, DecodeError) as exc:
            found[ERROR_XATTR] = str(exc).encode()
        return found

    def expect(self, name: bytes) -> None:
        """Note which file is looked up: if the video is not known, its frame is decoded at once."""
        digits = name.partition(b".")[0]
        if self.spec.select != "words" and digits.isdigit() and len(digits) <= _DIGITS_MAX:
            self.framing.frames.expect(self.video, self.spec, int(digits) - 1)

    async def listing(self) -> Listing:
        """Return the files; none where there is nothing to show (`user.oxenfs.error` says why)."""
        try:
            return await self.files()
        except VideoError:
            return _EMPTY

    async def files(self) -> FrameListing:
        """Return the files; raise `VideoError` where there is nothing to show."""
        return await self.framing.listing(self.video, self.spec, self.mtime_ns)

    async def planned(self) -> FrameListing:
        """Return the files and which frames they show; errors as of `Frames.plan`."""
        return await self.framing.planned(self.video, self.spec, self.mtime_ns)

    def child(self, listing: Listing, index: int) -> Node:
        """Return a frame file."""
        if not isinstance(listing, FrameListing):
            raise NotFound("a listing of another directory")
        return FrameFile(self, listing, index)

    async def unlisted(self, name: bytes) -> Node:
        """Raise `NotFound`."""
        raise NotFound(f"no {name!r} in the frames of {self.path!r}")


class FrameFile(File):
    """One frame, encoded when it is opened."""

    __slots__ = ("_folder", "_listing", "_row")

    def __init__(self, folder: VideoFolder, listing: FrameListing, row: int) -> None:
        """Stand for row `row` of `listing`."""
        self._folder = folder
        self._listing = listing
        self._row = row

    @property
    def key(self) -> tuple[object, ...]:
        """The folder and the file's number."""
        return (self._folder.key, self._listing.number(self._row))

    async def stat(self) -> Attributes:
        """Return the attributes; the size is a bound that may not be kept until it is known."""
        return Attributes(
            directory=False,
            size=self._listing.sizes[self._row],
            mtime_ns=self._folder.mtime_ns,
            valid_for=FOREVER if self._listing.exact[self._row] else 0.0,  # type: ignore[index]
        )

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return which frame of which video it is; why it cannot be made, if so."""
        folder = self._folder
        found = {"user.oxen.video": folder.path}
        own = await folder.file.xattrs()
        if "user.oxen.hash" in own:
            found["user.oxen.hash"] = own["user.oxen.hash"]
        try:
            listing = await folder.planned()
            frame = listing.plan.picks[listing.number(self._row)]
            if frame == MISSING:
                raise DecodeError("the video, or its segment, has no such frame")
            index = await folder.framing.frames.index(folder.video)
            found["user.oxen.frame"] = str(frame).encode()
            found["user.oxen.pts"] = _pts_text(index.time(frame)).encode()
        except (VideoError, DecodeError) as exc:
            found[ERROR_XATTR] = str(exc).encode()
        return found

    async def open(self) -> Reader:
        """Decode and encode it, or find it; raises `DecodeError` or `VideoError` if that fails."""
        folder, number = self._folder, self._listing.number(self._row)
        folder.framing.frames.expect(folder.video, folder.spec, number)
        listing = await folder.planned()
        return BytesReader(await folder.framing.frames.picture(listing.plan, number))


class BytesReader:
    """Reads what is in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        """Read `data`."""
        self._data = memoryview(data)

    async def read(self, offset: int, size: int) -> memoryview:
        """Return the bytes from `offset` on."""
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Let go of the bytes."""
        self._data = memoryview(b"")


def _columns(count: int, ending: str, mtime_ns: int) -> bytes:
    names = [b"%06d.%b" % (number, ending.encode()) for number in range(1, count + 1)]
    if count >= 10**_DIGITS:
        names.sort()
    return columns_alike(names, Kind.IMAGE, mtime_ns)


_EMPTY = Listing(columns_of([]))


def _pts_text(time: Fraction) -> str:
    """Return a time in seconds as an exact fraction and as a decimal."""
    return f"{time.numerator}/{time.denominator} {float(time):.6f}"
