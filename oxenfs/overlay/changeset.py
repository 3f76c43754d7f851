"""A layer as a change set against its base: what a commit of it publishes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from oxenfs.model import Change, Put, Remove
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import Ignored, why_unsupported
from oxenfs.overlay.lower import Found, LowerTree
from oxenfs.overlay.nodes import ROOT, Entry, Nid, Node
from oxenfs.store.columns import Listing

_EXECUTABLE = 0o111


@dataclass(slots=True)
class Left:
    """What a change set does not contain.

    Attributes:
        unsupported: paths that Oxen cannot store, each with the reason.
        ignored: paths that nobody wants to commit.
        executable: paths that are committed without their executable bit.
        entries: the places of the first two: folder and name.
    """

    unsupported: list[tuple[bytes, str]] = field(default_factory=list)
    ignored: list[bytes] = field(default_factory=list)
    executable: list[bytes] = field(default_factory=list)
    entries: set[tuple[Nid, bytes]] = field(default_factory=set)


class _Step(NamedTuple):
    """One step: a removal, or a file of the layer or of the commit to be put at a path."""

    path: bytes
    node: Node | None = None
    origin: bytes | None = None
    there: Found | None = None


class ChangeSet:
    """The changes of a layer. For one thread.

    Attributes:
        left: what is not in it; complete after `survey`.
    """

    def __init__(
        self, layer: Layer, lower: LowerTree, contents: Contents, ignored: Ignored
    ) -> None:
        """Compare `layer` with `lower`, its base."""
        self._layer = layer
        self._lower = lower
        self._contents = contents
        self._ignored = ignored
        self.left = Left()
        # Whose additions to renamed folders count as steps.
        self._new: LowerTree | None = None

    def survey(self) -> int:
        """Return how many changes there are at the most, and find what is left out."""
        self.left = Left()
        return sum(1 for _ in self._steps())

    def changes(self) -> Iterator[Change]:
        """Yield the change set in tree order."""
        self.left = Left()
        for path, node, origin, there in self._steps():
            if node is not None:
                if there is None or there.directory or not self._contents.is_same(node, there):
                    yield Put(path, self._contents.content(node))
            elif origin is not None:
                found = self._lower.find(origin)
                if found is not None:
                    yield Put(path, self._lower.content(origin, found))
            else:
                yield Remove(path)

    def conflicts(self, new: LowerTree) -> Iterator[bytes]:
        """Yield the paths that are changed here, and to something else in the commit `new`.

        And what is new in `new` where a renamed folder hides it.
        """
        self.left = Left()
        self._new = new
        for path, node, origin, there in self._steps():
            found = new.find(path)
            if (None if found is None else found.same_as) == (
                None if there is None else there.same_as
            ):
                continue
            if node is None and origin is None:
                same = found is None
            elif found is None or found.directory:
                same = False
            elif node is not None:
                same = self._contents.is_same(node, found)
            else:
                moved = None if origin is None else self._lower.find(origin)
                same = moved is not None and moved.same_as == found.same_as
            if not same:
                yield path

    def _steps(self) -> Iterator[_Step]:
        root = self._layer.node(ROOT)
        assert root is not None
        yield from self._folder(ROOT, root, b"", exists=True)

    def _folder(self, nid: Nid, node: Node, path: bytes, *, exists: bool) -> Iterator[_Step]:
        """Yield the steps of a folder; `exists`: the commit has a folder at `path` too."""
        prefix = path + b"/" if path else b""
        listing = self._lower.listing(path) if exists else None
        if exists and node.origin == path:
            for name, entry in self._layer.entries(nid):
                yield from self._entry(nid, prefix + name, entry, self._there(listing, name))
            return
        own = dict(self._layer.entries(nid))
        through = None if node.origin is None else self._lower.listing(node.origin)
        names = set(own)
        added = None if node.origin is None else self._added(path)
        for shown in (through, listing, added):
            if shown is not None:
                names.update(shown.names_between(0, shown.count))
        for name in sorted(names):
            there = self._there(listing, name)
            if name in own:
                yield from self._entry(nid, prefix + name, own[name], there)
            elif through is not None and through.find(name) >= 0:
                origin = node.origin + b"/" + name if node.origin else name
                yield from self._untouched(origin, prefix + name, there)
            else:
                yield _Step(prefix + name, there=there)

    def _added(self, path: bytes) -> Listing | None:
        """Return what others have where a folder is that was renamed."""
        return None if self._new is None else self._new.listing(path)

    def _entry(
        self, folder: Nid, path: bytes, entry: Entry, there: Found | None
    ) -> Iterator[_Step]:
        node = None if entry.is_whiteout else self._layer.node(entry.nid)
        if node is None:
            if there is not None:
                yield _Step(path, there=there)
            return
        name = path.rpartition(b"/")[2]
        if there is None and self._ignored.matches(path):
            self.left.ignored.append(path)
            self.left.entries.add((folder, name))
            return
        why = why_unsupported(path, node)
        if why is not None:
            self._leave(folder, name, path, why)
        elif node.is_directory:
            yield from self._directory(folder, entry.nid, node, path, there)
        elif node.origin != path or node.data or there is None:
            if node.mode & _EXECUTABLE:
                self.left.executable.append(path)
            yield _Step(path, node, None, there)

    def _directory(
        self, folder: Nid, nid: Nid, node: Node, path: bytes, there: Found | None
    ) -> Iterator[_Step]:
        if there is not None and there.directory:
            yield from self._folder(nid, node, path, exists=True)
            return
        some = False
        for step in self._folder(nid, node, path, exists=False):
            if there is not None and not some:
                # A file is in the folder's way.
                yield _Step(path, there=there)
            some = True
            yield step
        if not some and not any(not entry.is_whiteout for _, entry in self._layer.entries(nid)):
            self._leave(folder, path.rpartition(b"/")[2], path, "an empty folder")

    def _untouched(self, origin: bytes, path: bytes, there: Found | None) -> Iterator[_Step]:
        """Yield the steps of what the commit has at `origin`, and the layer shows at `path`."""
        found = self._lower.find(origin)
        if found is None or (there is not None and found.same_as == there.same_as):
            return
        if not found.directory:
            yield _Step(path, None, origin, there)
            return
        if there is not None and not there.directory:
            yield _Step(path, there=there)
            there = None
        through = self._lower.listing(origin)
        listing = None if there is None else self._lower.listing(path)
        names = set()
        for shown in (through, listing, self._added(path)):
            if shown is not None:
                names.update(shown.names_between(0, shown.count))
        for name in sorted(names):
            below = self._there(listing, name)
            if through is not None and through.find(name) >= 0:
                yield from self._untouched(origin + b"/" + name, path + b"/" + name, below)
            else:
                yield _Step(path + b"/" + name, there=below)

    def _leave(self, folder: Nid, name: bytes, path: bytes, why: str) -> None:
        self.left.unsupported.append((path, why))
        self.left.entries.add((folder, name))

    @staticmethod
    def _there(listing: Listing | None, name: bytes) -> Found | None:
        row = -1 if listing is None else listing.find(name)
        if listing is None or row < 0:
            return None
        return Found(
            listing.is_directory(row), listing.hash(row), listing.sizes[row], listing.mtimes[row]
        )


def read_ignored(layer: Layer, lower: LowerTree, contents: Contents, name: bytes) -> Ignored:
    """Return what the file `name` in the root says is to be left out."""
    entry = layer.entry(ROOT, name)
    if entry is not None:
        node = None if entry.is_whiteout else layer.node(entry.nid)
        if node is None or not node.is_file:
            return Ignored()
        with contents.content(node).open() as file:
            return Ignored(file.read())
    found = lower.find(name)
    if found is None or found.directory:
        return Ignored()
    return Ignored(lower.read(name, found, 0, found.size))
