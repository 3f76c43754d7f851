"""A layer on another commit: after its own was made, or after others' were.

What the new commit has as well is dropped; everything else stays what it is, by path. So nobody has
to know what was published: after a crash in the middle of a commit the same rule holds. What a node
shows through is looked for in the new commit; where that has something else, the node must first
get bytes of its own.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from oxenfs.errors import Conflict
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.index import ENTRIES, NODES, ORIGINS, PIECES, XATTRS
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
    node_key,
    origin_key,
    pack_entry,
    pack_node,
)
from oxenfs.overlay.standing import CONFLICTS, base_edits

_EDITS_AT_ONCE = 2000


@dataclass(slots=True)
class Outcome:
    """What became of the nodes.

    Attributes:
        dropped: nodes that are not in the layer any more.
        returned: those of them that are folders which stay where they are, as the commit's.
        revived: those of them whose origin the commit still has, as it was.
        names: where entries are seen differently now: folder and name.
        turned: folders through which another folder of the commit shows now, or none, and which
            one did before.
        garbage: files of bytes that nothing refers to any more.
        conflicts: paths that stay changed and that others changed too.
        incomplete: files that need bytes the new commit does not have where they look for them;
            with any of these, the rest is of no use.
    """

    dropped: set[Nid] = field(default_factory=set)
    returned: set[Nid] = field(default_factory=set)
    revived: set[Nid] = field(default_factory=set)
    names: list[tuple[Nid, bytes]] = field(default_factory=list)
    turned: list[tuple[Nid, bytes]] = field(default_factory=list)
    garbage: list[Nid] = field(default_factory=list)
    conflicts: list[bytes] = field(default_factory=list)
    incomplete: list[Nid] = field(default_factory=list)


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
        path_then: Callable[[Nid], bytes | None] = lambda nid: None,
        given_up: Callable[[bytes], bool] = lambda path: False,
        keep_mine: Callable[[bytes], bool] = lambda path: False,
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
            path_then: where a folder was when it was published; None if it was not.
            given_up: of which paths the changes are dropped.
            keep_mine: which paths are no conflict, whatever others did.
            held: files that somebody has open.
            numbered: whether a folder that is the commit's keeps the number that programs know.
        """
        self._now = now
        self._old = old
        self._new = new
        self._contents = contents
        self._others = others or new
        self._path_then = path_then
        self._given_up = given_up
        self._keep_mine = keep_mine
        self._held = held
        self._numbered = numbered
        self._links: dict[Nid, int] = {}
        self.outcome = Outcome()

    def records(self, branch: str | None) -> Iterator[list[Edit]]:
        """Yield the layer on top of the new commit, which is of `branch`.

        Raises:
            Conflict: a renamed folder's origin is gone.
        """
        edits = list(base_edits(self._new.commit, branch))
        root = self._now.node(ROOT)
        assert root is not None
        for edit in self._folder(ROOT, b"", b""):
            edits.append(edit)
            if len(edits) >= _EDITS_AT_ONCE:
                yield edits
                edits = []
        edits += self._node(ROOT, root._replace(nlink=self._links[ROOT], origin=b""))
        if self.outcome.conflicts:
            packed = b"\0".join(self.outcome.conflicts)
            edits.append(Edit(CONFLICTS[0], CONFLICTS[1], packed))
        yield edits

    def _folder(
        self, nid: Nid, path: bytes, origin: bytes | None, *, anew: bool = False
    ) -> Iterator[Edit]:
        """Yield the edits of what is in a folder.

        Args:
            nid: the folder.
            path: where it is.
            origin: which folder of the new commit shows through.
            anew: `origin` has not shown through so far, and is to do so for what others added.
        """
        listing = None if origin is None else self._new.listing(origin)
        subfolders = 0 if listing is None else bytes(listing.kinds).count(0)
        prefix = path + b"/" if path else b""
        own = set()
        for name, entry in self._now.entries(nid):
            if anew:
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
                    self.outcome.names.append((nid, name))
                continue
            node = self._now.node(entry.nid)
            if node is None:
                continue
            place = None
            if below and origin is not None:
                place = origin + b"/" + name if origin else name
            if node.is_directory:
                edits = list(self._subfolder(entry.nid, node, where, place))
            else:
                edits = list(self._file(entry.nid, node, where, place))
            if not edits and entry.nid not in self.outcome.returned:
                self.outcome.names.append((nid, name))
            if edits:
                subfolders += node.is_directory - covered
                # With nothing of the commit below, a file gets no origin either.
                yield _entry(nid, name, Entry(entry.nid, below, entry.plain and not below))
                yield from edits
        for name in self._hidden(origin) if anew and origin is not None else ():
            if name not in own and not self._given_up(prefix + name):
                self._check(prefix + name)
                subfolders -= listing is not None and listing.is_directory(listing.find(name))
                yield _entry(nid, name, Entry(WHITEOUT, covers=True))
        self._links[nid] = 2 + subfolders

    def _hidden(self, origin: bytes) -> Iterator[bytes]:
        """Yield the names in a folder of the new commit that others have not added to it."""
        old, others = self._old.listing(origin), self._others.listing(origin)
        listing = self._new.listing(origin)
        for name in () if listing is None else listing.names_between(0, listing.count):
            there = others is not None and others.find(name) >= 0
            if not there or (old is not None and old.find(name) >= 0):
                yield name

    def _file(self, nid: Nid, node: Node, path: bytes, place: bytes | None) -> Iterator[Edit]:
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
        yield from self._node(nid, node._replace(origin=self._origin(nid, node, place)))

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

    def _subfolder(self, nid: Nid, node: Node, path: bytes, place: bytes | None) -> Iterator[Edit]:
        """Yield the edits that keep a folder; none if it is dropped."""
        given_up = self._given_up(path)
        if given_up and (node.origin != path or place is None):
            list(self._folder(nid, path, None))
            self._drop(nid, node)
            return
        origin = self._folder_origin(nid, node, path, place)
        anew = node.origin is None and origin == place
        inside = list(self._folder(nid, path, origin, anew=anew))
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
        if origin is None and node.origin == path and not inside:
            # Others have removed it, and nothing of it was changed here.
            self._drop(nid, node)
            return
        if node.origin is not None and node.origin != origin:
            self.outcome.turned.append((nid, node.origin))
        yield from self._node(nid, node._replace(origin=origin, nlink=self._links[nid]))
        yield from inside

    def _folder_origin(
        self, nid: Nid, node: Node, path: bytes, place: bytes | None
    ) -> bytes | None:
        """Return which folder of the new commit shows through."""
        if node.origin not in (None, path) and self._others is self._new:
            self._check(path)
        then = self._published_as(nid, node, path, place)
        if then is not None:
            return then
        if node.origin is None:
            # Made anew, where the commit has a folder too: what it hides is said name by name, so
            # that theirs can come back, and what others add is seen.
            if place is None or self._new.listing(place) is None or self._is_taken(place):
                return None
            return place
        if self._new.listing(node.origin) is not None:
            return node.origin
        if node.origin != path:
            raise Conflict(
                f"{_shown(node.origin)}, which is renamed here to {_shown(path)}, is gone in the "
                "new commit; restore it, or commit to a new branch (-b)",
                (path,),
            )
        return None

    def _published_as(self, nid: Nid, node: Node, path: bytes, place: bytes | None) -> bytes | None:
        """Return which folder is new in the new commit and is this one, None if there is none."""
        published = self._others is not self._new
        # Published under this path; or others made a folder of that name too.
        here = place if node.origin is None or (published and node.origin != path) else None
        for then in (self._path_then(nid), here):
            if then is None or self._old.listing(then) is not None:
                continue
            if self._new.listing(then) is not None:
                return then
        return None

    def _is_taken(self, place: bytes) -> bool:
        """Return whether a folder of the commit goes on to show through elsewhere."""
        nid = self._now.of_origin(place)
        node = None if nid is None else self._now.node(nid)
        path = None if nid is None else self._now.path(nid)
        if nid is None or node is None or path is None or self._given_up(path):
            return False
        return self._published_as(nid, node, path, path) is None

    def _origin(self, nid: Nid, node: Node, place: bytes | None) -> bytes | None:
        """Return where the new commit has what a file that stays shows through."""
        if node.origin is None:
            return None
        old, new = self._old.find(node.origin), self._new.find(node.origin)
        if old is not None and new is not None and old.same_as == new.same_as:
            return node.origin
        at_place = None if place is None else self._new.find(place)
        if old is not None and at_place is not None and old.same_as == at_place.same_as:
            return place
        if not node.data or node.limit is not None:
            self.outcome.incomplete.append(nid)
        return None

    def _check(self, path: bytes) -> None:
        """Note a conflict, if others changed what stays changed here."""
        if self._keep_mine(path):
            return
        old, others = self._old.find(path), self._others.find(path)
        if (None if old is None else old.same_as) != (None if others is None else others.same_as):
            self.outcome.conflicts.append(path)

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


def _shown(path: bytes) -> str:
    return repr(path.decode("utf-8", "replace"))


def _entry(nid: Nid, name: bytes, entry: Entry) -> Edit:
    return Edit(ENTRIES, node_key(nid) + name, pack_entry(entry))
