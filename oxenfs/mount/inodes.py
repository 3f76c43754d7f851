"""Which inode number is which node, and what a number that no listing has any more meant.

The children of a directory get the numbers `base`, `base + 1`, ... in the order of its listing, all
at once, the first time it is listed or looked into (`oxenfs.mount.given`). So a listing of 200,000
files costs one record of 28 bytes, and nothing is kept per file. From a number back: the block by
bisection, the parent from the block, the row from the distance to the base. Lookup counts are not
needed: a number is never given to anything else while the mount lives, so there is nothing that
`forget` could free.

When the mount moves to another root, a directory keeps its number, and so do the files in it that
are the same; others get new numbers. A number that no row has any more still leads to what it
meant: to the file, in the world (the root, at that time) in which it was given out. A directory
that is gone is `NotFound`.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

from oxenfs.errors import NotADirectory, NotFound, OxenfsError, StaleRevision
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.given import DirectoryChange, Given
from oxenfs.mount.made import as_made
from oxenfs.mount.numbers import Numbering, Numbers
from oxenfs.mount.unlisted import Unlisted
from oxenfs.store.columns import Listing
from oxenfs.store.difference import steps_between
from oxenfs.views.base import Directory, File, Node

_DIRECTORIES_KEPT = 4096


class Looked(NamedTuple):
    """A directory as it is in one generation: take all of it from here, with no await between."""

    directory: Directory
    listing: Listing
    numbers: Numbers


class Inodes:
    """Which inode is which node. Used from one trio loop; only coroutines wait.

    Attributes:
        generation: how often the mount has moved.
        given: the numbers of the rows of listings.
    """

    def __init__(self, root: Directory) -> None:
        """Give `root` the number 1."""
        self.generation = 0
        self._root = root
        self.given = Given()
        self._unlisted = Unlisted()
        # Directories that may have files in common.
        self._sharing: dict[Hashable, array[int]] = {}
        self._directories: OrderedDict[Inode, Directory] = OrderedDict()
        # The world of each block is an index of these.
        self._worlds: list[Directory] = [root]
        self._world_of: dict[Hashable, int] = {root.key: 0}

    @property
    def root(self) -> Directory:
        """What number 1 is now."""
        return self._root

    def unlisted(self, parent: Inode, name: bytes, node: Node) -> Inode:
        """Return the inode of a node that no listing shows; the same one for the same key."""
        return self._unlisted.number(parent, name, node, lambda: self.given.single(parent))

    async def look(self, inode: Inode) -> Looked:
        """Return a directory, its listing and its numbers, all of the same generation.

        Raises:
            NotFound: it is gone, or was never there.
            NotADirectory: it is a file.
        """
        while True:
            generation = self.generation
            try:
                directory = await self.directory(inode)
                listing = await directory.listing()
            except OxenfsError:
                if generation == self.generation:
                    raise
                continue
            if generation != self.generation:
                continue
            if directory.by_name:
                return Looked(directory, listing, self._named(inode, directory, listing))
            if directory.shares is not None and inode not in self.given:
                await self._share(inode, directory.shares, listing)
            if generation == self.generation:
                return Looked(directory, listing, self.given.children(inode, listing))

    def _named(self, parent: Inode, directory: Directory, listing: Listing) -> Numbers:
        """Return the numbers of a listing whose rows are looked up by name as well."""
        building = Numbering()
        for row in range(listing.count):
            node = directory.child(listing, row)
            building.add(self.unlisted(parent, listing.name(row), node))
        return building.numbers()

    async def _share(self, inode: Inode, share: Hashable, listing: Listing) -> None:
        """Number a directory's rows; files as in others of the same share, where rows are equal.

        Folders get numbers of their own.
        """
        generation = self.generation
        siblings = self._sharing.setdefault(share, array("Q"))
        numbers = array("Q", bytes(8 * listing.count))
        # The rows that are still without a number.
        left = [row for row in range(listing.count) if not listing.is_directory(row)]
        for sibling in siblings:
            if not left:
                break
            try:
                found = await self._current(sibling)
                if not isinstance(found, Directory):
                    continue
                theirs = await found.listing()
            except OxenfsError:
                continue  # that one cannot be read; this one can
            if generation != self.generation or inode in self.given:
                return
            self._share_rows(numbers, listing, theirs, self.given.children(sibling, theirs))
            left = [row for row in left if not numbers[row]]
        if generation != self.generation or inode in self.given:
            return  # a move meanwhile, or somebody else was quicker
        self.given.number(inode, listing, numbers)
        siblings.append(inode)

    def _share_rows(
        self, numbers: array[int], listing: Listing, theirs: Listing, given: Numbers
    ) -> None:
        for step in steps_between(theirs, listing, with_commits=True):
            if step.same:
                taken = given.between(step.old, step.old + step.length)
                for row, number in enumerate(taken, step.new):
                    if not numbers[row] and not listing.is_directory(row):
                        numbers[row] = number

    async def node(self, inode: Inode) -> Node:
        """Return the node with that number.

        Raises:
            NotFound: it was never given out, or to a directory that is gone.
            StaleRevision: it is a file of before, and its folder cannot be read any more.
        """
        while True:
            generation = self.generation
            try:
                node = await self._current(inode)
            except OxenfsError:
                if generation == self.generation:
                    raise
                continue
            if generation == self.generation:
                break
        if node is not None:
            return node
        try:
            node, _ = await self._as_made(inode)
        except NotFound as exc:
            raise StaleRevision(f"inode {inode} is of a revision that is gone: {exc}") from exc
        if not isinstance(node, File):
            raise NotFound("the folder is not in the revision that is mounted now")
        return node

    async def beside(self, inode: Inode, listing: Listing) -> Callable[[int], Inode] | None:
        """Return what gives the numbers of the rows of `listing`, which has the file `inode`.

        None if that is not the listing from which its folder's numbers were given out, as a view
        may show other names than the commit has.
        """
        parent = self.given.blocks.parent(inode)
        directory = self._known(parent)
        generation = self.generation
        if not isinstance(directory, Directory) or directory.by_name:
            return None
        own = await directory.listing()
        if not own.is_same(listing) or generation != self.generation:
            return None
        return self.given.children(parent, listing).inode

    async def directory(self, inode: Inode) -> Directory:
        """Return the directory with that number; raise `NotADirectory` for another node."""
        node = await self.node(inode)
        if not isinstance(node, Directory):
            raise NotADirectory(f"inode {inode} is a file")
        return node

    async def path(self, inode: Inode) -> bytes:
        """Return where the node is, from the root of the mount: for messages."""
        if inode == ROOT:
            return b""
        _, names = await self._as_made(inode)
        return b"/".join(names)

    def is_made(self, inode: Inode) -> bool:
        """Return whether no listing shows the node, or a folder that it is in."""
        while inode != ROOT:
            if inode in self._unlisted:
                return True
            inode = self.given.blocks.parent(inode)
        return False

    async def is_current(self, inode: Inode) -> bool:
        """Return whether the tree that is mounted now has the node."""
        return await self._current(inode) is not None

    def parent(self, inode: Inode) -> Inode:
        """Return the directory in which a node got its number; raise `NotFound`."""
        return self.given.blocks.parent(inode)

    def is_known(self, inode: Inode) -> bool:
        """Return whether the kernel may know anything in the directory `inode`."""
        return inode in self.given or self._unlisted.has_in(inode)

    def hidden(self, parent: Inode) -> list[tuple[Inode, bytes, Node]]:
        """Return number, name and node of the children of `parent` that no listing shows."""
        return list(self._unlisted.within(parent))

    def move(
        self,
        root: Directory,
        changes: Iterable[DirectoryChange],
        hidden: Mapping[Inode, Node | None],
    ) -> None:
        """Let number 1 be `root` from now on.

        Args:
            root: the new root.
            changes: of every directory that is known and not the same any more.
            hidden: what unlisted nodes are now; None: gone. Others are what they were.
        """
        world = self._world_of.get(root.key)
        if world is None:
            world = self._world_of[root.key] = len(self._worlds)
            self._worlds.append(root)
        self.given.world = world
        self._root = root
        self.generation += 1
        self._directories.clear()
        for change in changes:
            self.given.move(change)
        self._unlisted.change(hidden)

    async def _current(self, inode: Inode) -> Node | None:
        """Return the node, None if it is not in the tree that is mounted now."""
        # Up to a directory that is known, and down again. Not by recursion: trees can be deep.
        below: list[Inode] = []
        while (node := self._known(inode)) is None:
            if inode in self._unlisted:
                return None
            below.append(inode)
            inode = self.given.blocks.parent(inode)
        generation = self.generation
        for child in reversed(below):
            if not isinstance(node, Directory):
                raise NotADirectory(f"inode {inode} is a file")
            listing = await node.listing()
            if generation != self.generation:
                return None  # whoever asked looks again
            row = self.given.children(inode, listing).row(child)
            if row < 0:
                return None
            node = node.child(listing, row)
            inode = child
            if isinstance(node, Directory):
                self._directories[inode] = node
                if len(self._directories) > _DIRECTORIES_KEPT:
                    self._directories.popitem(last=False)
        return node

    async def _as_made(self, inode: Inode) -> tuple[Node, list[bytes]]:
        return await as_made(
            inode, self.given.blocks, self._unlisted, self._worlds, self.given.world
        )

    def _known(self, inode: Inode) -> Node | None:
        if inode == ROOT:
            return self._root
        kept = self._directories.get(inode)
        if kept is not None:
            self._directories.move_to_end(inode)
            return kept
        return self._unlisted.node(inode) if inode in self._unlisted else None
