"""A mount that moves: its handlers called as pyfuse3 calls them, and a kernel that notes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyfuse3
import pytest
import trio
from in_trio import in_trio
from repositories import commit, make_repository

from oxenfs.address import Address
from oxenfs.errors import Conflict, NotFound, UsageError
from oxenfs.model import hash_text
from oxenfs.mount import changes
from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Operations, Usage
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.views import stack
from oxenfs.views.plan import Plan

from .calling import Lister, code_of, entry_of, find

FILES = {
    b"a": b"one",
    b"same": b"same",
    b"changing/x": b"x one",
    b"changing/same": b"same",
    b"changing/gone": b"gone",
    b"changing/deep/y": b"y one",
    b"vanishing/sub/z": b"z one",
    b"still/s": b"s",
    b"turning": b"a file",
}
LATER = {b"changing/x": b"x two!", b"changing/deep/y": b"y two", b"changing/new": b"new"}


class Notes:
    """A kernel that notes what it is told, in which thread."""

    def __init__(self, handlers: Operations) -> None:
        self.handlers = handlers
        self.names: list[tuple[Inode, bytes]] = []
        self.attributes: list[Inode] = []
        self.threads: set[int] = set()
        self.held: threading.Event | None = None

    def forget_entry(self, parent: Inode, name: bytes) -> None:
        self.threads.add(threading.get_ident())
        if self.held is not None:
            assert self.held.wait(10)
        self.names.append((parent, name))

    def forget_attributes(self, inode: Inode) -> None:
        self.threads.add(threading.get_ident())
        self.attributes.append(inode)

    def forget_pages(self, inodes: Iterable[Inode]) -> None:
        assert not list(inodes), "a move takes no pages back"


class Place:
    def __init__(self, folder: Path) -> None:
        self.remote: LocalRemote = make_repository(folder / "repository", FILES)
        self.first = self.remote.branch("main").commit
        self.stack = stack.build(Plan(Address(folder / "repository"), folder / "cache"))
        facts = self.stack.facts
        self.handlers = Operations(self.stack.root, Usage(facts.size_bytes, facts.files))
        self.mover = Mover(self.stack, self.handlers)
        self.notes = self.mover.kernel = Notes(self.handlers)

    def change(self) -> None:
        commit(
            self.remote,
            LATER | {b"turning/inside": b"now a folder"},
            remove=[b"changing/gone", b"vanishing", b"turning"],
        )

    async def content(self, inode: Inode) -> bytes:
        opened = await self.handlers.open(inode, 0)
        found = bytes(await self.handlers.read(int(opened.fh), 0, 10_000))
        await self.handlers.release(int(opened.fh))
        return found

    async def inodes(self, *paths: bytes) -> dict[bytes, Inode]:
        return {path: await find(self.handlers, path) for path in paths}


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


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.01)


EVERYTHING = (*FILES, b"changing", b"changing/deep", b"vanishing", b"vanishing/sub", b"still")


@in_trio
async def test_what_is_the_same_keeps_its_inode_and_what_changed_gets_another(place: Place) -> None:
    before = await place.inodes(*EVERYTHING)
    place.change()
    await place.mover.pull()
    for path in (b"a", b"same", b"changing/same", b"still/s"):
        assert await find(place.handlers, path) == before[path], path
    for path in (b"changing", b"changing/deep", b"still"):
        assert await find(place.handlers, path) == before[path], path
    for path in (b"changing/x", b"changing/deep/y", b"turning"):
        assert await find(place.handlers, path) not in before.values(), path
    for path, data in LATER.items():
        assert await place.content(await find(place.handlers, path)) == data
    for path in (b"changing/gone", b"vanishing", b"vanishing/sub/z"):
        assert await code_of(find(place.handlers, path)) == errno.ENOENT


@in_trio
async def test_the_kernel_is_told_what_it_may_know_and_nothing_else(place: Place) -> None:
    before = await place.inodes(*EVERYTHING)
    place.change()
    await place.mover.pull()
    changing, deep = before[b"changing"], before[b"changing/deep"]
    assert sorted(place.notes.names) == sorted(
        [
            (ROOT, b"turning"),
            (ROOT, b"vanishing"),
            (changing, b"gone"),
            (changing, b"new"),
            (changing, b"x"),
            (deep, b"y"),
        ]
    )
    assert sorted(place.notes.attributes) == sorted([ROOT, changing, deep])
    assert threading.get_ident() not in place.notes.threads


@in_trio
async def test_what_was_never_looked_into_is_not_compared(place: Place) -> None:
    await find(place.handlers, b"changing")
    place.change()
    await place.mover.pull()
    assert sorted(place.notes.names) == [(ROOT, b"turning"), (ROOT, b"vanishing")]


@in_trio
async def test_back_and_forth_gives_the_numbers_of_before_and_grows_nothing(place: Place) -> None:
    before = await place.inodes(*FILES)
    place.change()
    await place.mover.pull()
    after = await place.inodes(*LATER)
    await place.mover.checkout(hash_text(place.first), None)
    kept = [path for path in FILES if not path.startswith(b"vanishing")]
    assert await place.inodes(*kept) == {path: before[path] for path in kept}
    await place.mover.checkout("main", None)
    assert await place.inodes(*LATER) == after
    blocks = len(place.handlers.inodes.given.blocks.bases)
    for _ in range(20):
        await place.mover.checkout(hash_text(place.first), None)
        await place.inodes(*kept)
        await place.mover.checkout("main", None)
        await place.inodes(*LATER)
    assert (
        len(place.handlers.inodes.given.blocks.bases) - blocks <= 2 * 20
    )  # the folder that comes and goes
    assert len(place.handlers.inodes._worlds) == 2 + 1  # `main` has a fact of its own: its branch


@in_trio
async def test_an_open_file_keeps_its_bytes_and_its_attributes(place: Place) -> None:
    inode = await find(place.handlers, b"changing/x")
    opened = await place.handlers.open(inode, 0)
    gone = await find(place.handlers, b"vanishing/sub/z")
    place.change()
    await place.mover.pull()
    assert bytes(await place.handlers.read(int(opened.fh), 0, 100)) == b"x one"
    assert (await place.handlers.getattr(inode)).st_size == 5
    assert (await place.handlers.getattr(gone)).st_size == 5
    assert await place.content(gone) == b"z one"
    assert await place.handlers.inodes.path(gone) == b"vanishing/sub/z"
    assert await place.handlers.getxattr(inode, b"user.oxen.commit") == (
        hash_text(place.first).encode()
    )


@in_trio
async def test_a_folder_that_is_gone_is_not_found(place: Place) -> None:
    inodes = await place.inodes(b"vanishing", b"vanishing/sub", b"vanishing/sub/z")
    place.change()
    await place.mover.pull()
    for path in (b"vanishing", b"vanishing/sub"):
        assert await code_of(place.handlers.opendir(inodes[path])) == errno.ENOENT
        assert await code_of(place.handlers.getattr(inodes[path])) == errno.ENOENT
        assert await code_of(place.handlers.lookup(inodes[path], b"z")) == errno.ENOENT


@in_trio
async def test_a_listing_under_way_ends_as_it_began_and_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = await find(place.handlers, b"changing")
    fh = await place.handlers.opendir(changing)
    place.change()
    await place.mover.pull()
    listed: list[tuple[bytes, float, float]] = []

    def reply(_: object, name: bytes, entry: pyfuse3.EntryAttributes, __: int) -> bool:
        listed.append((name, entry.entry_timeout, entry.attr_timeout))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    await place.handlers.readdir(fh, 0, None)
    assert listed == [(name, 0, 0) for name in (b"deep", b"gone", b"same", b"x")]
    listed.clear()
    await place.handlers.readdir(await place.handlers.opendir(changing), 0, None)
    assert [name for name, _, _ in listed] == [b"deep", b"new", b"same", b"x"]
    assert all(timeout > 1000 for _, timeout, _ in listed)


@in_trio
async def test_a_request_under_way_is_answered_from_one_commit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup whose listing takes until after the move must not give an old entry to keep."""
    changing = await find(place.handlers, b"changing")
    old = await find(place.handlers, b"changing/x")
    place.change()
    metadata = place.stack.supply.metadata
    listing = type(metadata).listing
    gate, entered = trio.Event(), trio.Event()
    first = True

    async def slow(self: object, *arguments: object) -> object:
        nonlocal first
        if first:
            first = False
            entered.set()
            await gate.wait()
        return await listing(self, *arguments)  # type: ignore[arg-type]

    found: list[int] = []

    async def ask() -> None:
        found.append(entry_of(await place.handlers.lookup(changing, b"x")).inode)

    async with trio.open_nursery() as nursery:
        monkeypatch.setattr(type(metadata), "listing", slow)
        nursery.start_soon(ask)
        await entered.wait()
        await place.mover.pull()
        gate.set()
    assert found != [old]
    assert await place.content(Inode(found[0])) == b"x two!"


