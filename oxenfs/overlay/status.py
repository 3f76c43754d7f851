"""What has changed: one item for each file that is new, different, gone or elsewhere."""

from __future__ import annotations

from oxenfs.errors import RemoteUnavailable
from oxenfs.overlay.changeset import read_ignored
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.item import Item
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import IGNORE_FILE, Ignored
from oxenfs.overlay.lower import Found, LowerTree
from oxenfs.overlay.nodes import ROOT, Entry, Nid, Node


def find_items(
    layer: Layer, lower: LowerTree, contents: Contents, *, sizes: bool = True
) -> list[Item]:
    """Return the changes, sorted by path; without `sizes` those of new files may be missing.

    Raises:
        RemoteUnavailable: the listing of a folder with changes is not kept, and cannot be had.
    """
    try:
        ignored = read_ignored(layer, lower, contents, IGNORE_FILE)
    except RemoteUnavailable:
        ignored = Ignored()  # rather too many changes than none
    return Status(layer, lower, contents, ignored, sizes=sizes).items()


class Status:
    """Finds out what a layer changes. For one thread.

    Only what the layer has is looked at; of the commit only what stands at the same place. Items
    are put into a list by whoever finds them: generators, one in another, took a third of the time.
    """

    def __init__(
        self,
        layer: Layer,
        lower: LowerTree,
        contents: Contents,
        ignored: Ignored,
        *,
        sizes: bool = True,
    ) -> None:
        """Compare `layer` with `lower`; without `sizes` those of new files are not looked at."""
        self._layer = layer
        self._lower = lower
        self._contents = contents
        self._ignored = ignored
        self._sizes = sizes
        self._away = False
        self._claimed: set[bytes] = set()
        self._found: list[Item] = []

    def items(self) -> list[Item]:
        """Return the changes, sorted by path."""
        root = self._layer.node(ROOT)
        assert root is not None
        self._found = []
        self._folder(ROOT, root, b"", b"", ignored=False)
        return sorted(self._found, key=lambda item: item.path)

    def _folder(
        self, nid: Nid, node: Node, path: bytes, base: bytes | None, *, ignored: bool
    ) -> None:
        """Find what is different in a folder from the commit's folder `base`.

        With `ignored` all that is new in it is left out by a commit.
        """
        prefix = path + b"/" if path else b""
        live = set()
        for name, entry in self._layer.entries(nid):
            below = None
            if base is not None and entry.covers:
                below = base + b"/" + name if base else name
            if not entry.is_whiteout:
                live.add(name)
                self._entry(prefix + name, entry, below, ignored=ignored)
            elif below is not None:
                self._gone(prefix + name, below)
        if base is not None and node.origin != base:
            # A new folder in the place of one of the commit: what it has not is gone.
            listing = self._lower.listing(base)
            for name in listing.names_between(0, listing.count) if listing is not None else ():
                if name not in live:
                    self._gone(prefix + name, base + b"/" + name)

    def _entry(self, path: bytes, entry: Entry, below: bytes | None, *, ignored: bool) -> None:
        if below is None and not ignored:
            ignored = self._ignored.matches(path)
        if below is None and entry.plain and not self._sizes:
            self._found.append(Item("A", path, None, None, ignored))
            return
        node = self._layer.node(entry.nid)
        if node is None:
            return
        if node.is_directory:
            self._directory(path, entry.nid, node, below, ignored=ignored)
        elif node.origin is not None and node.origin == below and not node.data:
            return
        else:
            self._file(path, node, below, ignored=ignored)

    def _directory(
        self, path: bytes, nid: Nid, node: Node, below: bytes | None, *, ignored: bool
    ) -> None:
        if node.origin is not None:
            if node.origin != below:
                self._add("R", path, old=node.origin)
                if below is not None:
                    self._gone(path, below)
            self._folder(nid, node, path, node.origin, ignored=ignored)
            return
        base = None
        if below is not None and not self._layer.is_elsewhere(below):
            found = self._lower.find(below)
            if found is not None and found.directory:
                base = below
            else:
                self._gone(path, below)
        before = len(self._found)
        self._folder(nid, node, path, base, ignored=ignored)
        if base is None and len(self._found) == before:
            self._add("A", path, ignored=ignored)

    def _file(self, path: bytes, node: Node, below: bytes | None, *, ignored: bool) -> None:
        origin = node.origin
        if below is None and origin is None:
            self._add("A", path, size=self._size(node), ignored=ignored)
            return
        size = self._size(node)
        renamed = (
            origin is not None
            and origin != below
            and origin not in self._claimed
            and self._layer.is_vacant(origin)
        )
        if renamed and origin is not None:
            self._claimed.add(origin)
            self._add("R", path, old=origin, size=size)
            there = self._lower.find(origin)
            if node.data and there is not None and not self._same(node, there):
                self._add("M", path, size=size, base=origin)
            return
        found = None if below is None else self._lower.find(below)
        if found is None:
            self._add("A", path, size=size, ignored=ignored)
        elif found.directory:
            self._gone(path, below or b"")
            self._add("A", path, size=size, ignored=ignored)
        elif not self._same(node, found):
            self._add("M", path, size=size, base=below)

    def _add(
        self,
        op: str,
        path: bytes,
        *,
        old: bytes | None = None,
        size: int | None = None,
        ignored: bool = False,
        base: bytes | None = None,
    ) -> None:
        self._found.append(Item(op, path, old, size, ignored, base))

    def _size(self, node: Node) -> int | None:
        return self._layer.facts(node).size if self._sizes else None

    def _same(self, node: Node, found: Found) -> bool:
        if not node.is_file or (self._away and node.limit is not None):
            return False
        try:
            return self._contents.is_same(node, found)
        except RemoteUnavailable:
            # It was written to, so it counts as changed; asking for the next one takes as long.
            self._away = True
            return False

    def _gone(self, path: bytes, below: bytes) -> None:
        """Find what is not there any more of what the commit has at `below`."""
        if self._layer.is_elsewhere(below):
            return
        found = self._lower.find(below)
        if found is None:
            return
        if not found.directory:
            self._add("D", path, base=below)
            return
        listing = self._lower.listing(below)
        for name in listing.names_between(0, listing.count) if listing is not None else ():
            self._gone(path + b"/" + name, below + b"/" + name)
