"""The tree of a commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
from in_trio import in_trio
from repositories import KIB, MTIME_NS, commit, make_repository, noise, spied

from oxenfs.errors import NotFound
from oxenfs.model import Author, Kind, ObjectHash, hash_text
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.views import commit as view
from oxenfs.views.base import Directory, File, lookup
from oxenfs.views.commit import CommitDirectory, CommitFile, date_text, root_of

from .suite import Case, DirectorySuite, Tree, contents

FILES = {
    b"empty": b"",
    b"a": b"one\n",
    b"clip.mp4": noise(600 * KIB, 1),
    b"sub/a": b"one\n",
    b"sub/b c\nd\x01": b"odd name",
    b"sub/" + b"n" * 255: b"long name",
    "sub/deep/ünï/文".encode(): b"deep",
}


def tree_of(files: dict[bytes, bytes]) -> Tree:
    tree: dict[bytes, bytes | Tree] = {}
    for path, data in files.items():
        *above, name = path.split(b"/")
        place = tree
        for part in above:
            place = place.setdefault(part, {})  # type: ignore[assignment]
        place[name] = data
    return tree


class Fixture:
    """A repository with one commit on `main`, and the means to look at it."""

    def __init__(self, folder: Path) -> None:
        self.remote: LocalRemote = make_repository(folder / "repository", FILES)
        commit(self.remote, {}, folders=[b"hollow"], message="an empty folder")
        self.spy, spied_remote = spied(self.remote)
        self.metadata = Metadata(spied_remote, folder / "cache")
        self.blobs = DirectBlobs(self.remote)

    def root(self) -> CommitDirectory:
        head = self.remote.commit(self.remote.branch("main").commit)
        tree = view.Tree(head, self.metadata, self.blobs)
        return root_of(tree, self.remote.root(head.id))

    def close(self) -> None:
        self.blobs.close()
        self.metadata.close()
        self.remote.close()


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[Fixture]:
    made = Fixture(tmp_path)
    yield made
    made.close()


class TestCommit(DirectorySuite):
    @pytest.fixture
    def case(self, fixture: Fixture) -> Case:
        return Case(fixture.root(), {**tree_of(FILES), b"hollow": {}})


async def at(directory: Directory, path: bytes) -> CommitFile:
    node: object = directory
    for name in path.split(b"/"):
        assert isinstance(node, Directory)
        node = await lookup(node, name)
    assert isinstance(node, CommitFile)
    return node


@in_trio
async def test_a_file_has_the_time_of_its_node(fixture: Fixture) -> None:
    said = await (await at(fixture.root(), b"sub/a")).stat()
    assert said.mtime_ns == MTIME_NS


@in_trio
async def test_a_directory_has_the_date_of_the_last_commit_below(fixture: Fixture) -> None:
    first = fixture.remote.commit(fixture.remote.branch("main").commit)
    second = fixture.remote.commit(commit(fixture.remote, {b"sub/deep/new": b"n"}))
    root = fixture.root()
    assert (await root.stat()).mtime_ns == second.timestamp_ns
    assert (await (await lookup(root, b"sub")).stat()).mtime_ns == second.timestamp_ns
    assert (await (await lookup(root, b"hollow")).stat()).mtime_ns == first.timestamp_ns


@in_trio
async def test_extended_attributes_say_who_changed_a_file_last(fixture: Fixture) -> None:
    before = fixture.remote.commit(fixture.remote.branch("main").commit)
    id = commit(fixture.remote, {b"sub/a": b"two"}, message="better", author=Author("Bo", "b@x"))
    after = fixture.remote.commit(id)
    root = fixture.root()
    changed = await (await at(root, b"sub/a")).xattrs()
    assert changed == {
        "user.oxen.hash": hash_text(xxhash.xxh3_128_intdigest(b"two")).encode(),
        "user.oxen.commit": hash_text(id).encode(),
        "user.oxen.author": b"Bo <b@x>",
        "user.oxen.date": date_text(after.timestamp_ns).encode(),
        "user.oxen.message": b"better",
    }
    kept = await (await at(root, b"clip.mp4")).xattrs()
    assert kept["user.oxen.commit"] == hash_text(before.parents[0]).encode()
    assert kept["user.oxen.author"] == b"Ada <ada@example.com>"
    assert (await (await lookup(root, b"sub")).xattrs())["user.oxen.message"] == b"better"
    assert (await root.xattrs())["user.oxen.message"] == b"better"


@in_trio
async def test_a_pruned_commit_costs_only_its_facts(fixture: Fixture) -> None:
    root = fixture.root()
    file = await at(root, b"a")
    last = ObjectHash(int((await file.xattrs())["user.oxen.commit"], 16))
    fixture.metadata._commits.clear()
    fixture.spy.failures[last] = NotFound("pruned")
    assert list(await file.xattrs()) == ["user.oxen.hash", "user.oxen.commit"]


@in_trio
async def test_a_message_is_cut_to_what_the_kernel_hands_on(fixture: Fixture) -> None:
    commit(fixture.remote, {b"a": b"x"}, message="m" * 70_000)
    assert len((await (await at(fixture.root(), b"a")).xattrs())["user.oxen.message"]) == 65_536


@in_trio
async def test_a_file_knows_its_kind(fixture: Fixture) -> None:
    root = fixture.root()
    assert (await at(root, b"clip.mp4")).kind is Kind.VIDEO
    assert (await at(root, b"a")).kind is Kind.TEXT


@in_trio
async def test_walking_reads_no_blob(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> None:
        raise AssertionError("a blob was looked at")

    monkeypatch.setattr(fixture.remote, "locate", no)

    async def visit(directory: Directory) -> int:
        listing = await directory.listing()
        count = listing.count
        for index in range(listing.count):
            child = directory.child(listing, index)
            await child.stat()
            await child.xattrs()
            if isinstance(child, File):
                (await child.open()).close()
            if isinstance(child, Directory):
                count += await visit(child)
        return count

    assert await visit(fixture.root()) == len(FILES) + 4


@in_trio
async def test_each_directory_is_fetched_once_for_all(fixture: Fixture) -> None:
    for _ in range(2):
        await contents(fixture.root())
    assert len(fixture.spy.calls) == len(set(fixture.spy.calls))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_600_000_000_000_000_001, "2020-09-13T12:26:40.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_dates_are_written_in_full(ns: int, text: str) -> None:
    assert date_text(ns) == text
