"""Listings and commits that are kept."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
import trio
import trio.testing
from in_trio import in_trio
from repositories import Spy, commit, make_repository, spied

from oxenfs.errors import IntegrityError, NotFound, RemoteUnavailable
from oxenfs.model import ObjectHash
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.rows import find_row
from oxenfs.store import metadata
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import Metadata

FILES = {b"a": b"1", b"sub/b": b"22", b"sub/deep/c": b"333", b"other/d": b"4444"}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", FILES)
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def spy(repository: LocalRemote, cache: Path) -> Iterator[tuple[Spy, Metadata]]:
    spy, remote = spied(repository)
    kept = Metadata(remote, cache)
    yield spy, kept
    kept.close()


def node(remote: LocalRemote, path: bytes = b"") -> tuple[ObjectHash, TreePlace]:
    """Return the id of the directory at `path` of the branch's head, and its place."""
    head = remote.branch("main").commit
    row = find_row(remote, head, path)
    return remote.root(head) if row is None else row.id, TreePlace(head, path)


def names(listing: Listing) -> list[bytes]:
    return listing.names_between(0, listing.count)


def listed(remote: Remote, cache: Path, id: ObjectHash, place: TreePlace) -> list[bytes]:
    """Return the names in a directory as a new process would see them."""
    kept = Metadata(remote, cache)
    try:
        return names(trio.run(kept.listing, id, place))
    finally:
        kept.close()


