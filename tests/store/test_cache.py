"""The disk cache: what is kept, what has to go, and what is on the disk meanwhile."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import noise

from oxenfs.errors import OxenfsError
from oxenfs.model import ObjectHash
from oxenfs.store import eviction
from oxenfs.store.cache import Cache
from oxenfs.store.cache_objects import Object, small_key
from oxenfs.store.cache_open import open_cache
from oxenfs.store.records import ListingRecords
from oxenfs.store.upkeep import clear, collect, verify

from .caching import HOST, MIB, chunk, held, on_disk, small, smalls


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[Cache]:
    made = open_cache(folder, 64 * MIB)
    yield made
    made.close()


def test_what_was_put_is_there_also_for_the_next_one(folder: Path) -> None:
    objects = [*smalls(300), *[chunk(7, number) for number in range(20)]]
    cache = open_cache(folder, 64 * MIB)
    assert cache.put_many(objects)
    assert all(held(cache, each) for each in objects)
    cache.close()
    again = open_cache(folder)
    assert all(held(again, each) for each in objects)
    assert again.room.totals().blobs == 301
    assert again.large(chunk(7, 0).key[:-4]).here == 20
    again.close()


def test_nothing_is_shared_between_hosts(cache: Cache) -> None:
    data = b"the same bytes"
    cache.put_many([small(data)])
    assert held(cache, small(data))
    assert not held(cache, small(data, b"another host's 1"))


def test_derived_objects_are_kept_by_any_key(cache: Cache) -> None:
    key = b"clip.mp4\0frame 7\0" + bytes(400)
    assert cache.get(key) is None
    cache.put(key, b"jpeg")
    cache.put(key, b"other")
    assert cache.get(key) == b"jpeg"
    cache.put(b"empty", b"")
    assert cache.get(b"empty") == b""
    large = os.urandom(3 * MIB + 5)
    cache.put(b"large", large)
    assert cache.get(b"large") == large
    assert cache.room.totals().derived == 3
    with pytest.raises(ValueError, match="501"):
        cache.put(bytes(501), b"")


@pytest.mark.parametrize("limit", [3 * MIB, 9 * MIB + 12345])
def test_the_limit_holds_on_the_disk_at_every_moment(folder: Path, limit: int) -> None:
    cache = open_cache(folder, limit)
    rng = random.Random(limit)
    for turn in range(60):
        group = (
            smalls(rng.randint(1, 40), rng.randint(1, 60_000), turn)
            if rng.random() < 0.5
            else [chunk(turn, number) for number in range(rng.randint(1, 6))]
        )
        assert cache.put_many(group)
        assert held(cache, group[-1])
        assert cache.room.totals().used_bytes <= limit
        assert on_disk(folder) <= limit
    assert cache.room.evicted > 100
    assert cache.room.totals().used_bytes > limit // 2
    cache.close()


def test_listings_in_the_same_folder_count_too(folder: Path) -> None:
    limit = 12 * MIB
    cache = open_cache(folder, limit)
    records = ListingRecords("http:host/ns/name", folder)
    for turn in range(30):
        cache.put_many([chunk(turn, number) for number in range(8)])
        records.put(ObjectHash(turn), noise(100_000, turn))
        cache.room.shrink()
        assert on_disk(folder) <= limit
    assert cache.room.totals().used_bytes > limit // 2
    # However large they are, something is left to what is read.
    records.put(ObjectHash(99), bytes(20 * MIB))
    assert cache.put_many([chunk(99, number) for number in range(4)])
    assert held(cache, chunk(99, 3))
    assert on_disk(folder / "blobs" / "data") <= limit // 4
    records.close()
    cache.close()


def test_folders_of_segments_that_went_go_as_well(folder: Path) -> None:
    cache = open_cache(folder, 3 * MIB)
    for turn in range(200):
        assert cache.put_many([chunk(turn, number) for number in range(4)])
    assert len(list((folder / "blobs" / "data").iterdir())) < 10
    cache.close()


def test_the_least_recently_used_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 10**18
    monkeypatch.setattr("oxenfs.store.ages.time.time_ns", lambda: moment)
    cache = open_cache(folder, 14 * MIB)
    chunks = [chunk(1, number) for number in range(100)]
    for each in chunks[:40]:
        moment += 10**8
        cache.put_many([each])
    for each in chunks[:10]:
        moment += 10**8
        assert held(cache, each)
    for each in chunks[40:60]:
        moment += 10**8
        cache.put_many([each])
    still = [held(cache, each) for each in chunks[:60]]
    # Those read again are younger than those that were only put: 10..39 go first, in order.
    order = [*range(10, 40), *range(10), *range(40, 60)]
    gone = still.count(False)
    assert [still[number] for number in order] == [False] * gone + [True] * (60 - gone)
    assert 5 < gone < 40
    cache.close()


def test_a_large_cache_is_sampled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "SAMPLE", 50)
    for turn in range(12):
        cache.put_many(smalls(100, 20_000, turn))
    cache.room.set_limit(8 * MIB)
    kept = sum(held(cache, each) for turn in range(12) for each in smalls(100, 20_000, turn))
    assert 100 < kept < 400
    assert cache.room.totals().used_bytes <= 8 * MIB


def test_what_is_pinned_stays(cache: Cache) -> None:
    pinned = [chunk(1, number, 2 * MIB) for number in range(8)]
    blob = pinned[0].key[:32]
    assert cache.room.pin([(blob, 2 * MIB)]) == 1
    assert cache.room.pin([(blob, 2 * MIB)]) == 0
    cache.put_many(pinned)
    for number in range(400):
        assert cache.put_many([chunk(2, number, 128 * MIB)])
    assert all(held(cache, each) for each in pinned)
    assert cache.room.totals().pinned_bytes == 2 * MIB
    with pytest.raises(OxenfsError, match="cache-size"):
        cache.room.pin([(small_key(HOST, 9), 70 * MIB)])
    assert cache.room.totals().pinned_bytes == 2 * MIB
    assert cache.room.unpin([blob, blob]) == 1
    for number in range(400, 800):
        cache.put_many([chunk(2, number, 256 * MIB)])
    assert not any(held(cache, each) for each in pinned)


def test_a_cache_full_of_pinned_blobs_keeps_nothing_else(folder: Path) -> None:
    cache = open_cache(folder, 8 * MIB)
    pinned = [chunk(1, number, 7 * MIB) for number in range(24)]
    cache.room.pin([(pinned[0].key[:32], 7 * MIB - 500_000)])
    assert cache.put_many(pinned[:12])
    assert cache.put_many(pinned[12:])
    assert not cache.put_many([chunk(2, number) for number in range(8)])
    assert all(held(cache, each) for each in pinned)
    assert on_disk(folder / "blobs") <= 8 * MIB
    cache.close()


def test_a_large_blob_is_checked_as_long_as_all_of_it_is_here(cache: Cache) -> None:
    chunks = [chunk(3, number, MIB * 2) for number in range(8)]
    blob = chunks[0].key[:-4]
    cache.put_many(chunks[:7])
    assert not cache.set_checked(blob, 8)
    cache.put_many(chunks[7:])
    assert cache.set_checked(blob, 8)
    assert cache.large(blob).checked
    cache.put_many(chunks)
    assert cache.large(blob) == (8, True)
    row = cache.find(*chunks[2][:2])
    assert row is not None
    cache.discard("chunks", chunks[2].key, row, "a test")
    assert cache.large(blob) == (7, False)
    cache.drop_blob(blob, 8)
    assert cache.large(blob) == (0, False)
    assert not any(held(cache, each) for each in chunks)


def test_clear_leaves_what_is_pinned_and_gives_back_the_rest(cache: Cache, folder: Path) -> None:
    objects = smalls(200)
    cache.put_many(objects)
    cache.put(b"derived", bytes(MIB))
    cache.room.pin([(objects[0].key, len(objects[0].data))])
    assert clear(cache) == 200
    assert [held(cache, each) for each in objects] == [True] + [False] * 199
    assert clear(cache, pinned=True) == 1
    assert cache.room.totals()[2:] == (0, 0, 0)
    cache.close()
    assert on_disk(folder / "blobs" / "data") <= 256 * 4096


def test_verify_finds_and_drops_damage_alone(cache: Cache, folder: Path) -> None:
    objects = [*smalls(50), *[chunk(1, number) for number in range(10)]]
    cache.put_many(objects)
    assert verify(cache) == (60, sum(len(each.data) for each in objects), 0)
    (path,) = (folder / "blobs" / "data").rglob("*.seg")
    with path.open("r+b") as file:
        for offset in (5, 12_288 * 7 + 9):
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))
    assert verify(cache).damaged == 2
    assert sum(held(cache, each) for each in objects) == 58
    assert cache.put_many(objects)
    assert all(held(cache, each) for each in objects)


def test_collect_deletes_files_nobody_knows(cache: Cache, folder: Path) -> None:
    cache.put_many(smalls(10))
    cache.put_many([chunk(1, n) for n in range(40)])
    stray = folder / "blobs" / "data" / "00" / "00000000.seg"
    assert stray.exists()
    clear(cache)
    cache.close()
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x" * 100_000)
    again = open_cache(folder)
    collect(again)
    assert not stray.exists()
    again.close()


def test_the_folder_may_vanish_while_it_is_in_use(cache: Cache, folder: Path) -> None:
    import shutil

    objects = smalls(50)
    cache.put_many(objects)
    shutil.rmtree(folder)
    assert not held(cache, Object(*objects[0]))
    new = smalls(20, seed="new")
    cache.put_many(new)
    assert not any(held(cache, each) for each in objects)
    other = open_cache(folder, 64 * MIB)
    assert other.put_many(objects)
    assert all(held(other, each) for each in objects)
    other.close()


def test_folders_and_files_are_for_their_owner_alone(cache: Cache, folder: Path) -> None:
    cache.put_many(smalls(1))
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
