"""What is staged in a workspace."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from oxenfs.model import tree_order
from oxenfs.remote.local.repository import LocalRemote, create_empty
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.local.staged import Area, sweep

HERE, OTHER = b"12345678", b"12345679"


@pytest.fixture
def remote(tmp_path: Path) -> LocalRemote:
    return create_empty(tmp_path / "r")


def paths(remote: LocalRemote, below: bytes = b"", area: bytes = HERE) -> list[bytes]:
    with remote.meta.read() as txn:
        return [record.path for record in Area(txn, area).below(below)]


def test_changes_come_in_tree_order_however_long_their_paths(remote: LocalRemote) -> None:
    drawn = random.Random(5)
    long = b"/".join([b"n" * 200] * 3)
    wanted = [b"a", b"a!", b"a/b", b"a/b!", b"a b/c", b"b/" + long + b"/x", b"b/" + long + b"/a/b"]
    wanted += [b"b/" + long + b"-", b"c/" + b"x" * 250 + b"/" + b"y" * 250]
    drawn.shuffle(wanted)
    with remote.meta.write() as txn:
        for path in wanted:
            # Only removals may stand above each other.
            txn_area = Area(txn, HERE)
            if not txn_area.get(path):
                txn.put("staged", txn_area._key(path), _packed(path))
        Area(txn, OTHER).put(Record(Op.REMOVE, b"elsewhere"))
    assert paths(remote) == sorted(wanted, key=tree_order)
    assert paths(remote, b"a") == [b"a/b", b"a/b!"]
    assert paths(remote, b"b/" + long) == [b"b/" + long + b"/a/b", b"b/" + long + b"/x"]


def _packed(path: bytes) -> bytes:
    from oxenfs.remote.local.spool import pack_record

    return pack_record(Record(Op.REMOVE, path))


def test_a_removal_takes_what_is_staged_below(remote: LocalRemote) -> None:
    with remote.meta.write() as txn:
        area = Area(txn, HERE)
        for path in (b"d/a", b"d/b/c", b"e"):
            area.put(Record(Op.MAKE_DIRECTORY, path))
        area.put(Record(Op.REMOVE, b"d"))
    assert paths(remote) == [b"d", b"e"]


def test_areas_that_nobody_names_are_swept(remote: LocalRemote) -> None:
    with remote.meta.write() as txn:
        for area in (HERE, OTHER):
            Area(txn, area).put(Record(Op.REMOVE, b"x"))
        sweep(txn, [OTHER])
    assert paths(remote) == []
    assert paths(remote, area=OTHER) == [b"x"]
