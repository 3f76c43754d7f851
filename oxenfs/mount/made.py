"""What an inode number meant when it was given out, whatever the mount shows by now."""

from __future__ import annotations

from collections.abc import Sequence

from oxenfs.errors import NotFound, StaleRevision
from oxenfs.mount.blocks import ROOT, Blocks
from oxenfs.mount.unlisted import Unlisted
from oxenfs.views.base import Directory, Node


async def as_made(
    inode: int, blocks: Blocks, unlisted: Unlisted, worlds: Sequence[Directory], current: int
) -> tuple[Node, list[bytes]]:
    """Return the node in the world in which its number was made, and its path.

    The folders on the way may have got their numbers in other worlds; their names are looked up
    there.

    Args:
        inode: the number.
        blocks: all that were given out.
        unlisted: nodes that are in no listing.
        worlds: the roots that the mount has had.
        current: the one of them that it has now.

    Raises:
        NotFound: it was never given out, or its world has no such node any more.
        StaleRevision: its folder has fewer rows than it had.
    """
    chain: list[tuple[int, int]] = []
    while inode != ROOT:
        block = blocks.block(inode)
        chain.append((inode, block))
        inode = blocks.parents[block]
    chain.reverse()
    at = {world: worlds[world] for world in {blocks.worlds[block] for _, block in chain}}
    names: list[bytes] = []
    node: Node = worlds[current]
    for level, (inode, block) in enumerate(chain):
        made = blocks.worlds[block]
        parent = at[made]
        if inode in unlisted:
            name = unlisted.name(inode)
            found = unlisted.node(inode)
            if found is None or (made != current and not parent.by_name):
                found = await parent.unlisted(name)
        else:
            found, name = await _listed(parent, blocks.row(block, inode), inode)
        node = found
        names.append(name)
        later = {blocks.worlds[block] for _, block in chain[level + 1 :]}
        at = {
            world: node
            if (world == made or parent.by_name) and isinstance(node, Directory)
            else await _folder(at[world], name)
            for world in later
        }
    return node, names


async def _listed(parent: Directory, row: int, inode: int) -> tuple[Node, bytes]:
    listing = await parent.listing()
    if row >= listing.count:
        raise StaleRevision(f"inode {inode} is gone")
    return parent.child(listing, row), listing.name(row)


async def _folder(parent: Directory, name: bytes) -> Directory:
    listing = await parent.listing()
    row = listing.find(name)
    node = parent.child(listing, row) if row >= 0 else await parent.unlisted(name)
    if not isinstance(node, Directory):
        raise NotFound(f"{name!r} is no folder")
    return node
