"""`.frames/SPEC/...`: frames of the videos of a directory, by name and in no listing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from oxenfs.errors import NotFound
from oxenfs.frames.service import Frames
from oxenfs.frames.spec import parse
from oxenfs.names import quoted
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Directory, Node, lookup
from oxenfs.views.framing import Framing, VideoFolder
from oxenfs.views.mirror import Mirror, Mirrors

FOLDER = b".frames"


class FramesFolder(Directory):
    """The folder of all SPECs: empty to look at, with a folder for each SPEC that is named."""

    def __init__(
        self,
        frames: Frames,
        base: Directory,
        now: Callable[[Directory], Directory] = lambda base: base,
    ) -> None:
        """Show the videos of `base`, or of what `now` returns for that at each moment."""
        self._frames = frames
        self._now = now
        self._mirrors = Mirrors(Framing(frames))
        self._base = base

    def mirror(self, text: str) -> Mirror:
        """Return the tree of one SPEC; raise `NotFound` if it is none."""
        return Mirror(self._mirrors, parse(text), self._now(self._base))

    async def videos(self, text: str, path: bytes) -> AsyncIterator[VideoFolder]:
        """Yield the video at `path`, or all below that folder, in order.

        Raises:
            NotFound: no such SPEC, or nothing with frames at `path`.
        """
        node: Node = self.mirror(text)
        for name in path.split(b"/") if path else ():
            if isinstance(node, VideoFolder) or not isinstance(node, Directory):
                raise NotFound(f"not a video: {quoted(path)}")
            node = await lookup(node, name)
        if not isinstance(node, Directory):
            raise NotFound(f"not a video: {quoted(path)}")
        waiting: list[Node] = [node]
        found = False
        while waiting:
            node = waiting.pop()
            if isinstance(node, VideoFolder):
                found = True
                yield node
            elif isinstance(node, Directory):
                listing = await node.listing()
                waiting += [node.child(listing, row) for row in range(listing.count - 1, -1, -1)]
        if not found:
            raise NotFound(f"no videos in this folder: {quoted(path or b'.')}")

    @property
    def key(self) -> tuple[str, object]:
        """That it is the folder, and of what."""
        return ("frames", self._base.key)

    async def stat(self) -> Attributes:
        """Return the attributes of what is mirrored; who asks will soon ask for more."""
        self._frames.prepare()
        return await self._base.stat()

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def listing(self) -> Listing:
        """Return nothing: there is no end of SPECs."""
        return _EMPTY

    def child(self, listing: Listing, index: int) -> Node:
        """Raise `NotFound`: nothing is listed."""
        raise NotFound("nothing is listed here")

    async def unlisted(self, name: bytes) -> Node:
        """Return the tree of a SPEC; raise `NotFound` if it is none."""
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError as exc:
            raise NotFound(f"not a SPEC: {quoted(name)}") from exc
        return _Named(self.mirror(text), name)


class _Named(Directory):
    """The root of a SPEC's tree under one spelling: two spellings are two folders."""

    __slots__ = ("_mirror", "_name")

    def __init__(self, mirror: Mirror, name: bytes) -> None:
        self._mirror = mirror
        self._name = name

    @property
    def key(self) -> tuple[object, ...]:
        """The spelling, and the tree's."""
        return (*self._mirror.key, self._name)

    @property
    def passes(self) -> bool:
        """As the tree."""
        return self._mirror.passes

    async def stat(self) -> Attributes:
        """Return the tree's."""
        return await self._mirror.stat()

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the tree's."""
        return await self._mirror.xattrs()

    async def listing(self) -> Listing:
        """Return the tree's."""
        return await self._mirror.listing()

    def child(self, listing: Listing, index: int) -> Node:
        """Return the tree's."""
        return self._mirror.child(listing, index)

    async def unlisted(self, name: bytes) -> Node:
        """Return the tree's."""
        return await self._mirror.unlisted(name)


_EMPTY = Listing(columns_of([]))
