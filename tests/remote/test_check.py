"""`fsck` tells each kind of damage in a line that names where it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import content

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import CHUNK_BYTES, ObjectHash, hash_text
from oxenfs.remote.hashing import little
from oxenfs.remote.local.blob_writer import BlobWriter
from oxenfs.remote.local.check import check
from oxenfs.remote.local.layout import FORMAT
from oxenfs.remote.local.packs import name_of
from oxenfs.remote.local.repository import LocalRemote

from .conftest import LARGE, MIDDLE, SMALL, TREE
from .reference import rows_below


def head_of(remote: LocalRemote) -> ObjectHash:
    return remote.branch("main").commit


def problems(remote: LocalRemote) -> list[str]:
    found = list(check(remote.layout.root))
    assert all("\n" not in line for line in found)
    return found


def the_problem(remote: LocalRemote, path: str) -> str:
    """Return the one problem there is; it must name `path` in the head."""
    (line,) = problems(remote)
    assert line.startswith(f"{path}@{hash_text(head_of(remote))}: "), line
    return line


def flip(path: str | Path, at: int) -> None:
    with Path(path).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def test_a_sound_repository_has_no_problems(filled: LocalRemote) -> None:
    seen: list[tuple[int, int]] = []
    assert list(check(filled.layout.root, lambda *now: seen.append(now))) == []
    assert seen == sorted(set(seen))
    assert seen[-1][1] == len(SMALL) + len(MIDDLE) + len(LARGE) + 1


def test_a_folder_that_is_no_repository_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(check(tmp_path))


@pytest.mark.parametrize(
    ("path", "at", "said"),
    [
        (b"d/small", 999, "does not have its hash"),
        (b"d/middle", CHUNK_BYTES + 1, "(chunks of 256 KiB: 1)"),
        (b"d/sub/large", 9 * CHUNK_BYTES + 4, "(chunks of 256 KiB: 9)"),
    ],
)
def test_a_flipped_bit_of_a_blob_is_told_with_its_path_and_chunk(
    filled: LocalRemote, path: bytes, at: int, said: str
) -> None:
    row = rows_below(filled, head_of(filled))[path]
    place = filled.locate(row.id)
    flip(place.path, place.offset + at)
    assert said in the_problem(filled, path.decode())
    with pytest.raises(IntegrityError):
        filled.read(row.id, 0, row.size)
    other = rows_below(filled, head_of(filled))[b"other"]
    assert filled.read(other.id, 0, 1) == b"o"
    if row.size > CHUNK_BYTES and at > CHUNK_BYTES:
        assert filled.read(row.id, 0, CHUNK_BYTES) == TREE[path][:CHUNK_BYTES]  # type: ignore[index]


def test_a_wrong_header_in_a_pack_is_told(filled: LocalRemote) -> None:
    place = filled.locate(rows_below(filled, head_of(filled))[b"d/small"].id)
    flip(place.path, place.offset - 5)
    assert "header" in the_problem(filled, "d/small")


@pytest.mark.parametrize("length", [0, 1, 5 * CHUNK_BYTES, 9 * CHUNK_BYTES + 4])
def test_a_blob_cut_off_is_told(filled: LocalRemote, length: int) -> None:
    row = rows_below(filled, head_of(filled))[b"d/sub/large"]
    os.truncate(filled.locate(row.id).path, length)
    assert f"{length} of {len(LARGE)}" in the_problem(filled, "d/sub/large")
    with pytest.raises(IntegrityError):
        filled.read(row.id, 0, row.size)
    with pytest.raises(IntegrityError):
        filled.read(row.id, row.size - 1, 1)


def test_a_blob_with_something_behind_it_is_told(filled: LocalRemote) -> None:
    place = filled.locate(rows_below(filled, head_of(filled))[b"d/sub/large"].id)
    with Path(place.path).open("ab") as file:
        file.write(b"x")
    assert "more than" in the_problem(filled, "d/sub/large")


def test_a_missing_file_of_a_blob_is_told(filled: LocalRemote) -> None:
    row = rows_below(filled, head_of(filled))[b"d/sub/large"]
    Path(filled.locate(row.id).path).unlink()
    assert "No such file" in the_problem(filled, "d/sub/large")
    with pytest.raises(IntegrityError):
        filled.read(row.id, 0, 1)


def test_a_missing_pack_is_told_for_each_path(filled: LocalRemote) -> None:
    (filled.layout.packs / name_of(1)).unlink()
    paths = {line.partition("@")[0] for line in problems(filled)}
    assert paths == {"d/small", "d/middle", "other"}


Hurt = Callable[[LocalRemote], None]


def drop(table: str, path: bytes) -> Hurt:
    """Return what removes the record of the blob or directory at `path`."""

    def hurt(remote: LocalRemote) -> None:
        key = little(rows_below(remote, head_of(remote))[path].id)
        with remote._meta.write() as txn:
            keys = list(txn.keys(table, key))
            assert [txn.delete(table, key) for key in keys] == [True] * len(keys)

    return hurt


def unseal(table: str, path: bytes) -> Hurt:
    """Return what writes over the record of the blob or directory at `path`, seal and all."""

    def hurt(remote: LocalRemote) -> None:
        key = little(rows_below(remote, head_of(remote))[path].id)
        with remote._meta.write() as txn:
            for found in list(txn.keys(table, key)):
                txn._txn.put(found, b"some other bytes", db=txn._tables[table])

    return hurt


@pytest.mark.parametrize(
    ("hurt", "path", "said"),
    [
        (drop("blobs", b"d/small"), "d/small", "missing"),
        (drop("digests", b"d/middle"), "d/middle", "no digest"),
        (drop("nodes", b"d/sub"), "d/sub", "node"),
        (drop("nodes", b"e"), "e", "node"),
        (unseal("blobs", b"d/small"), "d/small", "damaged record"),
        (unseal("digests", b"d/sub/large"), "d/sub/large", "damaged record"),
        (unseal("nodes", b"d/sub"), "d/sub", "damaged record"),
    ],
)
def test_a_damaged_index_record_is_told_with_the_path_that_needs_it(
    filled: LocalRemote, hurt: Hurt, path: str, said: str
) -> None:
    hurt(filled)
    assert said in the_problem(filled, path)


def test_a_damaged_blob_that_no_commit_needs_is_told_too(filled: LocalRemote) -> None:

    writer = BlobWriter(filled.layout, filled._meta)
    stray = writer.add(content(b"stray"))
    writer.flush()
    writer.close()
    assert problems(filled) == []
    flip(filled.locate(stray.hash).path, filled.locate(stray.hash).offset)
    (line,) = problems(filled)
    assert hash_text(stray.hash) in line
    assert "no commit" in line


# Flips bytes all over the index, and checks after each flip.
FLIPPER = """
import random, sys
from pathlib import Path
from oxenfs.errors import OxenfsError
from oxenfs.remote.local.blob_writer import BlobWriter
from oxenfs.remote.local.check import check
from oxenfs.remote.local.layout import FORMAT

