"""An overlay's merged tree as directories: what features wrap that show more of it.

A tree is that of one moment. Its root has another key as soon as names of it changed, or bytes of a
file that somebody has looked at here, so whoever keeps what is below a key never keeps too much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

from oxenfs.errors import NotFound, StaleRevision
from oxenfs.model import Kind
from oxenfs.overlay.nodes import ROOT, Entry, Nid
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Buffer, ChangingFile, Directory, Identity, Reader
from oxenfs.views.base import Node as View
from oxenfs.views.overlay import Overlay

_NOTHING = bytes(16)
_BYTES = 16 << 20
_COUNT = 256


class MergedTree:
    """The tree of an overlay, moment after moment. Used from one trio loop."""

    def __init__(self, overlay: Overlay, concerns: Callable[[bytes], bool]) -> None:
        """Show `overlay`, with a new root for changes of files whose names are of concern."""
        self.overlay = overlay
        self._concerns = concerns
        self._home = overlay.upper.files.folder.parent.name
        self._moment = 0
        self._bytes = 0
        self._listings: OrderedDict[tuple[Nid, int], MergedListing] = OrderedDict()
        # How often a file was opened for writing since somebody looked at it first.
        self._written: dict[Nid, int] = {}
        self._writers: dict[Nid, int] = {}
        overlay.watcher = self

    @property
    def moment(self) -> int:
        """The number of the tree that is now."""
        return self._moment

    def root(self) -> MergedDirectory:
        """Return the root of the tree that is now."""
        return MergedDirectory(self, self._moment, ROOT)

    def moved(self) -> None:
        """Take note that the lower tree is another one."""
        self._moment += 1

    def renamed(self, name: bytes, *, known: bool = False) -> None:
        """Take note that a name has come, or gone."""
        if known or self._concerns(name):
            self.moved()

    def opened(self, nid: Nid) -> None:
        """Take note that a file is open for writing, until as many calls of `closed`."""
        self._writers[nid] = self._writers.get(nid, 0) + 1
        self.written(nid)

    def closed(self, nid: Nid) -> None:
        """Take note that somebody does not write to a file any more."""
        left = self._writers[nid] - 1
        if left:
            self._writers[nid] = left
        else:
            del self._writers[nid]
        self.written(nid)

    def written(self, nid: Nid) -> None:
        """Take note that bytes, size or times of a file have changed."""
        if nid in self._written or self.overlay.upper.node(nid).origin is not None:
            self._written[nid] = self._written.get(nid, 0) + 1
            self.moved()

    def look_at(self, nid: Nid) -> Identity:
        """Return what a file that is not the commit's is now."""
        node = self.overlay.upper.node(nid)
        opened = self.overlay.opened(nid)
        facts = None if opened is None else opened.facts()
        if facts is None and node.data:
            facts = self.overlay.upper.files.stat(node.data)
        stamp = (node.size, node.mtime_ns, node.ctime_ns)
        if facts is not None:
            stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        count = self._written.setdefault(nid, 0)
        return Identity((self._home, nid, node.data), *stamp, count, nid in self._writers)

    async def listing(self, nid: Nid, moment: int) -> MergedListing:
        """Return what a folder showed at a moment.

        Raises:
            StaleRevision: that is not known any more.
        """
        found = self._listings.get((nid, moment))
        if found is not None:
            self._listings.move_to_end((nid, moment))
            return found
        found = await self._merged(nid) if moment == self._moment else None
        if found is None or moment != self._moment:
            raise StaleRevision("the folder has changed meanwhile")
        self._listings[nid, moment] = found
        self._bytes += found.bytes
        while len(self._listings) > 1 and (self._bytes > _BYTES or len(self._listings) > _COUNT):
            self._bytes -= self._listings.popitem(last=False)[1].bytes
        return found

    async def _merged(self, nid: Nid) -> MergedListing:
        overlay, upper = self.overlay, self.overlay.upper
        if upper.is_gone(nid):
            raise StaleRevision("the folder has been removed")
        origin = upper.node(nid).origin
        lower = None if origin is None else await overlay.lower_directory(origin)
        below = None if lower is None else await lower.listing()
        own: dict[bytes, View] = {}
        hidden = set()
        rows = []
        for name, entry in upper.entries(nid):
            hidden.add(name)
            found = await self._row(name, entry)
            if found is not None:
                row, own[name] = found
                rows.append(row)
        if below is not None:
            rows += [row for row in map(below.entry, range(below.count)) if row.name not in hidden]
        return MergedListing(columns_of(sorted(rows)), lower, below, own)

    async def _row(self, name: bytes, entry: Entry) -> tuple[Row, View] | None:
        if entry.is_whiteout:
            return None
        node = self.overlay.upper.node(entry.nid)
        if node.is_directory:
            folder = MergedDirectory(self, self._moment, entry.nid)
            return Row(name, Kind.DIRECTORY, _NOTHING, 0, node.mtime_ns, _NOTHING), folder
        if not node.is_file:
            return None
        if node.data or node.origin is None:
            found = self.look_at(entry.nid)
            row = Row(name, Kind.BINARY, _NOTHING, found.size, found.mtime_ns, _NOTHING)
            return row, MergedFile(self, entry.nid, found)
        parent, _, below = node.origin.rpartition(b"/")
        directory = await self.overlay.lower_directory(parent)
        listing = await directory.listing()
        at = listing.find(below)
        if at < 0:
            return None
        return listing.entry(at)._replace(name=name), directory.child(listing, at)


