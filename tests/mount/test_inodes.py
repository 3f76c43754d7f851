"""Inode numbers, and back from them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping

import pytest
from in_trio import in_trio

from oxenfs.errors import NotADirectory, NotFound, StaleRevision
from oxenfs.model import Kind
from oxenfs.mount import inodes as module
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.inodes import Inodes
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Directory, File, Node
from oxenfs.views.facts import BytesFile, BytesFolder


class Folder(Directory):
    """A directory of a made-up tree: names to children, or to a file's bytes.

    Attributes:
        listed: how often `listing` was called.
    """

    def __init__(self, path: bytes, tree: Mapping[bytes, Folder | bytes]) -> None:
        self.path = path
        self.tree = tree
        self.listed = 0
        rows = [
            Row(name, Kind.DIRECTORY, bytes(16), 0, 0, bytes(16))
            if isinstance(child, Folder)
            else Row(name, Kind.TEXT, bytes(16), len(child), 0, bytes(16))
            for name, child in sorted(tree.items())
        ]
        self.columns = Listing(columns_of(rows))

    @property
    def key(self) -> bytes:
        return self.path

    async def stat(self) -> Attributes:
        return Attributes(directory=True, size=0, mtime_ns=0)

    async def xattrs(self) -> Mapping[str, bytes]:
        return {}

    async def listing(self) -> Listing:
        self.listed += 1
        return self.columns

    def child(self, listing: Listing, index: int) -> Node:
        found = self.tree[listing.name(index)]
        if isinstance(found, Folder):
            return found
        return BytesFile(f"{self.path!r}/{index}", found, 0)

    async def unlisted(self, name: bytes) -> Node:
        raise NotFound(f"no {name!r}")


def folder(path: bytes, **tree: Folder | bytes) -> Folder:
    return Folder(path, {name.encode(): child for name, child in tree.items()})


@pytest.fixture
def root() -> Folder:
    """A tree in which each file's content is its path."""
    empty = folder(b"b")
    c = folder(b"c", x=b"c/x", y=folder(b"c/y", z=b"c/y/z"))
    return folder(b"", a=b"a", b=empty, c=c, d=folder(b"d", w=b"d/w"))


async def number(inodes: Inodes, path: bytes) -> Inode:
    """Return the inode of `path`, as lookups from the root give it."""
    inode = ROOT
    for name in filter(None, path.split(b"/")):
        directory = await inodes.directory(inode)
        listing = await directory.listing()
        row = listing.find(name)
        assert row >= 0, path
        inode = Inode(inodes.given.children(inode, listing).inode(row))
    return inode


PATHS = (b"", b"a", b"b", b"c", b"d", b"c/x", b"c/y", b"c/y/z", b"d/w")


@in_trio
async def test_children_of_a_directory_have_consecutive_numbers(root: Folder) -> None:
    inodes = Inodes(root)
    base = inodes.given.children(ROOT, root.columns).inode(0)
    assert [await number(inodes, name) for name in (b"a", b"b", b"c", b"d")] == [
        base,
        base + 1,
        base + 2,
        base + 3,
    ]


@in_trio
async def test_numbers_are_unique_and_stable(root: Folder) -> None:
    inodes = Inodes(root)
    first = {path: await number(inodes, path) for path in PATHS}
    assert len(set(first.values())) == len(PATHS)
    assert {path: await number(inodes, path) for path in reversed(PATHS)} == first


