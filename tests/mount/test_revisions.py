"""Inodes of revisions side by side, and a mount of them that moves."""

from __future__ import annotations

import errno
import stat as modes
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import commit, make_repository

from oxenfs.address import Address
from oxenfs.errors import UsageError
from oxenfs.model import hash_text
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Operations, Usage
from oxenfs.remote.hashing import little
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.views import stack
from oxenfs.views.plan import Plan

from .calling import Lister, code_of, entry_of, find
from .test_moving import Notes

FILES = {
    b"a": b"one",
    b"same": b"same",
    b"sub/x": b"x one",
    b"sub/same": b"same",
    b"still/s": b"s",
    **{b"many/%03d" % number: b"%d" % number for number in range(100)},
}
LATER = {b"a": b"two", b"sub/x": b"x two", b"sub/new": b"new", b"many/050": b"changed"}


class Place:
    def __init__(self, folder: Path) -> None:
        self.remote: LocalRemote = make_repository(folder / "repository", FILES)
        self.first = self.remote.branch("main").commit
        self.second = commit(self.remote, LATER)
        self.branch("old", self.first)
        self.stack = stack.build(
            Plan(Address(folder / "repository"), folder / "cache", revisions=True)
        )
        self.handlers = Operations(self.stack.root, Usage(0, 0))
        self.mover = Mover(self.stack, self.handlers)
        self.notes = self.mover.kernel = Notes(self.handlers)

    def branch(self, name: str, at: int | None) -> None:
        with self.remote.meta.write() as txn:
            if at is None:
                txn.delete("refs", name.encode())
            else:
                txn.put("refs", name.encode(), little(at))

    async def content(self, path: bytes) -> bytes:
        opened = await self.handlers.open(await find(self.handlers, path), 0)
        found = bytes(await self.handlers.read(int(opened.fh), 0, 10_000))
        await self.handlers.release(int(opened.fh))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.handlers.close()
    made.stack.close()
    made.remote.close()


@pytest.fixture
def lister(monkeypatch: pytest.MonkeyPatch) -> Lister:
    return Lister(monkeypatch)


@in_trio
async def test_a_file_that_is_the_same_at_the_same_path_is_one_inode_and_folders_never_are(
    place: Place,
) -> None:
    prefixes = (b"branches/main/", b"branches/old/", b"HEAD/", b"commits/%x/" % place.first)
    found = {
        prefix + path: await find(place.handlers, prefix + path)
        for prefix in prefixes
        for path in (*FILES, b"sub", b"still", b"many")
    }
    for path in FILES:
        numbers = {found[prefix + path] for prefix in prefixes}
        assert len(numbers) == (2 if path in LATER else 1), path
    for path in (b"sub", b"still", b"many"):
        assert len({found[prefix + path] for prefix in prefixes}) == len(prefixes)
    for path, inode in found.items():
        name = path.split(b"/", 2)[2] if not path.startswith(b"HEAD") else path[5:]
        if name in FILES:
            new = path.startswith((b"HEAD", b"branches/main")) and name in LATER
            assert await place.content(path) == (LATER if new else FILES)[name]
            node = await place.handlers.inodes.node(Inode(inode))
            assert (await node.stat()).size == len((LATER if new else FILES)[name])


@in_trio
async def test_a_third_revision_shares_with_either_of_two(place: Place) -> None:
    """Its files are partly those of one, partly those of another."""
    third = commit(place.remote, {b"many/060": b"changed too"})
    place.branch("third", third)
    await place.mover.pull()
    numbers = {
        name: [await find(place.handlers, b"branches/%s/many/%03d" % (name, number))
               for number in (49, 50, 60)]
        for name in (b"old", b"main", b"third")
    }  # fmt: skip
    old, main, other = numbers[b"old"], numbers[b"main"], numbers[b"third"]
    assert old[0] == main[0] == other[0]
    assert main == other
    assert old[1] != main[1]


@in_trio
async def test_listings_and_lookups_give_the_same_numbers(place: Place, lister: Lister) -> None:
    for path in (b"", b"branches", b"branches/old", b"branches/main/many", b"commits", b"HEAD/sub"):
        directory = await find(place.handlers, path)
        for name, entry in await lister.all(place.handlers, directory):
            assert entry_of(await place.handlers.lookup(directory, name)) == entry, (path, name)


@in_trio
async def test_only_the_branch_that_moved_is_looked_up_again(place: Place) -> None:
    paths = [
        b"%s/%s" % (top, path) for top in (b"branches/main", b"branches/old", b"HEAD")
        for path in FILES
    ]  # fmt: skip
    before = {path: await find(place.handlers, path) for path in paths}
    main = await find(place.handlers, b"branches/main")
    head = await find(place.handlers, b"HEAD")
    commit(place.remote, {b"same": b"not the same"})
    await place.mover.pull()
    assert sorted(place.notes.names) == sorted([(main, b"same"), (head, b"same")])
    for path, inode in before.items():
        again = await find(place.handlers, path)
        moved = path in (b"branches/main/same", b"HEAD/same")
        assert (again != inode) == moved, path
    assert await place.content(b"branches/main/same") == b"not the same"
    assert await place.content(b"branches/old/same") == b"same"
    # What one place alone has still is found when the folder that it was seen in first is gone.
    place.branch("main", None)
    place.branch("main2", place.second)
    shared = before[b"branches/old/still/s"]
    node = await place.handlers.inodes.node(Inode(shared))
    assert (await node.stat()).size == 1


@in_trio
async def test_branches_come_and_go(place: Place) -> None:
    branches = await find(place.handlers, b"branches")
    await find(place.handlers, b"branches/old/sub/x")
    place.branch("old", None)
    place.branch("feature/x", place.second)
    await place.mover.pull()
    assert {(branches, b"old"), (branches, b"feature")} <= set(place.notes.names)
    assert await code_of(place.handlers.lookup(branches, b"old")) == errno.ENOENT
    assert await place.content(b"branches/feature/x/sub/x") == b"x two"
    assert await place.content(b"commits/%x/sub/x" % place.first) == b"x one"


@in_trio
async def test_a_commit_is_one_folder_under_each_name(place: Place) -> None:
    text = hash_text(place.first).encode()
    whole = await place.handlers.lookup(await find(place.handlers, b"commits"), text)
    assert modes.S_ISDIR(whole.st_mode)
    inode = whole.st_ino
    assert await find(place.handlers, b"commits/" + text[:8]) != inode
    assert await find(place.handlers, b"commits/" + text) == inode
    await place.mover.pull()
    commit(place.remote, {b"z": b"z"})
    await place.mover.pull()
    assert await find(place.handlers, b"commits/" + text) == inode
    assert await place.content(b"commits/" + text[:8] + b"/a") == b"one"


@in_trio
async def test_a_mount_of_all_revisions_is_not_checked_out(place: Place) -> None:
    with pytest.raises(UsageError, match="all revisions"):
        await place.mover.checkout("main", None)
    assert await find(place.handlers, b"HEAD") > ROOT
