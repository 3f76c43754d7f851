"""What has changed: one item for each file that is new, different, gone or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from oxenfs.overlay.contents import Contents
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import Ignored
from oxenfs.overlay.lower import Found, LowerTree
from oxenfs.overlay.nodes import ROOT, Entry, Nid, Node


class Item(NamedTuple):
    """One change.

    Attributes:
        op: `A` new, `M` other bytes, `D` gone, `R` renamed from `old`.
        size: in bytes; None of what is gone, and of a folder.
        ignored: whether a commit leaves it out without being asked to.
        base: where the commit has what it is compared with; None if it has nothing.
    """

    op: str
    path: bytes
    old: bytes | None
    size: int | None
    ignored: bool = False
    base: bytes | None = None


class Status:
    """Finds out what a layer changes. For one thread.

    Only what the layer has is looked at; of the commit only what stands at the same place.
    """

    def __init__(
        self, layer: Layer, lower: LowerTree, contents: Contents, ignored: Ignored
    ) -> None:
        """Compare `layer` with `lower`."""
        self._layer = layer
        self._lower = lower
        self._contents = contents
        self._ignored = ignored
        self._claimed: set[bytes] = set()

    def items(self) -> list[Item]:
        """Return the changes, sorted by path."""
        root = self._layer.node(ROOT)
        assert root is not None
        found = [
            item._replace(ignored=item.op == "A" and self._is_ignored(item.path))
            for item in self._folder(ROOT, root, b"", b"")
        ]
        return sorted(found, key=lambda item: item.path)

    def _is_ignored(self, path: bytes) -> bool:
        parts = path.split(b"/")
        return any(
            self._ignored.matches(b"/".join(parts[: length + 1])) for length in range(len(parts))
        )

    def _folder(self, nid: Nid, node: Node, path: bytes, base: bytes | None) -> Iterator[Item]:
        """Yield what is different in a folder from the commit's folder `base`."""
        prefix = path + b"/" if path else b""
        live = set()
        for name, entry in self._layer.entries(nid):
            below = None
            if base is not None and entry.covers:
                below = base + b"/" + name if base else name
            if not entry.is_whiteout:
                live.add(name)
                yield from self._entry(prefix + name, entry, below)
            elif below is not None:
                yield from self._gone(prefix + name, below)
        if base is not None and node.origin != base:
            # A new folder in the place of one of the commit: what it has not is gone.
            listing = self._lower.listing(base)
            for name in listing.names_between(0, listing.count) if listing is not None else ():
                if name not in live:
                    yield from self._gone(prefix + name, base + b"/" + name)

    def _entry(self, path: bytes, entry: Entry, below: bytes | None) -> Iterator[Item]:
        node = self._layer.node(entry.nid)
        if node is None:
            return
        if node.is_directory:
            yield from self._directory(path, entry.nid, node, below)
        elif node.origin is not None and node.origin == below and not node.data:
            return
        else:
            yield from self._file(path, node, below)

    def _directory(self, path: bytes, nid: Nid, node: Node, below: bytes | None) -> Iterator[Item]:
        if node.origin is not None:
            if node.origin != below:
                yield Item("R", path, node.origin, None)
                if below is not None:
                    yield from self._gone(path, below)
            yield from self._folder(nid, node, path, node.origin)
            return
        base = None
        if below is not None and not self._layer.is_elsewhere(below):
            found = self._lower.find(below)
            if found is not None and found.directory:
                base = below
            else:
                yield from self._gone(path, below)
        empty = True
        for item in self._folder(nid, node, path, base):
            empty = False
            yield item
        if empty and base is None:
            yield Item("A", path, None, None)

    def _file(self, path: bytes, node: Node, below: bytes | None) -> Iterator[Item]:
        size = self._layer.facts(node).size
        origin = node.origin
        renamed = (
            origin is not None
            and origin != below
            and origin not in self._claimed
            and self._layer.is_vacant(origin)
        )
        if renamed and origin is not None:
            self._claimed.add(origin)
            yield Item("R", path, origin, size)
            there = self._lower.find(origin)
            if node.data and there is not None and not self._same(node, there):
                yield Item("M", path, None, size, base=origin)
            return
        found = None if below is None else self._lower.find(below)
        if found is None:
            yield Item("A", path, None, size)
        elif found.directory:
            yield from self._gone(path, below or b"")
            yield Item("A", path, None, size)
        elif not self._same(node, found):
            yield Item("M", path, None, size, base=below)

    def _same(self, node: Node, found: Found) -> bool:
        return node.is_file and self._contents.is_same(node, found)

    def _gone(self, path: bytes, below: bytes) -> Iterator[Item]:
        """Yield what is not there any more of what the commit has at `below`."""
        if self._layer.is_elsewhere(below):
            return
        found = self._lower.find(below)
        if found is None:
            return
        if not found.directory:
            yield Item("D", path, None, None, base=below)
            return
        listing = self._lower.listing(below)
        for name in listing.names_between(0, listing.count) if listing is not None else ():
            yield from self._gone(path + b"/" + name, below + b"/" + name)


def item_json(item: Item) -> dict[str, Any]:
    """Return a change as it goes over the socket and into `--json`."""
    return {
        "op": item.op,
        "path": os.fsdecode(item.path),
        "old": None if item.old is None else os.fsdecode(item.old),
        "size": item.size,
        "ignored": item.ignored,
        "base": None if item.base is None else os.fsdecode(item.base),
    }