@pytest.mark.parametrize("kept", [0, 1, 4096])
@in_trio
async def test_a_number_leads_back_to_its_node_and_path(
    root: Folder, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DIRECTORIES_KEPT", kept)
    inodes = Inodes(root)
    # Empty directories share their base with whatever comes next: look at all, in both orders.
    for path in (*PATHS, *reversed(PATHS)):
        inode = await number(inodes, path)
        found = await inodes.node(inode)
        if isinstance(found, Folder):
            assert found.path == path
            inodes.given.children(inode, found.columns)
        else:
            assert isinstance(found, BytesFile)
            assert await found.read(0, 100) == path
        assert await inodes.path(inode) == path


@in_trio
async def test_a_deep_tree_is_no_deeper_a_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DIRECTORIES_KEPT", 0)
    depth = 600
    tree = folder(b"leaf", file=b"content")
    for level in range(depth):
        tree = folder(b"%d" % level, d=tree)
    inodes = Inodes(tree)
    inode, node = ROOT, tree
    for _ in range(depth):
        inode = Inode(inodes.given.children(inode, node.columns).inode(0))
        below = node.tree[b"d"]
        assert isinstance(below, Folder)
        node = below
    assert await inodes.node(inode) is node
    assert await inodes.path(inode) == b"/".join([b"d"] * depth)


@pytest.mark.parametrize("unknown", [0, 2, 10**9])
@in_trio
async def test_a_number_never_given_out_is_not_found(root: Folder, unknown: int) -> None:
    inodes = Inodes(root)
    with pytest.raises(NotFound):
        await inodes.node(Inode(unknown))
    inodes.given.children(ROOT, root.columns)
    with pytest.raises(NotFound):
        await inodes.node(Inode(ROOT + 5))


@in_trio
async def test_a_file_is_no_directory(root: Folder) -> None:
    inodes = Inodes(root)
    assert isinstance(await inodes.node(await number(inodes, b"a")), File)
    with pytest.raises(NotADirectory):
        await inodes.directory(await number(inodes, b"a"))


@in_trio
async def test_a_directory_that_changed_is_stale(root: Folder) -> None:
    inodes = Inodes(root)
    inode = await number(inodes, b"d")
    inodes.given.children(ROOT, root.columns)
    shorter = folder(b"", a=b"0")
    with pytest.raises(StaleRevision):
        inodes.given.children(ROOT, shorter.columns)
    inodes._directories.clear()
    root.columns = shorter.columns
    with pytest.raises(StaleRevision):
        await inodes.node(inode)


@in_trio
async def test_unlisted_nodes_have_a_stable_number_among_the_others(root: Folder) -> None:
    inodes = Inodes(root)
    hidden = BytesFolder("hidden", {b"info": b"facts"}, 0)
    inode = inodes.unlisted(ROOT, b".hidden", hidden)
    first = {path: await number(inodes, path) for path in PATHS}
    again = BytesFolder("hidden", {b"info": b"facts"}, 0)
    assert inodes.unlisted(ROOT, b".hidden", again) == inode
    assert inode not in first.values()
    assert await inodes.node(inode) is hidden
    assert await inodes.path(inode) == b".hidden"
    below = Inode(inodes.given.children(inode, await hidden.listing()).inode(0))
    assert await inodes.path(below) == b".hidden/info"
    assert isinstance(await inodes.node(below), File)
    assert {path: await number(inodes, path) for path in PATHS} == first


@in_trio
async def test_one_key_below_two_parents_is_two_nodes(root: Folder) -> None:
    inodes = Inodes(root)
    node = BytesFile("same", b"", 0)
    below_c = inodes.unlisted(await number(inodes, b"c"), b".x", node)
    below_d = inodes.unlisted(await number(inodes, b"d"), b".x", node)
    assert below_c != below_d
    assert await inodes.path(below_c) == b"c/.x"
    assert await inodes.path(below_d) == b"d/.x"


@in_trio
async def test_known_directories_are_not_looked_up_again(root: Folder) -> None:
    inodes = Inodes(root)
    inode = await number(inodes, b"c/y")
    await inodes.node(inode)
    before = root.listed
    for _ in range(10):
        await inodes.node(inode)
    assert root.listed == before


def test_memory_does_not_grow_with_the_entries_of_a_directory() -> None:
    class Large(Listing):
        __slots__ = ()

        def __init__(self, count: int) -> None:
            self.count = count

    inodes = Inodes(folder(b""))
    tracemalloc.start()
    try:
        for parent in range(1000):
            inodes.given.children(Inode(ROOT + 10_000_000 * parent), Large(1_000_000))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 250 * 1000
