"""The RocksDB directory of our own making, opened by a RocksDB library."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxenfs.remote.local.rocks import database_files


@pytest.mark.parametrize("count", [0, 1, 700, 3000])
def test_a_library_reads_what_was_written(tmp_path: Path, count: int) -> None:
    rocksdict = pytest.importorskip("rocksdict", reason="no rocksdict (pip install rocksdict)")
    pairs = {f"dir{number}/ünï".encode(): b"%032x" % number for number in range(count)}
    for name, content in database_files(pairs).items():
        (tmp_path / name).write_bytes(content)
    database = rocksdict.Rdict(str(tmp_path), options=rocksdict.Options(raw_mode=True))
    assert dict(database.items()) == pairs
    database.close()
