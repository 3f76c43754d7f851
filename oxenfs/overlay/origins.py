"""What the nodes of a layer show through to, once it stands on another commit.

A folder that was published shows what the commit made of it. One that is where its folder has it
goes along with that; any other stays with what it showed, wherever the commit has it still. Where
it has not, the folder is detached: all that showed through must be the layer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from oxenfs.overlay.layer import Layer
from oxenfs.overlay.lower import LowerTree
from oxenfs.overlay.nodes import Nid, Node, joined
from oxenfs.overlay.placed import Placed


class Through(NamedTuple):
    """What shows through a folder.

    Attributes:
        origin: the folder of the new commit; None if nothing does.
        was: the folder of the old commit.
        anew: `origin` has not shown through so far, and is to do so for what others added.
        detached: what showed through so far is nowhere in the new commit.
        lost: that is so because others removed it.
    """

    origin: bytes | None
    was: bytes | None = None
    anew: bool = False
    detached: bool = False
    lost: bool = False


class Origins:
    """Finds what shows through folders and files. For one thread."""

    def __init__(
        self,
        now: Layer,
        old: LowerTree,
        new: LowerTree,
        others: LowerTree,
        placed: Placed,
        given_up: Callable[[bytes], bool],
        detach: Container[bytes],
    ) -> None:
        """Find it for the nodes of `now`; see `Rebase` for the rest."""
        self._now = now
        self._old = old
        self._new = new
        self._others = others
        self._placed = placed
        self._given_up = given_up
        self._detach = detach

    def of_folder(
        self, nid: Nid, node: Node, name: bytes, place: bytes | None, parent: Through
    ) -> Through:
        """Return what shows through a folder.

        Args:
            nid: its number.
            node: the folder.
            name: its name.
            place: what the folder's parent shows in the new commit under that name; None: nothing.
            parent: what shows through that parent.
        """
        was = node.origin
        carried = _is_carried(node, name, parent)
        if carried and not parent.detached and not self._placed.is_left_out(nid):
            for there in (self._placed.path(nid), place):
                if there is not None and self._new.listing(there) is not None:
                    return Through(there, was)
            return Through(None, was)
        fixed = None if carried and parent.detached else self._fixed(nid, node)
        if fixed is not None:
            return Through(fixed, was, anew=was is None and fixed == place)
        if place is None or self._new.listing(place) is None or self._is_taken(nid, place):
            # What others put there is said name by name, so it must not be taken for hidden.
            place = None
        if was is None:
            return Through(place, anew=place is not None)
        lost = parent.lost if carried and parent.detached else self._others.listing(was) is None
        return Through(place, was, anew=place is not None, detached=True, lost=lost)

    def hidden(self, origin: bytes) -> Iterator[bytes]:
        """Yield the names in a folder of the new commit that others have not added to it."""
        old, others = self._old.listing(origin), self._others.listing(origin)
        listing = self._new.listing(origin)
        for name in () if listing is None else listing.names_between(0, listing.count):
            there = others is not None and others.find(name) >= 0
            if not there or (old is not None and old.find(name) >= 0):
                yield name

    def of_file(
        self, node: Node, name: bytes, place: bytes | None, parent: Through
    ) -> bytes | None:
        """Return where the new commit has what a file that stays shows through; None: nowhere."""
        if node.origin is None or (parent.detached and _is_carried(node, name, parent)):
            return None
        old = self._old.find(node.origin)
        for path in (node.origin, place):
            new = None if path is None else self._new.find(path)
            if old is not None and new is not None and old.same_as == new.same_as:
                return path
        return None

    def _fixed(self, nid: Nid, node: Node) -> bytes | None:
        """Return what a folder shows wherever it is; None if nothing does."""
        then, was = self._placed.path(nid), node.origin
        if was is None:
            # In the place of a folder of the commit, what that had is said name by name.
            is_ours = then is not None and self._old.listing(then) is None
            there = then if is_ours else None
        elif then not in (None, was):
            there = then
        else:
            there = None if self._placed.is_left_out(nid) or was in self._detach else was
        return there if there is not None and self._new.listing(there) is not None else None

    def _is_taken(self, nid: Nid, place: bytes) -> bool:
        """Return whether a folder of the commit shows through elsewhere."""
        for other in (self._now.of_origin(place), self._placed.at(place)):
            if other in (None, nid):
                continue
            node, path = self._now.node(other), self._now.path(other)
            if node is None or path is None or self._given_up(path):
                continue
            if self._fixed(other, node) == place:
                return True
        return False


def _is_carried(node: Node, name: bytes, parent: Through) -> bool:
    """Return whether something is where its folder has it."""
    return parent.was is not None and node.origin == joined(parent.was, name)
