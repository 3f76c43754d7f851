"""Listings and commits that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from in_trio import in_trio
from repositories import Spy, commit, spied

from oxenfs.errors import NotFound, RemoteUnavailable, StaleRevision
from oxenfs.model import ObjectHash
from oxenfs.remote.base import TreePlace
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store import metadata
from oxenfs.store.columns import Listing
from oxenfs.store.metadata import Metadata

from .listings import names, node


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


def test_a_listing_that_the_remote_has_no_more_is_stale(spy: tuple[Spy, Metadata]) -> None:
    with pytest.raises(StaleRevision, match="no more"):
        trio.run(spy[1].listing, ObjectHash(1), TreePlace(ObjectHash(2), b""))


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
