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
from oxenfs.overlay.nodes import ROOT, Entry, Nid, Node, joined
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
    """One step: a removal, or a file of the layer or of the commit to be put at a path.

    Attributes:
        conflict: that is known already.
    """

    path: bytes
    node: Node | None = None
    origin: bytes | None = None
    there: Found | None = None
    conflict: bool = False


class ChangeSet:
    """The changes of a layer. For one thread.

    Attributes:
        left: what is not in it; complete after `survey`.
        folders: the layer's folders that are in it, and where; complete after `survey`.
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
        self.folders: dict[Nid, bytes] = {}
        # Whose additions to renamed folders count as steps.
        self._new: LowerTree | None = None

    def survey(self) -> int:
        """Return how many changes there are at the most, and find what is left out."""
        self.left = Left()
        self.folders = {}
        return sum(1 for _ in self._steps())

    def changes(self) -> Iterator[Change]:
        """Yield the change set in tree order."""
        self.left = Left()
        for path, node, origin, there, _ in self._steps():
            if node is not None:
                if there is None or there.directory or not self._contents.is_same(node, there):
                    yield Put(path, self._contents.content(node))
            elif origin is not None:
                found = self._lower.find(origin)
                if found is not None:
                    yield Put(path, self._lower.content(origin, found))
            else:
                yield Remove(path)

    def conflicts(self, new: LowerTree, *, hiding: bool) -> Iterator[bytes]:
        """Yield the paths that are changed here, and to something else in the commit `new`.

        With `hiding` also what is new in `new` where a renamed folder hides it, and what is in a
        renamed folder that `new` has not any more: a commit adds to what is there and hides
        nothing, a layer on top of `new` would.
        """
        self.left = Left()
        self._new = new if hiding else None
        for path, node, origin, there, conflict in self._steps():
            if conflict:
                yield path
                continue
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
        yield from self._folder(ROOT, root, b"", exists=True, moved=False)

    def _folder(
        self, nid: Nid, node: Node, path: bytes, *, exists: bool, moved: bool
    ) -> Iterator[_Step]:
        """Yield the steps of a folder.

        Args:
            nid: its number.
            node: the folder.
            path: where it is.
            exists: the commit has a folder at `path` too.
            moved: a folder above it was renamed.
        """
        self.folders[nid] = path
        if exists and node.origin == path:
            listing = self._lower.listing(path)
            for name, entry in self._layer.entries(nid):
                at, there = joined(path, name), self._there(listing, name)
                yield from self._entry(nid, at, entry, there, moved=moved)
            return
        steps = self._merged(nid, node, path, exists=exists, moved=moved or node.origin is not None)
        if not self._is_lost(node):
            yield from steps
            return
        for step in steps:
            came = step.origin is not None or (step.node is not None and step.node.origin)
            yield step._replace(conflict=step.conflict or bool(came))

    def _is_lost(self, node: Node) -> bool:
        """Return whether others have removed what a folder shows, which was renamed."""
        new, above = self._new, self._layer.node(node.parent)
        if new is None or node.origin is None or new.listing(node.origin) is not None:
            return False
        # What is in such a folder is, too; elsewhere it goes along with its own.
        if above is None or above.origin is None:
            return True
        return node.origin != joined(above.origin, node.name)

    def _merged(
        self, nid: Nid, node: Node, path: bytes, *, exists: bool, moved: bool
    ) -> Iterator[_Step]:
        """Yield the steps of a folder that is not what the commit has in its place."""
        listing = self._lower.listing(path) if exists else None
        own = dict(self._layer.entries(nid))
        through = None if node.origin is None else self._lower.listing(node.origin)
        names = set(own)
        # In a new folder in its own place, what others add is seen.
        added = self._added(path) if moved else None
        for shown in (through, listing, added):
            if shown is not None:
                names.update(shown.names_between(0, shown.count))
        for name in sorted(names):
            at, there = joined(path, name), self._there(listing, name)
            if name in own:
                yield from self._entry(nid, at, own[name], there, moved=moved)
            elif through is not None and through.find(name) >= 0:
                assert node.origin is not None
                yield from self._untouched(joined(node.origin, name), at, there)
            else:
                yield _Step(at, there=there)

    def _added(self, path: bytes) -> Listing | None:
        """Return what others have where a folder is that was renamed, or is in such a one."""
        return None if self._new is None else self._new.listing(path)

    def _entry(
        self, folder: Nid, path: bytes, entry: Entry, there: Found | None, *, moved: bool
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
            yield from self._directory(folder, entry.nid, node, path, there, moved=moved)
        elif node.origin != path or node.data or there is None:
            if node.mode & _EXECUTABLE:
                self.left.executable.append(path)
            yield _Step(path, node, None, there)

    def _directory(
        self,
        folder: Nid,
        nid: Nid,
        node: Node,
        path: bytes,
        there: Found | None,
        *,
        moved: bool,
    ) -> Iterator[_Step]:
        if there is not None and there.directory:
            yield from self._folder(nid, node, path, exists=True, moved=moved)
            return
        in_the_way = None if self._new is None else self._new.find(path)
        if in_the_way is not None and not in_the_way.directory and in_the_way != there:
            yield _Step(path, there=there, conflict=True)
        some = False
        for step in self._folder(nid, node, path, exists=False, moved=moved):
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
    return Ignored(lower.whole(name, found))
