"""Databases of a cache folder that somebody damaged while nobody used them: tried, set aside."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from oxenfs.errors import IntegrityError
from oxenfs.store import cache_open, cache_trial
from oxenfs.store.cache_folder import BLOBS, TREE
from oxenfs.store.cache_open import open_cache
from oxenfs.store.records import ListingRecords

from .caching import MIB, held, smalls

PAGE = 4096
OBJECTS = smalls(60, 3000)

# A process of its own, which LMDB may end: opens what is there as a mount does, reads and writes.
USE = """
import sys
from pathlib import Path
from oxenfs.store.cache_folder import BLOBS, TREE
from oxenfs.store.cache_open import open_cache
from oxenfs.store.records import ListingRecords

folder = Path(sys.argv[1])
cache = open_cache(folder)
records = ListingRecords("http:host/ns/name", folder)
found = sum(records.recall(f"branch {number}") == number for number in range(200))
for number in range(200):
    records.remember(f"branch {number}", number)
    cache.put(b"%d" % number, bytes(3000))
    assert cache.get(b"%d" % number) == bytes(3000)
assert records.recall("branch 199") == 199
records.close()
cache.close()
print(found)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache folder with something in both databases, which nobody uses."""
    folder = tmp_path / "cache"
    cache = open_cache(folder, 64 * MIB)
    records = ListingRecords("http:host/ns/name", folder)
    cache.put_many(OBJECTS)
    for number in range(200):
        records.remember(f"branch {number}", number)
    records.close()
    cache.close()
    return folder


def data(folder: Path, name: str) -> Path:
    return folder / (BLOBS + "/index" if name == BLOBS else name) / "data.mdb"


def use(folder: Path) -> int:
    """Use it in another process; return how many of the listings' 200 records were there."""
    command = [sys.executable, "-c", USE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("name", [BLOBS, TREE])
def test_pages_in_each_others_places_end_no_start(folder: Path, name: str) -> None:
    file = data(folder, name)
    rng = random.Random(f"pages of {name}")
    for _ in range(4):
        sound = file.read_bytes()
        pages = [sound[at : at + PAGE] for at in range(0, len(sound), PAGE)]
        one, other = rng.sample(range(2, len(pages)), 2)
        pages[one], pages[other] = pages[other], pages[one]
        file.write_bytes(b"".join(pages))
        # That nothing kills the process is what counts: two pages that nobody uses do no harm.
        use(folder)
        assert use(folder) == 200


@pytest.mark.parametrize("name", [BLOBS, TREE])
def test_a_folder_in_the_place_of_a_database_is_set_aside(folder: Path, name: str) -> None:
    data(folder, name).unlink()
    data(folder, name).mkdir()
    use(folder)
    assert (folder / f"{name}.damaged").exists()
    assert use(folder) == 200


def test_one_damaged_record_is_no_reason_to_drop_the_others(folder: Path) -> None:
    file = data(folder, TREE)
    sound = file.read_bytes()
    # The last place is the page in use; those before it are former ones.
    at = sound.rindex(b"branch 77") + len(b"branch 77")
    file.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
    assert use(folder) >= 199
    assert not (folder / "tree.damaged").exists()


def test_nothing_is_tried_at_an_ordinary_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def broken(cache_dir: Path, names: list[str], *, values: bool) -> list[str]:
        tried.extend(names)
        return []

    monkeypatch.setattr(cache_open, "broken", broken)
    for turn in range(3):
        cache = open_cache(folder)
        records = ListingRecords("http:host/ns/name", folder)
        beside = open_cache(folder)
        records.remember("branch x", turn)
        assert cache.put_many(smalls(5, 3000, turn))
        records.close()
        cache.close()
        beside.close()
    assert tried == []
    os.utime(data(folder, TREE))
    open_cache(folder).close()
    assert tried == [TREE]
    (folder / BLOBS / "users" / "dead").touch()
    open_cache(folder).close()
    assert tried == [TREE, BLOBS, TREE]


def test_a_database_that_does_not_end_a_try_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_trial, "_TRY_S", 0.01)
    (folder / BLOBS / "users" / "dead").touch()
    cache = open_cache(folder, 64 * MIB)
    assert not held(cache, OBJECTS[0])
    assert cache.put_many(OBJECTS)
    cache.close()
    assert (folder / "blobs.damaged").exists()
    assert (folder / "tree.damaged").exists()


def test_listings_that_cannot_be_kept_are_kept_after_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records = ListingRecords("http:host/ns/name", folder)

    def write() -> None:
        raise IntegrityError("a damaged page")

    with monkeypatch.context() as patched:
        patched.setattr(records._env, "write", write)
        for number in range(5):
            records.remember("branch 7", -number)
    assert records.recall("branch 7") == 7
    records.close()
    assert len(caplog.records) == 1
    again = ListingRecords("http:host/ns/name", folder)
    assert again.recall("branch 7") is None
    again.remember("branch 7", 8)
    assert again.recall("branch 7") == 8
    again.close()
    assert (folder / "tree.damaged").exists()
