"""Kept listings that were damaged are made again."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
import trio
import trio.testing
from in_trio import in_trio

from oxenfs.errors import IntegrityError
from oxenfs.model import ObjectHash
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.metadata import Metadata

from .listings import names, node


def listed(remote: Remote, cache: Path, id: ObjectHash, place: TreePlace) -> list[bytes]:
    """Return the names in a directory as a new process would see them."""
    kept = Metadata(remote, cache)
    try:
        return names(trio.run(kept.listing, id, place))
    finally:
        kept.close()


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
async def test_a_disk_that_takes_nothing_costs_only_speed(
    cache: Path,
    repository: LocalRemote,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = Metadata(repository, cache)

    def full(*_: object) -> None:
        raise IntegrityError("the disk is full")

    monkeypatch.setattr(kept._records._env, "write", full)
    assert names(await kept.listing(*node(repository))) == [b"a", b"other", b"sub"]
    assert "cannot be kept" in caplog.text
    kept.close()


def test_quiet_when_all_is_well(
    repository: LocalRemote, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listed(repository, cache, *node(repository))
    assert caplog.text == ""
