"""A tree with its videos as folders: what `.frames/SPEC/` shows of the directory that it mirrors.

Other files are left out, and folders without any video below them. Nothing but listings is looked
at, so this costs no byte of any file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import trio

from oxenfs.errors import NotFound
from oxenfs.frames.jobs import Video
from oxenfs.frames.spec import Spec
from oxenfs.model import Kind
from oxenfs.names import quoted
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.arrays import ArrayFile
from oxenfs.views.base import Attributes, ChangingFile, Directory, File, Node
from oxenfs.views.framing import Framing, VideoFolder

ARRAY = b".npy"

EXTENSIONS = frozenset(
    b"3g2 3gp asf avi flv gif h264 264 h265 265 hevc ivf m1v m2ts m2v m4v mjpeg mjpg mkv mov mp4 "
    b"mpeg mpg mts ogv qt ts vob webm wmv".split()
)
_SOUNDS = frozenset(b"aac aif aiff flac m4a mka mp3 oga ogg opus wav wma".split())

_LISTING_BYTES = 32 << 20
_ANSWERS = 100_000
_LARGE = 5000
_UNFINISHED = "somebody has it open for writing; its frames are there when it is closed"


def concerns_frames(name: bytes) -> bool:
    """Return whether a new file of that name may have frames, or an old one may have had some."""
    extension = _extension(name)
    return not extension or extension in EXTENSIONS or extension in _SOUNDS


def is_video(name: bytes, kind: int) -> bool:
    """Return whether a file counts as a video: by its node's data type, or by its extension."""
    return kind == Kind.VIDEO or _extension(name) in EXTENSIONS


class MirrorListing(Listing):
    """A listing of folders, and the listing that it mirrors.

    Attributes:
        base: the other one.
    """

    __slots__ = ("base",)

    def __init__(self, columns: bytes, base: Listing) -> None:
        """Lay views over `columns`."""
        super().__init__(columns)
        self.base = base


class Mirrors:
    """What mirrors know of the directories behind them, for all SPECs. Used from one trio loop."""

    def __init__(self, framing: Framing) -> None:
        """Show frames by `framing`."""
        self.framing = framing
        self._listings: OrderedDict[object, MirrorListing] = OrderedDict()
        self._bytes = 0
        self._answers: OrderedDict[object, bool] = OrderedDict()

    async def listing(self, directory: Directory) -> MirrorListing:
        """Return the videos in a directory, and the folders with videos below them."""
        base = await directory.listing()
        found = self._listings.get(directory.key)
        if found is not None and found.base.bytes == base.bytes:
            self._listings.move_to_end(directory.key)
            return found
        shown = []
        for row in range(base.count):
            if base.is_directory(row):
                child = directory.child(base, row)
                if isinstance(child, Directory) and await self._has_videos(child):
                    shown.append(row)
            elif is_video(base.name(row), base.kinds[row]):
                shown.append(row)
        if len(shown) > _LARGE:
            columns = await trio.to_thread.run_sync(_columns, base, shown)
        else:
            columns = _columns(base, shown)
        found = MirrorListing(columns, base)
        self._keep(directory.key, found)
        return found

    async def _has_videos(self, directory: Directory) -> bool:
        """Return whether there is a video in a directory or below it."""
        known = self._answers.get(directory.key)
        if known is None:
            known = await self._search(directory)
            self._answers[directory.key] = known
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        return known

    async def _search(self, directory: Directory) -> bool:
        waiting = [directory]
        while waiting:
            one = waiting.pop()
            listing = await one.listing()
            kinds = listing.kinds
            if any(
                kind != Kind.DIRECTORY and is_video(listing.name(row), kind)
                for row, kind in enumerate(kinds)
            ):
                return True
            for row in range(listing.count - 1, -1, -1):
                if kinds[row] == Kind.DIRECTORY:
                    child = one.child(listing, row)
                    if isinstance(child, Directory):
                        if self._answers.get(child.key):
                            return True
                        waiting.append(child)
        return False

    def _keep(self, key: object, listing: MirrorListing) -> None:
        old = self._listings.pop(key, None)
        self._bytes += listing.bytes - (old.bytes if old is not None else 0)
        self._listings[key] = listing
        while self._bytes > _LISTING_BYTES and len(self._listings) > 1:
            self._bytes -= self._listings.popitem(last=False)[1].bytes