@in_trio
async def test_many_who_ask_at_once_cost_one_call(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    calls, kept = spy
    id, place = node(repository)
    found: list[Listing] = []

    async def ask() -> None:
        found.append(await kept.listing(id, place))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert calls.calls.count(id) == 1
    assert [names(listing) for listing in found] == [[b"a", b"other", b"sub"]] * 50


@in_trio
async def test_the_second_time_needs_no_remote_and_no_wait(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    calls, kept = spy
    id, place = node(repository)
    first = await kept.listing(id, place)
    calls.calls.clear()
    with trio.testing.assert_no_checkpoints():
        assert await kept.listing(id, place) is first
    assert calls.calls == []


@in_trio
async def test_listings_outlive_a_mount(repository: LocalRemote, cache: Path) -> None:
    id, place = node(repository)
    first = Metadata(repository, cache)
    await first.listing(id, place)
    first.close()
    spy, remote = spied(repository)
    second = Metadata(remote, cache)
    with trio.testing.assert_no_checkpoints():
        listing = await second.listing(id, place)
    second.close()
    assert names(listing) == [b"a", b"other", b"sub"]
    assert spy.calls == []


@in_trio
async def test_a_failure_is_told_to_all_who_wait_and_not_kept(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    calls, kept = spy
    id, place = node(repository)
    calls.failures[id] = RemoteUnavailable("no answer")
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(RemoteUnavailable, match="no answer"):
            await kept.listing(id, place)
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert failed == 10
    assert calls.calls == [id]
    calls.failures.clear()
    assert names(await kept.listing(id, place)) == [b"a", b"other", b"sub"]


@in_trio
async def test_who_gives_up_does_not_take_the_others_along(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    calls, kept = spy
    id, place = node(repository)
    found: list[Listing] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await kept.listing(id, place))

    scopes = [trio.CancelScope() for _ in range(6)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(ask, scope)
        await trio.testing.wait_all_tasks_blocked()
        # Whoever came first has the transfer; all but the last two give up.
        for scope in scopes[:4]:
            scope.cancel()
    assert len(found) >= 2
    assert calls.calls.count(id) <= 2


def test_a_listing_that_is_not_there_is_not_found(spy: tuple[Spy, Metadata]) -> None:
    with pytest.raises(NotFound):
        trio.run(spy[1].listing, ObjectHash(1), TreePlace(ObjectHash(2), b""))


def test_a_damaged_record_is_made_again(
    repository: LocalRemote, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    id, place = node(repository)
    assert listed(repository, cache, id, place) == [b"a", b"other", b"sub"]
    with lmdb.open(str(cache / "tree"), max_dbs=1, map_size=1 << 40) as database:
        table = database.open_db(b"listings")
        with database.begin(write=True) as txn:
            ((key, value),) = list(txn.cursor(db=table))
            # One letter of a name: nothing but the seal can tell.
            assert value.count(b"other") == 1
            txn.put(key, value.replace(b"other", b"othor"), db=table)
    assert listed(repository, cache, id, place) == [b"a", b"other", b"sub"]
    assert "made again" in caplog.text
    caplog.clear()
    assert listed(repository, cache, id, place) == [b"a", b"other", b"sub"]
    assert caplog.text == ""


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def garbage(data: bytes) -> bytes:
    return b"garbage!" * (len(data) // 8)


def no_meta(data: bytes) -> bytes:
    return b"\xff" * 8192 + data[8192:]


LIST = """
import logging, sys, trio
from pathlib import Path
from oxenfs.model import ObjectHash
from oxenfs.remote.base import TreePlace
from oxenfs.remote.local.repository import open_repository
from oxenfs.store.metadata import Metadata

logging.basicConfig(level="WARNING", stream=sys.stderr)
repository, cache, id, commit = sys.argv[1:]
kept = Metadata(open_repository(Path(repository)), Path(cache))
listing = trio.run(kept.listing, ObjectHash(int(id)), TreePlace(ObjectHash(int(commit)), b""))
print(listing.names_between(0, listing.count))
"""


@pytest.mark.parametrize("damage", [zeros, garbage, no_meta])
def test_a_database_that_does_not_open_is_set_aside(
    repository: LocalRemote, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    id, place = node(repository)
    assert listed(repository, cache, id, place) == [b"a", b"other", b"sub"]
    data = cache / "tree" / "data.mdb"
    data.write_bytes(damage(data.read_bytes()))
    # In a process of its own: LMDB might not survive it.
    arguments = [str(repository.layout.root), str(cache), str(id), str(place.commit)]
    done = subprocess.run(
        [sys.executable, "-c", LIST, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[b'a', b'other', b'sub']\n"
    assert "set aside" in done.stderr
    assert (cache / "tree.damaged" / "data.mdb").exists()
    assert (cache / "tree" / "data.mdb").exists()


def test_a_database_that_lost_its_tail_does_not_kill(repository: LocalRemote, cache: Path) -> None:
    id, place = node(repository)
    listed(repository, cache, id, place)
    data = cache / "tree" / "data.mdb"
    whole = data.stat().st_size
    arguments = [str(repository.layout.root), str(cache), str(id), str(place.commit)]
    for pages in range(1, whole // 4096):
        with data.open("r+b") as file:
            file.truncate(pages * 4096)
        done = subprocess.run(
            [sys.executable, "-c", LIST, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (pages, done.stderr)
        assert done.stdout == "[b'a', b'other', b'sub']\n"


@in_trio
async def test_memory_holds_a_fixed_number_of_bytes(
    spy: tuple[Spy, Metadata], repository: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, kept = spy
    places = [node(repository, path) for path in (b"", b"sub", b"sub/deep", b"other")]
    first = await kept.listing(*places[0])
    monkeypatch.setattr(metadata, "LISTING_BYTES_KEPT", 2 * first.bytes)
    for _ in range(3):
        for place in places:
            await kept.listing(*place)
            held = sum(listing.bytes for listing in kept._listings.values())
            assert held == kept._listing_bytes <= 2 * first.bytes
    # What was dropped came back from the disk.
    assert sorted(calls.calls.count(id) for id, _ in places) == [1, 1, 1, 1]
    assert await kept.listing(*places[0]) is not first


@in_trio
async def test_a_listing_larger_than_the_limit_is_kept_alone(
    spy: tuple[Spy, Metadata], repository: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kept = spy
    monkeypatch.setattr(metadata, "LISTING_BYTES_KEPT", 1)
    for path in (b"", b"sub"):
        listing = await kept.listing(*node(repository, path))
        assert await kept.listing(*node(repository, path)) is listing
        assert len(kept._listings) == 1


@in_trio
async def test_a_directory_has_the_date_of_its_last_commit(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    _, kept = spy
    first = repository.commit(repository.branch("main").commit)
    second = repository.commit(commit(repository, {b"sub/b": b"new"}))
    listing = await kept.listing(*node(repository))
    assert first.timestamp_ns != second.timestamp_ns
    assert listing.mtimes[listing.find(b"sub")] == second.timestamp_ns
    assert listing.mtimes[listing.find(b"other")] == first.timestamp_ns


@in_trio
async def test_a_directory_whose_commit_is_gone_has_no_date(
    spy: tuple[Spy, Metadata], repository: LocalRemote, caplog: pytest.LogCaptureFixture
) -> None:
    calls, kept = spy
    head = repository.branch("main").commit
    calls.failures[head] = NotFound("pruned")
    listing = await kept.listing(*node(repository))
    assert names(listing) == [b"a", b"other", b"sub"]
    assert listing.mtimes[listing.find(b"sub")] == 0
    assert "is gone" in caplog.text
    with pytest.raises(NotFound):
        await kept.commit(head)


@in_trio
async def test_a_commit_is_asked_for_once(
    spy: tuple[Spy, Metadata], repository: LocalRemote
) -> None:
    calls, kept = spy
    head = repository.branch("main").commit
    assert await kept.commit(head) == repository.commit(head)
    assert await kept.commit(head) == repository.commit(head)
    assert calls.calls == [head]


@in_trio
async def test_repositories_that_share_a_cache_do_not_share_listings(
    repository: LocalRemote, cache: Path
) -> None:
    id, place = node(repository)
    one, other = spied(repository, "one"), spied(repository, "other")
    for _, remote in (one, other):
        kept = Metadata(remote, cache)
        await kept.listing(id, place)
        kept.close()
    assert [spy.calls.count(id) for spy, _ in (one, other)] == [1, 1]


@in_trio
async def test_a_disk_that_takes_nothing_costs_only_speed(
    spy: tuple[Spy, Metadata],
    repository: LocalRemote,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, kept = spy

    def full(*_: object) -> None:
        raise IntegrityError("the disk is full")

    monkeypatch.setattr(kept._env, "write", full)
    assert names(await kept.listing(*node(repository))) == [b"a", b"other", b"sub"]
    assert "cannot be kept" in caplog.text


def test_quiet_when_all_is_well(
    repository: LocalRemote, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listed(repository, cache, *node(repository))
    assert caplog.text == ""
