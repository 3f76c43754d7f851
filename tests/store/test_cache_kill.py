"""The disk cache when its users are killed, its disk is full, its files are damaged or deleted."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxenfs.store import cache_rows
from oxenfs.store.cache import Cache
from oxenfs.store.cache_objects import Object, small_key
from oxenfs.store.cache_open import open_cache
from oxenfs.store.cache_rows import SMALL
from oxenfs.store.cache_trouble import DAMAGED
from oxenfs.store.segments import Extent
from oxenfs.store.upkeep import collect, verify

from .caching import HOST, MIB, chunk, held, on_disk, smalls

TESTS = Path(__file__).resolve().parents[1]
LIMIT = 12 * MIB
# 1,000 in the long run.
DAMAGES = int(os.environ.get("OXENFS_TEST_DAMAGES", "301"))
KNOWN = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class User:
    """A process that fills, evicts and clears the cache."""

    def __init__(self, folder: Path, seed: object) -> None:
        command = [sys.executable, "-m", "store.filling", str(folder), str(seed), str(LIMIT)]
        env = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "open\n", self.kill()

    def kill(self) -> str:
        self.process.kill()
        _, said = self.process.communicate(timeout=20)
        return said


def test_killed_anywhere_it_opens_at_once_and_keeps_its_limit(folder: Path) -> None:
    rng = random.Random("kill")
    for turn in range(12):
        users = [User(folder, (turn, number)) for number in range(2)]
        time.sleep(rng.uniform(0, 0.4))
        for user in users:
            said = user.kill()
            assert "Error" not in said, said
        # As it was left: what is charged is on the disk, and not more.
        check_limit(folder)
        started = time.monotonic()
        cache = open_cache(folder)
        assert time.monotonic() - started < 3 * 2.0
        cache.put(b"it", b"works")
        assert cache.get(b"it") == b"works"
        collect(cache)
        assert verify(cache).damaged == 0
        assert _charged(cache) == on_disk_of(cache)
        assert cache.room.totals().used_bytes <= LIMIT
        cache.close()


def check_limit(folder: Path) -> None:
    """Assert that the segments are within the limit, and nearly so with the blocks of folders."""
    data = folder / "blobs" / "data"
    assert segments_on_disk(data) <= LIMIT
    assert on_disk(data) <= LIMIT + MIB


def segments_on_disk(data: Path) -> int:
    """Return the bytes that the segments in a folder take up."""
    return sum(path.stat().st_blocks * 512 for path in data.rglob("*.seg"))


def _charged(cache: Cache) -> int:
    with cache.env.read() as txn:
        return cache_rows.number(txn, cache_rows.USED)


def on_disk_of(cache: Cache) -> int:
    """Return what the segments take up and what was granted but not written yet."""
    unwritten = cache.writer.unwritten_bytes
    return segments_on_disk(cache.folder / "data") + unwritten


def test_two_processes_use_one_folder(folder: Path) -> None:
    user = User(folder, "beside")
    cache = open_cache(folder, LIMIT)
    try:
        until = time.monotonic() + 3
        turns = 0
        # However slow the machine is: the other one writes meanwhile.
        while time.monotonic() < until or turns <= 20:
            group = [chunk(turns % 40, number) for number in range(8)]
            cache.put_many(group)
            for each in group:
                held(cache, each)
            # Two that write at the same time may not go over it together.
            assert _charged(cache) <= LIMIT
            turns += 1
        assert user.process.poll() is None
        check_limit(folder)
    finally:
        said = user.kill()
        assert "Error" not in said, said
        cache.close()


def flip(path: Path, rng: random.Random, start: int = 0, length: int | None = None) -> bool:
    """Flip a bit of a file, or of a range of it; return whether there was one."""
    size = path.stat().st_size
    stop = size if length is None else min(start + length, size)
    if start >= stop:
        return False
    with path.open("r+b") as file:
        file.seek(rng.randrange(start, stop))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ (1 << rng.randrange(8))]))
    return True


def flip_live(cache: Cache, objects: list[Object], rng: random.Random) -> bool:
    """Flip a bit of an object that is here: where the index says it lies."""
    each = rng.choice(objects)
    row = cache.find(each.table, each.key)
    if row is None:
        return False
    _, offset, length = row.extent
    path = cache.segments._path(row.extent.segment)
    return path.exists() and flip(path, rng, offset, length)


def test_damaged_bytes_are_never_served(folder: Path) -> None:
    rng = random.Random("damage")
    objects = [*smalls(150, 9000), *[chunk(1, number) for number in range(20)]]
    cache = open_cache(folder, 64 * MIB)
    cache.put_many(objects)
    gone = flipped = 0
    for _ in range(DAMAGES):
        segments = sorted((folder / "blobs" / "data").rglob("*.seg"))
        if not segments:
            gone += sum(not held(cache, each) for each in objects)
            assert cache.put_many(objects)
            continue
        path = rng.choice(segments)
        kind = rng.randrange(10)
        if kind < 8:
            flipped += flip_live(cache, objects, rng)
        elif kind < 9:
            os.truncate(path, rng.randrange(path.stat().st_size + 1))
        else:
            path.unlink()
            # Whoever has it open could go on reading it, and the test would damage nothing.
            cache.segments.forget(int(path.stem, 16))
        for each in rng.sample(objects, 40):
            if not held(cache, each):
                gone += 1
                assert cache.put_many([each])
                assert held(cache, each)
    gone += sum(not held(cache, each) for each in objects)
    assert flipped > DAMAGES / 2
    assert gone > max(100, DAMAGES / 3)
    assert cache.healed > DAMAGES / 3
    cache.close()


def test_a_damaged_index_is_used_with_care_or_set_aside(folder: Path) -> None:
    rng = random.Random("index")
    objects = smalls(60, 3000)
    aside = served = 0
    for turn in range(40):
        cache = open_cache(folder, 64 * MIB)
        cache.put_many(objects)
        served += sum(held(cache, each) for each in objects)
        cache.close()
        index = folder / "blobs" / "index" / "data.mdb"
        kind = turn % 4
        if kind == 0:
            os.truncate(index, rng.randrange(index.stat().st_size))
        elif kind == 1:
            index.write_bytes(b"no index")
        elif kind == 2:
            # Most flips hit nothing that matters.
            for _ in range(20):
                flip(index, rng)
            (folder / "blobs" / DAMAGED).touch()
        else:
            index.unlink()
        # As after a kill: it is tried in another process first.
        (folder / "blobs" / "users" / "dead").touch()
        aside += (folder / "blobs.damaged").exists()
    assert served > 30 * 60
    assert aside > 10


def test_a_start_after_a_kill_walks_nothing(folder: Path) -> None:
    cache = open_cache(folder, 64 * MIB)
    with cache.env.write() as txn:
        for first in range(0, KNOWN, 10_000):
            added = [
                (SMALL, small_key(HOST, number), Extent(7, number * 4096, 4096), b"")
                for number in range(first, first + 10_000)
            ]
            assert not cache_rows.put_new(txn, added)
    cache.close()
    (folder / "blobs" / "users" / "dead").touch()
    started = time.monotonic()
    again = open_cache(folder)
    assert time.monotonic() - started < 3 * 2.0
    assert again.room.totals().blobs == KNOWN
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            if file.write(bytes(4096)) < 4096:
                raise OSError("no space")


def test_a_full_disk_keeps_nothing_more_and_loses_nothing(small_disk: Path) -> None:
    cache = open_cache(small_disk / "cache", 1 << 30)
    kept = []
    for number in range(120):
        each = chunk(1, number)
        if cache.put_many([each]):
            kept.append(each)
    assert 20 < len(kept) < 62
    assert all(held(cache, each) for each in kept)
    # Somebody else takes the rest: not even the index can be written to any more.
    with pytest.raises(OSError, match="space"):
        fill(small_disk / "other")
    assert not cache.put_many([chunk(2, 1)])
    cache.put(b"derived", bytes(100_000))
    assert all(held(cache, each) for each in kept)
    (small_disk / "other").unlink()
    cache.room.set_limit(11 * MIB)
    assert cache.put_many([chunk(2, 1)])
    assert cache.room.totals().used_bytes <= 11 * MIB
    cache.close()
