"""Branches and commits as directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import Spy, commit, make_repository, spied

from oxenfs.errors import NotFound, StaleRevision
from oxenfs.model import Branch, ObjectHash, hash_text
from oxenfs.remote.hashing import little
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.views import branch_names, revision, revisions
from oxenfs.views import commits as commits_module
from oxenfs.views.base import Directory, lookup
from oxenfs.views.revision import Source
from oxenfs.views.revisions import Revisions

from .suite import Case, DirectorySuite, Tree, contents, names

HOSTILE = [
    "..",
    ".",
    "a/../../etc",
    "/absolute",
    "trailing/",
    "double//slash",
    "per%2Fcent",
    "100%",
    "nul\0nul",
    "x" * 300,
    "x" * 300 + "y",
    "new\nline",
    "\u202etxt",
    "deep/" * 20 + "end",
    " ",
    "-rf",
]


class Place:
    def __init__(self, folder: Path) -> None:
        self.remote: LocalRemote = make_repository(folder / "repository", {b"x": b"one"})
        self.first = self.remote.branch("main").commit
        self.second = commit(self.remote, {b"x": b"two", b"sub/y": b"y"})
        spy, remote = spied(self.remote)
        self.spy: Spy = spy
        self.metadata = Metadata(remote, folder / "cache")
        self.blobs = DirectBlobs(self.remote)
        self.revisions = Revisions(Source(remote, self.metadata, self.blobs))

    def branch(self, name: str, at: ObjectHash) -> None:
        """Make a branch, also one that no server would take."""
        with self.remote.meta.write() as txn:
            txn.put("refs", name.encode(), little(at))

    def root(self) -> Directory:
        return self.revisions.snapshot(self.remote.branches(), self.remote.default_branch())

    def close(self) -> None:
        self.blobs.close()
        self.metadata.close()
        self.remote.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


async def folder(directory: Directory, path: bytes) -> Directory:
    for name in path.split(b"/"):
        found = await lookup(directory, name)
        assert isinstance(found, Directory)
        directory = found
    return directory


FIRST: Tree = {b"x": b"one"}
SECOND: Tree = {b"x": b"two", b"sub": {b"y": b"y"}}


class TestBranches(DirectorySuite):
    @pytest.fixture
    def case(self, place: Place) -> Case:
        place.branch("old", place.first)
        place.branch("feature/one", place.first)
        place.branch("feature/two/three", place.second)
        place.branch("main/sub", place.first)
        place.branch("main/below", place.first)
        root = place.root()
        assert isinstance(root, revisions.FolderOfFolders)
        branches = root._children[revisions.BRANCHES]
        tree: Tree = {
            b"old": FIRST,
            b"feature": {b"one": FIRST, b"two": {b"three": SECOND}},
            b"main": SECOND,
            b"main%2Fsub": FIRST,
            b"main%2Fbelow": FIRST,
        }
        return Case(branches, tree, {b"feature%2Fone": FIRST, b"feature%2Ftwo%2Fthree": SECOND})


@in_trio
async def test_a_root_has_branches_commits_and_the_head_of_the_default_branch(place: Place) -> None:
    found = await contents(place.root())
    assert isinstance(found, dict)
    assert sorted(found) == [b"HEAD", b"branches", b"commits"]
    assert found[b"HEAD"] == SECOND
    assert found[b"branches"] == {b"main": SECOND}
    commits = found[b"commits"]
    assert isinstance(commits, dict)
    assert commits[hash_text(place.first).encode()] == FIRST
    assert commits[hash_text(place.second).encode()] == SECOND


@in_trio
async def test_every_branch_is_listed_once_and_leads_to_its_commit(place: Place) -> None:
    wanted = {}
    for number, name in enumerate([*HOSTILE, "a", "a/b", "a/b/c", "a%2Fb"]):
        wanted[name] = commit(place.remote, {b"number": b"%d" % number})
        place.branch(name, wanted[name])
    wanted["main"] = place.remote.branch("main").commit
    found: list[ObjectHash] = []

    async def walk(directory: Directory) -> None:
        listing = await directory.listing()
        for row in range(listing.count):
            child = directory.child(listing, row)
            if isinstance(child, revision.RevisionDirectory):
                found.append(child._commit)
            else:
                assert isinstance(child, Directory)
                await walk(child)

    branches = await folder(place.root(), b"branches")
    await walk(branches)
    # `main` and the last one are at the same commit.
    assert sorted(found) == sorted(wanted.values())
    for name, id in wanted.items():
        child = await lookup(branches, branch_names.encode_name(name))
        assert isinstance(child, revision.RevisionDirectory)
        assert child._commit == id, name


@in_trio
async def test_a_branch_below_another_is_entered_where_the_tree_has_no_such_name(
    place: Place,
) -> None:
    place.branch("main/sub", place.first)
    place.branch("main/other/deep", place.first)
    place.branch("main/other/deep/er", place.second)
    branches = await folder(place.root(), b"branches")
    assert await contents(await folder(branches, b"main/other/deep")) == FIRST
    assert await contents(await folder(branches, b"main/other/deep/er")) == SECOND
    # The tree goes before, as on a server: `main/sub` alone is the folder `sub` of branch `main`.
    assert await contents(await folder(branches, b"main/sub")) == {b"y": b"y"}
    assert await contents(await folder(branches, b"main%2Fsub")) == FIRST


@in_trio
async def test_a_commit_is_found_by_its_id_and_by_a_prefix(place: Place) -> None:
    commits = await folder(place.root(), b"commits")
    text = hash_text(place.first)
    for name in (text, text[:8], text[:6], text.upper(), text.rjust(32, "0")):
        assert await contents(await lookup(commits, name.encode())) == FIRST, name
    for name in (text[:3], "0" * 8, "main", "", "..", text + "0", "\u00e9"):
        with pytest.raises(NotFound):
            await commits.unlisted(name.encode())


@in_trio
async def test_commits_lists_the_newest_of_each_branch(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits_module, "COMMITS_LISTED", 2)
    place.branch("old", place.first)
    third = commit(place.remote, {b"x": b"three"})
    commits = await folder(place.root(), b"commits")
    initial = place.remote.commit(place.first).parents[0]
    wanted = sorted(hash_text(id).encode() for id in (third, place.second, place.first, initial))
    assert names(await commits.listing()) == wanted


@in_trio
async def test_nothing_is_asked_for_a_branch_that_nobody_looks_into(place: Place) -> None:
    for number in range(30):
        place.branch(f"b{number}", place.first)
    root = place.root()
    assert place.spy.calls == []
    await contents(await folder(root, b"branches/b7"))
    # The two commits, for the dates of all branches, the root of one; and nothing twice.
    assert len(place.spy.calls) == len(set(place.spy.calls)) <= 4


@in_trio
async def test_the_key_of_a_snapshot_says_where_its_branches_are(place: Place) -> None:
    one, same = place.root(), place.root()
    assert one.key == same.key
    place.branch("other", place.first)
    other = place.root()
    assert other.key != one.key
    place.branch("other", place.second)
    assert place.root().key != other.key
    assert (await folder(other, b"branches/main")).key == (await folder(one, b"branches/main")).key


@in_trio
async def test_a_clashing_branch_that_moves_changes_the_key_of_the_one_above(place: Place) -> None:
    place.branch("main/b", place.first)
    before = await folder(place.root(), b"branches/main")
    place.branch("main/b", place.second)
    assert (await folder(place.root(), b"branches/main")).key != before.key


@in_trio
async def test_a_pruned_commit_is_stale_and_leaves_the_others(place: Place) -> None:
    gone = ObjectHash(0x1234567)
    root = place.revisions.snapshot(
        [Branch("gone", gone), Branch("main", place.second)], Branch("main", place.second)
    )
    branches = await folder(root, b"branches")
    assert names(await branches.listing()) == [b"gone", b"main"]
    with pytest.raises(StaleRevision, match="is gone"):
        await contents(await lookup(branches, b"gone"))
    assert await contents(await lookup(branches, b"main")) == SECOND
    assert len(names(await (await folder(root, b"commits")).listing())) == 3


def test_a_repository_without_a_default_branch_has_no_head(place: Place) -> None:
    root = place.revisions.snapshot(place.remote.branches(), None)
    assert isinstance(root, revisions.FolderOfFolders)
    assert list(root._children) == [b"branches", b"commits"]
