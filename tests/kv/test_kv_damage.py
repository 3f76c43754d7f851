"""An index that is cut off, flipped or something else: an error, never wrong bytes or a crash."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import open_environment
from oxenfs.kv.datafile import MAP_BYTES, extend_to_last_page

from .conftest import ITEMS, TABLES


def run(script: str, *args: object) -> list[str]:
    """Run a script in a new process; return the lines that it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, (ended.returncode, ended.stdout[-300:], ended.stderr[-2000:])
    return ended.stdout.splitlines()


# Cuts the file to each length in argv[2:], opens it and reads and writes all there is.
CUTTER = """
import os, sys
from pathlib import Path
from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import open_environment

path = Path(sys.argv[1])
sound = (path / "data.mdb").read_bytes()
for length in map(int, sys.argv[2:]):
    (path / "data.mdb").write_bytes(sound[:length])
    read = damaged = 0
    try:
        env = open_environment(path, ("one", "two"), durable=False, create=False)
    except IntegrityError:
        print(length, "refused")
        continue
    try:
        for table in ("one", "two"):
            with env.read() as txn:
                for key in list(txn.keys(table)):
                    txn.get(table, key)
                    read += 1
    except IntegrityError:
        damaged += 1
    try:
        with env.write() as txn:
            txn.put("one", b"new", b"1" * 9000)
    except OxenfsError:
        damaged += 1
    env.close()
    print(length, "read", read, damaged)
"""


def test_a_file_cut_off_anywhere_never_ends_the_process(path: Path, data: Path) -> None:
    size = data.stat().st_size
    chance = random.Random(1)
    edges = [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 12288, size - 4096, size - 1]
    lengths = sorted({*edges, *(chance.randrange(size) for _ in range(40))})
    lines = [line.split() for line in run(CUTTER, path, *lengths, size)]
    assert [int(line[0]) for line in lines] == [*lengths, size]
    assert {line[1] for line in lines if int(line[0]) < 8192} == {"refused"}
    # Nothing is missing without a word.
    whole = ["read", str(2 * len(ITEMS)), "0"]
    assert lines[-1][1:] == whole
    assert all(line[1] == "refused" or line[1:] == whole or line[3] != "0" for line in lines)


# Flips a byte somewhere behind the page headers again and again, and compares what is read.
FLIPPER = """
import random, sys
from pathlib import Path
from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.kv import open_environment

path = Path(sys.argv[1])
sound = (path / "data.mdb").read_bytes()
chance = random.Random(3)
wanted = None
for round in range(-1, 60):
    hurt = bytearray(sound)
    if round >= 0:
        page = 4096 * chance.randrange(2, len(sound) // 4096)
        hurt[page + 2048 + chance.randrange(2048)] ^= 1 << chance.randrange(8)
    (path / "data.mdb").write_bytes(hurt)
    env = open_environment(path, ("one", "two"), durable=False)
    found, refused = {}, 0
    for table in ("one", "two"):
        try:
            with env.read() as txn:
                for key in list(txn.keys(table)):
                    try:
                        value = txn.get(table, key)
                    except IntegrityError:
                        value = None
                    # None also when the flip was in a key.
                    if value is None:
                        refused += 1
                    else:
                        found[table, key] = value
        except IntegrityError:
            refused += 1
    env.close()
    wanted = wanted or found
    wrong = sum(key in wanted and wanted[key] != value for key, value in found.items())
    print(refused, wrong)
"""


def test_a_flipped_bit_in_a_value_is_found_and_never_handed_on(path: Path, data: Path) -> None:
    results = [line.split() for line in run(FLIPPER, path)]
    assert results[0] == ["0", "0"]
    assert {wrong for _, wrong in results} == {"0"}
    assert sum(refused != "0" for refused, _ in results) > 15


def test_a_file_is_made_as_long_as_its_pages_and_never_shorter(path: Path, data: Path) -> None:
    size = data.stat().st_size
    extend_to_last_page(data)
    assert data.stat().st_size == size
    os.truncate(data, 3 * 4096)
    start = data.read_bytes()
    extend_to_last_page(data)
    grown = data.stat().st_size
    assert 3 * 4096 < grown <= size
    assert data.read_bytes() == start + bytes(grown - len(start))
    extend_to_last_page(path / "missing")
    assert not (path / "missing").exists()


def test_a_page_number_out_of_reach_takes_no_room_on_the_disk(data: Path) -> None:
    with data.open("r+b") as file:
        for meta in (0, 4096):
            file.seek(meta + 136)
            file.write(struct.pack("<Q", (1 << 24) - 1))
    before = data.stat().st_blocks
    extend_to_last_page(data)
    assert data.stat().st_size == 1 << 36
    assert data.stat().st_blocks - before <= 64
    with data.open("r+b") as file:
        file.seek(136)
        file.write(struct.pack("<Q", MAP_BYTES))
    extend_to_last_page(data)
    assert data.stat().st_size == 1 << 36


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 100, b"x" * 50_000, bytes(50_000)])
def test_a_file_of_other_bytes_is_refused(path: Path, content: bytes) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(IntegrityError):
        open_environment(path, TABLES, durable=False, create=False)
    assert (path / "data.mdb").read_bytes() == content


def test_a_failed_opening_can_be_tried_again(path: Path, data: Path) -> None:
    sound = data.read_bytes()
    data.write_bytes(b"x" * len(sound))
    with pytest.raises(IntegrityError):
        open_environment(path, TABLES, durable=False)
    data.write_bytes(sound)
    env = open_environment(path, TABLES, durable=False)
    assert env.get("one", b"00001") == ITEMS[b"00001"]
    env.close()


def test_what_is_missing_is_not_made_unless_that_is_asked_for(path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        open_environment(path, TABLES, durable=False, create=False)
    assert not path.exists()


def test_a_file_where_the_folder_should_be_is_an_error_of_ours(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(OxenfsError):
        open_environment(path, TABLES, durable=False)
