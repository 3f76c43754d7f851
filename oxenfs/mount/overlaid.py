"""Which inode is which node of an overlay.

What is untouched has the inode that the lower tree gives it, and keeps it when it is promoted.
What the overlay has brought with it from an earlier mount, or made, has one by its own number.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable

import trio

from oxenfs.errors import NotADirectory, NotFound, ReadOnly, RenumberedInode, StaleRevision
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.inodes import Inodes
from oxenfs.overlay.nodes import ROOT as ROOT_NODE
from oxenfs.overlay.nodes import Nid
from oxenfs.store.columns import Listing
from oxenfs.views.overlay import Overlay

# Far above what the lower tree gives out, and still exact in a float.
_OWN: Inode = 1 << 52
_NAMES_AT_ONCE = 1000


class OverlayInodes:
    """Inodes of the merged tree, and of the lower tree below it. Used from one trio loop."""

    def __init__(self, overlay: Overlay, inodes: Inodes) -> None:
        """Know the nodes of `overlay`; `inodes` gives out the lower tree's numbers."""
        self._overlay = overlay
        self._inodes = inodes
        self._nid_of: dict[Inode, Nid] = {ROOT: ROOT_NODE}
        self._inode_of: dict[Nid, Inode] = {ROOT_NODE: ROOT}
        # Of folders: what the lower tree calls their origin.
        self._lower: dict[Nid, Inode] = {ROOT_NODE: ROOT}
        # Folders with the number of what showed through before something else did.
        self._turned: set[Nid] = set()
        # Whatever was dropped when the commit below was exchanged.
        self._dead: set[Inode] = set()

    def nid(self, inode: Inode) -> Nid | None:
        """Return the node with that number; None if it is untouched.

        Raises:
            RenumberedInode: it was a node's that is the commit's now. The kernel looks it up again.
        """
        nid = inode - _OWN if inode >= _OWN else self._nid_of.get(inode)
        if self._dead and inode in self._dead:
            raise RenumberedInode(f"inode {inode} is in the commit by now")
        return nid

    def inode(self, nid: Nid) -> Inode:
        """Return the number of a node."""
        return self._inode_of.get(nid) or nid + _OWN

    def row(self, parent: Inode, listing: Listing, row: int) -> Inode:
        """Return the number of a row of the listing of a lower directory."""
        return self._inodes.given.children(parent, listing).inode(row)

    async def lower(self, folder: Nid) -> Inode:
        """Return what the lower tree calls the origin of a folder that has one."""
        found = self._lower.get(folder)
        if found is None:
            origin = self._overlay.upper.node(folder).origin
            assert origin is not None
            found = self._lower[folder] = await self._number(origin)
            self._nid_of.setdefault(found, folder)
        return found

    async def _number(self, path: bytes) -> Inode:
        """Return the number of a directory of the lower tree."""
        found = ROOT
        for name in path.split(b"/") if path else ():
            listing = await (await self._inodes.directory(found)).listing()
            row = listing.find(name)
            if row < 0:
                raise NotFound(f"{path!r} is not in the commit any more")
            found = self.row(found, listing, row)
        return found

    async def promoted(self, inode: Inode) -> Nid:
        """Return the node with that number, promoted if it is untouched.

        Raises:
            ReadOnly: it is nothing of the commit, as `.oxenfs`.
        """
        nid = self.nid(inode)
        if nid is not None:
            return nid
        if self._inodes.is_made(inode):
            raise ReadOnly("that is made by the mount, and cannot be changed")
        if not await self._inodes.is_current(inode):
            raise StaleRevision(f"inode {inode} is of a revision that is gone")
        return await self._promoted_lower(inode)

    async def _promoted_lower(self, inode: Inode) -> Nid:
        """Return the node of what has that number in the lower tree.

        Which may not be the node that programs know by it: a folder that was renamed, and
        committed, keeps its number, and so does in the lower tree what is in its old place now.
        """
        path = await self._inodes.path(inode)
        found = self._overlay.upper.of_origin(path)
        if found is not None:
            return found
        above = await self._promoted_lower(self._inodes.parent(inode))
        nid = await self._overlay.promote(above, path)
        if self._nid_of.setdefault(inode, nid) == nid:
            self._inode_of.setdefault(nid, inode)
        if self._overlay.upper.node(nid).is_directory:
            self._lower[nid] = inode
        return nid

    async def child(self, parent: Nid, name: bytes) -> Nid:
        """Return the node of a name in a folder, promoted if it is untouched; raise `NotFound`."""
        entry = self._overlay.upper.entry(parent, name)
        if entry is not None:
            if entry.is_whiteout:
                raise NotFound(f"no {name!r}")
            return entry.nid
        listing = await self._overlay.below(parent)
        row = -1 if listing is None else listing.find(name)
        if listing is None or row < 0:
            raise NotFound(f"no {name!r}")
        return await self.promoted(self.row(await self.lower(parent), listing, row))

    async def promote_all(self, folder: Nid) -> None:
        """Promote all that shows through a folder."""
        listing = await self._overlay.below(folder)
        for name in () if listing is None else listing.names_between(0, listing.count):
            if self._overlay.upper.entry(folder, name) is None:
                await self.child(folder, name)

    async def renumber(
        self, revealed: Iterable[tuple[Nid, bytes]], left: Iterable[bytes]
    ) -> list[Inode]:
        """Let what is about to be seen again have numbers that mean nothing else.

        Return the files that keep theirs.

        Args:
            revealed: names of the commit that the layer has covered so far: folder and name.
            left: folders of the commit that show through another folder no more.
        """
        upper, held = self._overlay.upper, self._overlay.upper.held()
        keeping: list[Inode] = []
        wanted: dict[bytes, set[bytes]] = {}
        for path in left:
            parent, _, name = path.rpartition(b"/")
            wanted.setdefault(parent, set()).add(name)
        for folder, names in itertools.groupby(revealed, key=lambda pair: pair[0]):
            listing = await self._overlay.below(folder)
            if listing is None:
                continue
            lower = await self.lower(folder)
            for count, (_, name) in enumerate(names):
                if not count % _NAMES_AT_ONCE:
                    await trio.lowlevel.checkpoint()
                row = listing.find(name)
                if row < 0:
                    continue
                inode = self.row(lower, listing, row)
                entry, nid = upper.entry(folder, name), self._nid_of.get(inode)
                own = entry is not None and nid == entry.nid
                if listing.is_directory(row):
                    # The kernel takes a folder that was removed for dead, for good.
                    free = own
                else:
                    free = nid is None or (nid not in held and (own or upper.is_gone(nid)))
                    keeping += [inode] if free else []
                if not free:
                    origin = upper.node(folder).origin
                    assert origin is not None
                    wanted.setdefault(origin, set()).add(name)
        for path, found in wanted.items():
            await self._renumber(path, found)
        return keeping

    async def _renumber(self, path: bytes, names: set[bytes]) -> None:
        """Give names in a lower directory new numbers, as far as it has them."""
        try:
            listing = await (await self._overlay.lower_directory(path)).listing()
            lower = await self._number(path)
        except (NotFound, NotADirectory):
            return
        rows = sorted(row for row in map(listing.find, names) if row >= 0)
        if rows:
            self._inodes.given.renumber(lower, listing, rows)

    def lower_numbers(self) -> frozenset[Nid]:
        """Return the nodes that programs know by the number that the lower tree has for them."""
        return frozenset(self._inode_of.keys() - self._turned)

    def above(self) -> dict[Inode, Inode]:
        """Return what programs call lower directories that they know through a folder only."""
        found = {lower: self.inode(nid) for nid, lower in self._lower.items()}
        return {lower: inode for lower, inode in found.items() if inode != lower}

    def is_looked_through(self, folder: Nid) -> bool:
        """Return whether the kernel may know names that shine through a folder."""
        return folder in self._lower

    def move(
        self, dropped: Iterable[Nid], kept: Container[Nid], turned: Iterable[Nid]
    ) -> list[Inode]:
        """Go on with another lower tree; return numbers of whom the kernel may have wrong pages.

        Args:
            dropped: nodes that are not in the layer any more; those who are held keep their number.
            kept: those whose number is the lower tree's, who still has it.
            turned: folders through which something else shows now.
        """
        self._turned.update(turned)
        changed = []
        held = self._overlay.upper.held()
        for nid in dropped:
            if nid in held:
                continue
            inode = self.inode(nid)
            if self._inode_of.pop(nid, None) is not None and nid in kept:
                changed.append(inode)
            else:
                self._dead.add(inode)
        # Names of these may be back, as they are in the commit and with the numbers of there.
        removed = self._overlay.upper.take_removed() & self._inode_of.keys()
        changed += [self._inode_of.pop(nid) for nid in removed]
        # What the lower tree calls a folder's origin is found out anew.
        self._lower = {ROOT_NODE: ROOT}
        self._nid_of = {inode: nid for nid, inode in self._inode_of.items()}
        return changed