@in_trio
async def test_a_directory_looked_into_during_the_comparison_is_compared_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = await find(place.handlers, b"changing")
    place.change()
    looked = False
    steps = changes._steps

    async def meanwhile(*arguments: object) -> object:
        nonlocal looked
        if not looked:
            looked = True
            await find(place.handlers, b"changing/deep/y")
        return await steps(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(changes, "_steps", meanwhile)
    await place.mover.pull()
    assert (changing, b"x") in place.notes.names
    deep = await find(place.handlers, b"changing/deep")
    assert (deep, b"y") in place.notes.names


@in_trio
async def test_info_and_hidden_entries_move_too(place: Place) -> None:
    info = await find(place.handlers, b".oxenfs/info.json")
    folder = await find(place.handlers, b".oxenfs")
    old = await place.content(info)
    place.change()
    facts = await place.mover.pull()
    assert (folder, b"info.json") in place.notes.names
    assert await find(place.handlers, b".oxenfs") == folder
    new = await find(place.handlers, b".oxenfs/info.json")
    assert new != info
    assert hash_text(facts.commit.id).encode() in await place.content(new)
    assert await place.content(info) == old


@in_trio
async def test_a_repository_that_gets_a_hidden_name_itself_shows_its_own(place: Place) -> None:
    await find(place.handlers, b".oxenfs/info.json")
    commit(place.remote, {b".oxenfs/own": b"own"})
    await place.mover.pull()
    assert (ROOT, b".oxenfs") in place.notes.names
    assert await place.content(await find(place.handlers, b".oxenfs/own")) == b"own"
    assert await code_of(find(place.handlers, b".oxenfs/info.json")) == errno.ENOENT


@in_trio
async def test_cancelling_before_the_flip_leaves_all_and_after_it_the_kernel_is_told(
    place: Place,
) -> None:
    await place.inodes(*EVERYTHING)
    place.change()
    with trio.CancelScope() as scope:
        scope.cancel()
        await place.mover.pull()
    assert place.handlers.inodes.generation == 0
    place.notes.held = threading.Event()
    async with trio.open_nursery() as daemon:
        place.handlers.attach(daemon)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as caller:
                caller.start_soon(place.mover.pull)
                await until(lambda: place.handlers.inodes.generation > 0)
                await trio.sleep(0.05)
                scope.cancel()
        assert place.notes.names == []
        place.notes.held.set()
        await until(lambda: len(place.notes.names) == 6)


@in_trio
async def test_a_move_whose_tree_cannot_be_had_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.inodes(*EVERYTHING)
    place.change()

    def lost(*_: object) -> object:
        raise NotFound("pruned")

    monkeypatch.setattr(type(place.stack.remote), "directory", lost)
    with pytest.raises(NotFound):
        await place.mover.pull()
    assert place.handlers.inodes.generation == 0
    assert place.notes.names == []
    assert place.mover.shown.facts.commit.id == place.first


@in_trio
async def test_checkout_makes_a_branch_and_refuses_one_that_is_there(place: Place) -> None:
    facts = await place.mover.checkout(None, "dev")
    assert (facts.branch, facts.commit.id) == ("dev", place.first)
    assert place.remote.branch("dev").commit == place.first
    with pytest.raises(Conflict, match="already"):
        await place.mover.checkout(None, "main")
    with pytest.raises(UsageError):
        await place.mover.checkout(None, "a..b")
    with pytest.raises(NotFound, match="there is"):
        await place.mover.checkout("mian", None)
    await place.mover.checkout(hash_text(place.first), None)
    with pytest.raises(UsageError, match="never moves"):
        await place.mover.pull()


@in_trio
async def test_a_pull_with_nothing_new_does_nothing(place: Place) -> None:
    told: list[object] = []
    place.mover.shown.listen(told.append)
    await place.mover.pull()
    assert place.handlers.inodes.generation == 0
    assert told == []
    place.change()
    facts = await place.mover.pull()
    assert told == [facts]


@in_trio
async def test_following_pulls_and_goes_on_after_failures(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.change()
    heads = type(place.stack).head
    calls = 0

    def failing(self: object, branch: str) -> object:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise NotFound("no branch")
        return heads(self, branch)  # type: ignore[arg-type]

    monkeypatch.setattr(type(place.stack), "head", failing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.mover.follow, 0.01)
        await until(lambda: place.handlers.inodes.generation > 0)
        nursery.cancel_scope.cancel()
    assert caplog.text.count("cannot follow") == 1