class MergedListing(Listing):
    """A listing, and where its rows come from.

    Attributes:
        lower, below: the folder of the commit that shows through and its listing, if there is one.
        own: what is not from there, by name.
    """

    __slots__ = ("below", "lower", "own")

    def __init__(
        self,
        columns: bytes,
        lower: Directory | None,
        below: Listing | None,
        own: dict[bytes, View],
    ) -> None:
        """Lay views over `columns`."""
        super().__init__(columns)
        self.lower = lower
        self.below = below
        self.own = own


class MergedDirectory(Directory):
    """A folder that the overlay has something in, at one moment."""

    __slots__ = ("_moment", "_nid", "_tree")

    def __init__(self, tree: MergedTree, moment: int, nid: Nid) -> None:
        """Stand for the folder `nid`."""
        self._tree = tree
        self._moment = moment
        self._nid = nid

    @property
    def key(self) -> tuple[object, ...]:
        """The folder and the moment."""
        return ("merged", self._nid, self._moment)

    @property
    def passes(self) -> bool:
        """It does."""
        return True

    async def stat(self) -> Attributes:
        """Return the attributes, for this moment only."""
        node = self._tree.overlay.upper.node(self._nid)
        return Attributes(directory=True, size=0, mtime_ns=node.mtime_ns, valid_for=0.0)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def listing(self) -> Listing:
        """Return what the folder showed; raise `StaleRevision` if nobody knows any more."""
        return await self._tree.listing(self._nid, self._moment)

    def child(self, listing: Listing, index: int) -> View:
        """Return what is in a row."""
        if not isinstance(listing, MergedListing):
            raise NotFound("a listing of another directory")
        name = listing.name(index)
        own = listing.own.get(name)
        if own is not None:
            return own
        assert listing.lower is not None
        assert listing.below is not None
        return listing.lower.child(listing.below, listing.below.find(name))

    async def unlisted(self, name: bytes) -> View:
        """Raise `NotFound`."""
        raise NotFound(f"no {name!r}")


class MergedFile(ChangingFile):
    """A file that is not the commit's, as it was at one moment."""

    __slots__ = ("_identity", "_nid", "_tree")

    def __init__(self, tree: MergedTree, nid: Nid, identity: Identity) -> None:
        """Stand for the file `nid`."""
        self._tree = tree
        self._nid = nid
        self._identity = identity

    @property
    def key(self) -> Hashable:
        """What it was at that moment."""
        return ("changed", self._identity)

    @property
    def identity(self) -> Identity:
        """What it was at that moment."""
        return self._identity

    async def stat(self) -> Attributes:
        """Return the attributes, for that moment only."""
        size, mtime_ns = self._identity.size, self._identity.mtime_ns
        return Attributes(directory=False, size=size, mtime_ns=mtime_ns, valid_for=0.0)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none: no commit knows it."""
        return {}

    async def open(self) -> Reader:
        """Return a reader that fails as soon as the file is not what it was."""
        self.check()
        return _Checked(self, await self._tree.overlay.open(self._nid))

    def check(self) -> None:
        """Raise `StaleRevision` if the file is not what it was."""
        if self._tree.look_at(self._nid) != self._identity:
            raise StaleRevision("the file has been written to meanwhile")


class _Checked:
    """Reads a file as long as it stays the same."""

    def __init__(self, file: MergedFile, reader: Reader) -> None:
        self._file = file
        self._reader = reader

    async def read(self, offset: int, size: int) -> Buffer:
        """Return the bytes from `offset` on; raise `StaleRevision` if it was written to."""
        data = bytes(await self._reader.read(offset, size))
        self._file.check()
        return data

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
