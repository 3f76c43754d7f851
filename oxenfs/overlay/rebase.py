"""A layer on another commit: after its own was made, or after others' were.

What the new commit has as well is dropped; everything else stays what it is, by path. So nobody has
to know what was published: after a crash in the middle of a commit the same rule holds. What a node
shows through is looked for in the new commit; where that has something else, the node must first
get bytes of its own.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Container, Iterator

from oxenfs.overlay.contents import Contents
from oxenfs.overlay.index_fill import ENTRIES, NODES, ORIGINS, PIECES, XATTRS
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.lower import Found, LowerTree
from oxenfs.overlay.nodes import (
    DIRECTORY_MODE,
    FILE_MODE,
    ROOT,
    WHITEOUT,
    Entry,
    Nid,
    Node,
    joined,
    node_key,
    origin_key,
    pack_entry,
    pack_node,
)
from oxenfs.overlay.origins import Origins, Through
from oxenfs.overlay.outcome import EDITS_AT_ONCE, Outcome
from oxenfs.overlay.placed import Placed
from oxenfs.overlay.standing import CONFLICTS, base_edits

_NOWHERE = Placed()


class Rebase:
    """Moves one layer from commit to commit. For one thread, while nothing changes the layer.

    Attributes:
        outcome: complete when all of `records` was taken.
    """

    def __init__(
        self,
        now: Layer,
        old: LowerTree,
        new: LowerTree,
        contents: Contents,
        *,
        others: LowerTree | None = None,
        placed: Placed = _NOWHERE,
        given_up: Callable[[bytes], bool] = lambda path: False,
        keep_mine: Callable[[bytes], bool] = lambda path: False,
        detach: Container[bytes] = frozenset(),
        held: frozenset[Nid] = frozenset(),
        numbered: Callable[[Nid], bool] = lambda nid: True,
    ) -> None:
        """Move a layer from `old` to `new`.

        Args:
            now: the layer.
            old: what it stands on.
            new: what it is to stand on.
            contents: of `now` over `old`.
            others: `new` without what this layer put in; None: `new` has nothing of it.
            placed: where folders were when they were published.
            given_up: of which paths the changes are dropped.
            keep_mine: which paths are no conflict, whatever others did.
            detach: of which folders of `old` those that show them elsewhere take all as their own.
            held: files that somebody has open.
            numbered: whether a folder that is the commit's keeps the number that programs know.
        """
        self._now = now
        self._old = old
        self._new = new
        self._contents = contents
        self._others = others or new
        self._given_up = given_up
        self._keep_mine = keep_mine
        self._held = held
        self._numbered = numbered
        self._origins = Origins(now, old, new, self._others, placed, given_up, detach)
        self._links: dict[Nid, int] = {}
        self.outcome = Outcome()

    def records(self, branch: str | None) -> Iterator[list[Edit]]:
        """Yield the layer on top of the new commit, which is of `branch`."""
        edits = list(base_edits(self._new.commit, branch))
        root = self._now.node(ROOT)
        assert root is not None
        for edit in self._folder(ROOT, b"", Through(b"", b"")):
            edits.append(edit)
            if len(edits) >= EDITS_AT_ONCE:
                yield edits
                edits = []
        edits += self._node(ROOT, root._replace(nlink=self._links[ROOT], origin=b""))
        if self.outcome.conflicts:
            packed = b"\0".join(self.outcome.conflicts)
            edits.append(Edit(CONFLICTS[0], CONFLICTS[1], packed))
        yield edits

    def _folder(self, nid: Nid, path: bytes, through: Through) -> Iterator[Edit]:
        """Yield the edits of what is in a folder, which is at `path`."""
        origin = through.origin
        listing = None if origin is None else self._new.listing(origin)
        subfolders = 0 if listing is None else bytes(listing.kinds).count(0)
        prefix = path + b"/" if path else b""
        own = set()
        for name, entry in self._now.entries(nid):
            if through.anew or through.detached:
                own.add(name)
            row = -1 if listing is None else listing.find(name)
            below = row >= 0
            covered = below and listing is not None and listing.is_directory(row)
            where = prefix + name
            if entry.is_whiteout:
                if below and not self._given_up(where):
                    self._check(where)
                    subfolders -= covered
                    yield _entry(nid, name, Entry(WHITEOUT, covers=True))
                else:
                    self._changed(nid, name, below=below)
                continue
            node = self._now.node(entry.nid)
            if node is None:
                continue
            place = joined(origin, name) if below and origin is not None else None
            if node.is_directory:
                edits = list(self._subfolder(entry.nid, node, where, place, through))
            else:
                edits = list(self._file(entry.nid, node, where, place, through))
            if not edits and entry.nid not in self.outcome.returned:
                self._changed(nid, name, below=below)
            if edits:
                subfolders += node.is_directory - covered
                # With nothing of the commit below, a file gets no origin either.
                yield _entry(nid, name, Entry(entry.nid, below, entry.plain and not below))
                yield from edits
        for name in self._origins.hidden(origin) if through.anew and origin is not None else ():
            if name not in own and not self._given_up(prefix + name):
                self._check(prefix + name)
                subfolders -= listing is not None and listing.is_directory(listing.find(name))
                yield _entry(nid, name, Entry(WHITEOUT, covers=True))
        if through.detached and self._is_untaken(prefix, through.was, own):
            self.outcome.incomplete.append(nid)
        self._links[nid] = 2 + subfolders

    def _changed(self, nid: Nid, name: bytes, *, below: bool) -> None:
        """Note a name that the layer has nothing for any more; `below`: the commit has."""
        self.outcome.names.append((nid, name))
        if below:
            self.outcome.revealed.append((nid, name))

    def _is_untaken(self, prefix: bytes, was: bytes | None, own: set[bytes]) -> bool:
        """Return whether something still shows through from the old commit that is to stay."""
        listing = None if was is None else self._old.listing(was)
        names = () if listing is None else listing.names_between(0, listing.count)
        return any(name not in own and not self._given_up(prefix + name) for name in names)

    def _file(
        self, nid: Nid, node: Node, path: bytes, place: bytes | None, parent: Through
    ) -> Iterator[Edit]:
        """Yield the edits that keep what is no folder; none if it is dropped."""
        if self._given_up(path):
            self._drop(nid, node)
            return
        found = None if place is None else self._new.find(place)
        if found is not None and not found.directory and node.is_file:
            untouched = not node.data and node.origin is not None and node.origin == place
            if untouched or self._contents.is_same(node, found):
                yield from self._clean(nid, node, place, found)
                return
        self._check(path)
        if parent.lost and node.origin is not None and not self._keep_mine(path):
            self.outcome.conflicts.append(path)
        origin = self._origins.of_file(node, path.rpartition(b"/")[2], place, parent)
        if origin is None and node.origin is not None and not (node.data and node.limit is None):
            self.outcome.incomplete.append(nid)
        yield from self._node(nid, node._replace(origin=origin))

    def _clean(self, nid: Nid, node: Node, place: bytes | None, found: Found) -> Iterator[Edit]:
        """Yield what is left of a file that the new commit has: what that cannot tell."""
        same = self._contents.is_same(node, found)
        if nid in self._held and same:
            # Open: it stays as it is, and is no change.
            yield from self._node(nid, node._replace(origin=place))
        elif self._has_leftovers(nid, node, FILE_MODE):
            if node.data:
                self.outcome.garbage.append(node.data)
            mtime_ns = self._now.facts(node).mtime_ns if same else found.mtime_ns
            left = node._replace(origin=place, data=0, limit=None, nlink=1, size=found.size)
            yield from self._node(nid, left._replace(mtime_ns=mtime_ns))
        else:
            self._drop(nid, node)

    def _subfolder(
        self, nid: Nid, node: Node, path: bytes, place: bytes | None, parent: Through
    ) -> Iterator[Edit]:
        """Yield the edits that keep a folder; none if it is dropped."""
        given_up = self._given_up(path)
        if given_up and (node.origin != path or place is None):
            list(self._folder(nid, path, Through(None)))
            self._drop(nid, node)
            return
        name = path.rpartition(b"/")[2]
        through = self._origins.of_folder(nid, node, name, place, parent)
        origin = through.origin
        if node.origin not in (None, path) and self._others is self._new and not through.detached:
            self._check_hidden(path)
        inside = list(self._folder(nid, path, through))
        if (
            origin is not None
            and origin == place
            and not inside
            # Only then the commit calls it by the number that programs know.
            and (node.origin == path and self._numbered(nid))
            and (given_up or not self._has_leftovers(nid, node, DIRECTORY_MODE))
        ):
            self.outcome.dropped.add(nid)
            # Whoever stands in it must not lose it: its number stays.
            self.outcome.returned.add(nid)
            return
        removed = through.lost or (origin is None and not through.detached)
        if node.origin is not None and removed and not inside:
            # By others, and nothing of it was changed here.
            self._drop(nid, node)
            return
        if node.origin is not None and node.origin != origin:
            self.outcome.turned.append((nid, node.origin))
        yield from self._node(nid, node._replace(origin=origin, nlink=self._links[nid]))
        yield from inside

    def _check(self, path: bytes) -> None:
        """Note a conflict, if others changed what stays changed here."""
        if self._keep_mine(path):
            return
        old, others = self._old.find(path), self._others.find(path)
        if (None if old is None else old.same_as) != (None if others is None else others.same_as):
            self.outcome.conflicts.append(path)

    def _check_hidden(self, path: bytes) -> None:
        """Note what others have where a renamed folder is, which hides it."""
        listing = self._new.listing(path)
        for row in range(0 if listing is None else listing.count):
            assert listing is not None
            if not listing.is_directory(row):
                self._check(joined(path, listing.name(row)))

    def _has_leftovers(self, nid: Nid, node: Node, mode: int) -> bool:
        return stat.S_IMODE(node.mode) != stat.S_IMODE(mode) or bool(self._now.xattrs(nid))

    def _drop(self, nid: Nid, node: Node) -> None:
        self.outcome.dropped.add(nid)
        if node.origin is not None:
            old, new = self._old.find(node.origin), self._new.find(node.origin)
            if old is not None and new is not None:
                same = old.same_as == new.same_as or (old.directory and new.directory)
                self.outcome.revived |= {nid} if same else set()
        if node.data and nid not in self._held:
            self.outcome.garbage.append(node.data)

    def _node(self, nid: Nid, node: Node) -> Iterator[Edit]:
        yield Edit(NODES, node_key(nid), pack_node(node))
        if node.origin is not None:
            yield Edit(ORIGINS, origin_key(node.origin), node_key(nid))
        if node.limit is not None and node.data:
            yield Edit(PIECES, node_key(node.data), self._now.pieces(node.data).pack())
        for name, value in self._now.xattrs(nid):
            yield Edit(XATTRS, node_key(nid) + name, value)


def _entry(nid: Nid, name: bytes, entry: Entry) -> Edit:
    return Edit(ENTRIES, node_key(nid) + name, pack_entry(entry))