class Mirror(Directory):
    """One directory of the mirrored tree."""

    __slots__ = ("_base", "_mirrors", "_path", "_spec")

    def __init__(self, mirrors: Mirrors, spec: Spec, base: Directory, path: bytes = b"") -> None:
        """Mirror `base`, which is at `path` from the root of the tree."""
        self._mirrors = mirrors
        self._spec = spec
        self._base = base
        self._path = path

    @property
    def key(self) -> tuple[object, ...]:
        """The SPEC and the key of what is mirrored."""
        return ("frames", self._spec.text, self._base.key)

    @property
    def passes(self) -> bool:
        """As what is mirrored."""
        return self._base.passes

    @property
    def base(self) -> Directory:
        """What is mirrored."""
        return self._base

    async def stat(self) -> Attributes:
        """Return the attributes of what is mirrored."""
        return await self._base.stat()

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the xattrs of what is mirrored."""
        return await self._base.xattrs()

    async def listing(self) -> Listing:
        """Return the videos, as folders, and the folders that have some."""
        return await self._mirrors.listing(self._base)

    def child(self, listing: Listing, index: int) -> Node:
        """Return a folder, or the folder of a video."""
        if not isinstance(listing, MirrorListing):
            raise NotFound("a listing of another directory")
        name = listing.name(index)
        row = listing.base.find(name)
        child = self._base.child(listing.base, row)
        if isinstance(child, Directory):
            return Mirror(self._mirrors, self._spec, child, self._path_of(name))
        return self._folder(listing.base, row, child)

    async def unlisted(self, name: bytes) -> Node:
        """Return the array `VIDEO.npy`, or the empty folder of something without pictures."""
        base = await self._base.listing()
        if name.endswith(ARRAY):
            row = base.find(name[: -len(ARRAY)])
            if row >= 0 and self._is_file(base, row, videos=True):
                return ArrayFile(self._folder(base, row, self._base.child(base, row)))
        row = base.find(name)
        if row >= 0 and self._is_file(base, row, videos=False):
            return self._folder(base, row, self._base.child(base, row))
        what = "no such path" if row < 0 else "not a video"
        if row >= 0 and base.is_directory(row):
            what = "no videos in this folder"
        raise NotFound(f"{what}: {quoted(self._path_of(name))}")

    def _is_file(self, base: Listing, row: int, *, videos: bool) -> bool:
        if base.is_directory(row):
            return False
        name, kind = base.name(row), base.kinds[row]
        if videos:
            return is_video(name, kind)
        return kind == Kind.AUDIO or _extension(name) in _SOUNDS

    def _folder(self, base: Listing, row: int, child: Node) -> VideoFolder:
        if not isinstance(child, File):
            raise NotFound("not a file")
        name, size, id = base.name(row), base.sizes[row], base.hash(row)
        path, mtime_ns, unfinished = self._path_of(name), base.mtimes[row], None
        # Without a hash of its content a file is told by its own key, which changes with it.
        key = f"{id:032x}-{size}" if id else repr((child.key, size, mtime_ns))
        if isinstance(child, ChangingFile):
            found = child.identity
            key, size, mtime_ns = repr(found), found.size, found.mtime_ns
            unfinished = _UNFINISHED if found.unfinished else None
        video = Video(key, size, child.open, quoted(path), unfinished)
        return VideoFolder(self._mirrors.framing, self._spec, video, child, path, mtime_ns)

    def _path_of(self, name: bytes) -> bytes:
        return self._path + b"/" + name if self._path else name


def _extension(name: bytes) -> bytes:
    return name.rpartition(b".")[2].lower() if b"." in name else b""


def _columns(base: Listing, rows: list[int]) -> bytes:
    directory = int(Kind.DIRECTORY)
    return columns_of(
        [
            Row(
                base.name(row),
                directory,
                base.hash(row).to_bytes(16, "big"),
                0,
                base.mtimes[row],
                base.last_commit(row).to_bytes(16, "big"),
            )
            for row in rows
        ]
    )
