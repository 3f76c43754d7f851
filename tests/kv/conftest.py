"""An index of two tables, new or filled."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxenfs.kv import open_environment

TABLES = ("one", "two")
ITEMS = {b"%05d" % n: b"value %d " % n * (n % 60) for n in range(2000)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def data(path: Path) -> Path:
    """The data file of a closed environment that has `ITEMS` in both tables."""
    made = open_environment(path, TABLES, durable=False)
    with made.write() as txn:
        for key, value in ITEMS.items():
            txn.put("one", key, value)
            txn.put("two", key, value[::-1])
    made.close()
    return path / "data.mdb"
