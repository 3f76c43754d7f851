"""Names of an overlay: making, linking, removing and moving them.

A handler first promotes what it needs, which may wait for listings, and then decides and acts
without waiting. All of them pass the gate, which is closed while the commit below is exchanged.
"""

from __future__ import annotations

import errno
import stat

import pyfuse3

from oxenfs.errors import Exists, IsADirectory, NotADirectory, NotEmpty, NotFound, NotPermitted
from oxenfs.model import NAME_BYTES_MAX
from oxenfs.mount.blocks import Inode
from oxenfs.mount.looking import LookingOperations, changing
from oxenfs.mount.operations import OpenedFile
from oxenfs.overlay.nodes import Nid
from oxenfs.store.columns import Listing

_TARGET_BYTES_MAX = 4095


class NamingOperations(LookingOperations):
    """The kernel's view of an overlay, as far as names change."""

    @changing
    async def create(
        self, parent_inode: Inode, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file and open it."""
        parent = await self._folder(parent_inode, name)
        covers = await self._free(parent, name)
        node = self.overlay.make_node(stat.S_IFREG | stat.S_IMODE(mode), parent, ctx.uid, ctx.gid)
        nid, file = self.overlay.create(parent, name, node, covers=covers)
        self.overlay.begin_writing(nid)
        self.overlay.changed_name(name)
        fh = self._files.add(OpenedFile(self.nodes.inode(nid), file, writing=True))
        return pyfuse3.FileInfo(fh=fh, keep_cache=True), self._reply_node(nid)

    @changing
    async def mknod(
        self, parent_inode: Inode, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a file or a special file."""
        return self._reply_node(await self._make(parent_inode, name, mode, ctx, rdev=rdev))

    @changing
    async def mkdir(
        self, parent_inode: Inode, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a folder."""
        made = stat.S_IFDIR | stat.S_IMODE(mode)
        return self._reply_node(await self._make(parent_inode, name, made, ctx))

    @changing
    async def symlink(
        self, parent_inode: Inode, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a symlink."""
        if len(target) > _TARGET_BYTES_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        made = stat.S_IFLNK | 0o777
        return self._reply_node(await self._make(parent_inode, name, made, ctx, target=target))

    @changing
    async def link(
        self, inode: Inode, new_parent_inode: Inode, new_name: bytes, ctx: object = None
    ) -> pyfuse3.EntryAttributes:
        """Give a file one more name."""
        parent = await self._folder(new_parent_inode, new_name)
        nid = await self.nodes.promoted(inode)
        if self._upper.node(nid).is_directory:
            raise NotPermitted("folders have one name")
        covers = await self._free(parent, new_name)
        self._upper.link(nid, parent, new_name, covers=covers)
        self.overlay.changed_name(new_name)
        return self._reply_node(nid)

    @changing
    async def unlink(self, parent_inode: Inode, name: bytes, ctx: object = None) -> None:
        """Take a name from a file."""
        parent = await self.nodes.promoted(parent_inode)
        listing = await self.overlay.below(parent)
        if self._upper.entry(parent, name) is None:
            row = self._lower_row(listing, name)
            assert listing is not None
            if listing.is_directory(row):
                raise IsADirectory(f"{name!r} is a folder")
            inode = self.nodes.row(await self.nodes.lower(parent), listing, row)
            if inode in self._reading:
                self._unlinked.add(inode)
        elif self._upper.node(self._existing(parent, name)).is_directory:
            raise IsADirectory(f"{name!r} is a folder")
        covers = listing is not None and listing.find(name) >= 0
        self._upper.remove(parent, name, covers=covers)
        self.overlay.changed_name(name, known=covers)

    @changing
    async def rmdir(self, parent_inode: Inode, name: bytes, ctx: object = None) -> None:
        """Remove an empty folder."""
        parent = await self.nodes.promoted(parent_inode)
        if self._upper.entry(parent, name) is None:
            listing = await self.overlay.below(parent)
            row = self._lower_row(listing, name)
            assert listing is not None
            if not listing.is_directory(row):
                raise NotADirectory(f"{name!r} is a file")
            path = self._origin(parent, name)
            if (await (await self.overlay.lower_directory(path)).listing()).count:
                raise NotEmpty("the folder has entries")
            # With a number, for those who still stand in it.
            await self.nodes.child(parent, name)
        nid = self._existing(parent, name)
        if not self._upper.node(nid).is_directory:
            raise NotADirectory(f"{name!r} is a file")
        below = await self.overlay.count_below(nid)
        covers = await self.overlay.covers(parent, name)
        self._upper.remove(parent, name, covers=covers, below=below)
        self.overlay.changed_name(name, known=True)

    @changing
    async def rename(
        self,
        parent_inode_old: Inode,
        name_old: bytes,
        parent_inode_new: Inode,
        name_new: bytes,
        flags: int,
        ctx: object = None,
    ) -> None:
        """Move a name, or let two change places."""
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise pyfuse3.FUSEError(errno.EINVAL)
        old = await self.nodes.promoted(parent_inode_old)
        new = await self._folder(parent_inode_new, name_new)
        moved = await self.nodes.child(old, name_old)
        if flags & pyfuse3.RENAME_EXCHANGE:
            await self.nodes.child(new, name_new)
            self._upper.exchange(old, name_old, new, name_new)
            self.overlay.changed_name(name_old, known=True)
            return
        listing = await self.overlay.below(new)
        row = -1 if listing is None else listing.find(name_new)
        entry = self._upper.entry(new, name_new)
        seen = not entry.is_whiteout if entry is not None else row >= 0
        if seen and flags & pyfuse3.RENAME_NOREPLACE:
            raise Exists(f"{name_new!r} exists")
        below = 0
        if seen:
            below = await self._replaceable(new, name_new, moved, listing, row)
        self._upper.rename(old, name_old, new, name_new, covers=row >= 0, below=below)
        node = self._upper.node(moved)
        known = row >= 0 or node.is_directory or node.origin is not None
        self.overlay.changed_name(name_old, known=known)
        self.overlay.changed_name(name_new)

    async def _replaceable(
        self, parent: Nid, name: bytes, moved: Nid, listing: Listing | None, row: int
    ) -> int:
        """Check that `moved` may take a name's place; return how many entries lie below that."""
        folder = self._upper.node(moved).is_directory
        entry = self._upper.entry(parent, name)
        if entry is None:
            assert listing is not None
            if not listing.is_directory(row):
                if folder:
                    raise NotADirectory(f"{name!r} is a file")
                inode = self.nodes.row(await self.nodes.lower(parent), listing, row)
                if inode in self._reading:
                    self._unlinked.add(inode)
                return 0
            nid = await self.nodes.child(parent, name)
        else:
            nid = entry.nid
        there = self._upper.node(nid).is_directory
        if there != folder:
            raise IsADirectory(f"{name!r}") if there else NotADirectory(f"{name!r}")
        return await self.overlay.count_below(nid) if there else 0

    # --- inside

    async def _make(
        self,
        parent_inode: Inode,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        *,
        rdev: int = 0,
        target: bytes = b"",
    ) -> Nid:
        parent = await self._folder(parent_inode, name)
        covers = await self._free(parent, name)
        node = self.overlay.make_node(mode, parent, ctx.uid, ctx.gid)
        node = node._replace(rdev=rdev, target=target, size=len(target))
        nid = self._upper.make(parent, name, node, covers=covers)
        self.overlay.changed_name(name, known=stat.S_ISDIR(mode))
        return nid

    async def _folder(self, inode: Inode, name: bytes) -> Nid:
        """Return the folder that `name` is to be made in."""
        if len(name) > NAME_BYTES_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        nid = await self.nodes.promoted(inode)
        if self._upper.is_gone(nid):
            raise NotFound("the folder has been removed")
        return nid

    async def _free(self, parent: Nid, name: bytes) -> bool:
        """Check that a name is free; return whether it covers one of the commit."""
        listing = await self.overlay.below(parent)
        covers = listing is not None and listing.find(name) >= 0
        entry = self._upper.entry(parent, name)
        if covers if entry is None else not entry.is_whiteout:
            raise Exists(f"{name!r} exists")
        if parent == 1 and not covers and entry is None and await self._is_hidden(name):
            raise Exists(f"{name!r} is made by the mount")
        return covers

    async def _is_hidden(self, name: bytes) -> bool:
        try:
            await (await self.overlay.lower_directory(b"")).unlisted(name)
        except NotFound:
            return False
        return True

    def _existing(self, parent: Nid, name: bytes) -> Nid:
        entry = self._upper.entry(parent, name)
        if entry is None or entry.is_whiteout:
            raise NotFound(f"no {name!r}")
        return entry.nid

    def _origin(self, parent: Nid, name: bytes) -> bytes:
        origin = self._upper.node(parent).origin
        assert origin is not None
        return origin + b"/" + name if origin else name

    @staticmethod
    def _lower_row(listing: Listing | None, name: bytes) -> int:
        row = -1 if listing is None else listing.find(name)
        if row < 0:
            raise NotFound(f"no {name!r}")
        return row