data = Path(sys.argv[1]) / "meta" / "data.mdb"
sound = data.read_bytes()
chance = random.Random(5)
pages = range(0, len(sound), 4096)
# Meta pages, page headers with their pointers to records, anything.
places = [chance.randrange(16, 170) for _ in range(4)]
places += [4096 + chance.randrange(16, 170) for _ in range(3)]
places += [chance.choice(pages) + chance.randrange(32) for _ in range(9)]
places += [chance.randrange(len(sound)) for _ in range(8)]
for at in places:
    hurt = bytearray(sound)
    hurt[at] ^= 1 << chance.randrange(8)
    data.write_bytes(hurt)
    try:
        found = list(check(Path(sys.argv[1])))
    except OxenfsError as exc:
        found = [str(exc)]
    print(at, len(found))
data.write_bytes(sound)
"""


def test_no_flipped_bit_of_the_index_ends_the_process(filled: LocalRemote) -> None:
    root = filled.layout.root
    filled.close()
    ended = subprocess.run(
        [sys.executable, "-c", FLIPPER, str(root)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, (ended.stdout[-200:], ended.stderr[-2000:])
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert len(lines) == 24
    assert sum(int(count) > 0 for _, count in lines) >= 3
    assert list(check(root)) == []


@pytest.mark.parametrize("damaged", ["format = ", "\x00", f'format = "{FORMAT}"'])
def test_a_damaged_config_file_is_a_problem_and_the_rest_is_checked(
    filled: LocalRemote, damaged: str
) -> None:
    row = rows_below(filled, head_of(filled))[b"d/small"]
    config = filled.layout.root / "config.toml"
    config.write_text(damaged)
    (line,) = problems(filled)
    assert line.startswith(f"{config} is damaged: ")
    place = filled.locate(row.id)
    flip(place.path, place.offset)
    config_line, blob_line = problems(filled)
    assert config_line == line
    assert blob_line.startswith(f"d/small@{hash_text(head_of(filled))}: ")
