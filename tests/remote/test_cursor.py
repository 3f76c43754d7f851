"""Many paths in one tree: the answers of a walk for each, with each directory read once."""

from __future__ import annotations

import random

import pytest
from repositories import AUTHOR

from oxenfs.errors import NotADirectory, NotFound, RemoteUnavailable
from oxenfs.model import Kind, ObjectHash, tree_order
from oxenfs.remote.base import DirectoryNodes, TreePlace
from oxenfs.remote.cursor import FILE_IN_THE_WAY, Found, TreeCursor
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import DIRECTORY, FILE
from oxenfs.remote.rows import find_row

from .reference import puts, with_folders

TREE = with_folders(
    {b"a/b/c": b"1", b"a/b/d/e": b"2", b"a-": b"3", b"a0/x": b"4", b"z": b"5", b"e": None}
)
NAMES = [b"a", b"b", b"c", b"d", b"e", b"a-", b"a0", b"x", b"z", b"none"]


class Reading:
    """The directories of one commit, and which were asked for."""

    def __init__(self, remote: LocalRemote, commit: ObjectHash) -> None:
        self.remote = remote
        self.commit = commit
        self.places: list[TreePlace] = []
        self.failures = 0

    def directory(self, id: ObjectHash, place: TreePlace) -> DirectoryNodes:
        self.places.append(place)
        if self.failures:
            self.failures -= 1
            raise RemoteUnavailable("down")
        return self.remote.directory(id, place)

    def cursor(self) -> TreeCursor:
        return TreeCursor(self.directory, self.commit, self.remote.root(self.commit))


@pytest.fixture
def reading(remote: LocalRemote) -> Reading:
    base = remote.branch("main").commit
    return Reading(remote, remote.publish("main", base, puts(TREE), "m", AUTHOR).commit)


def walked(reading: Reading, path: bytes) -> Found:
    try:
        row = find_row(reading.remote, reading.commit, path)
    except NotFound:
        return None
    except NotADirectory:
        parent = path.rpartition(b"/")[0]
        above = walked(reading, parent)
        assert above is not None
        return (FILE_IN_THE_WAY, above[1])
    assert row is not None
    return (DIRECTORY if row.kind == Kind.DIRECTORY else FILE, row.id)


def test_each_path_has_what_a_walk_finds_there_in_any_order(reading: Reading) -> None:
    draw = random.Random(4)
    paths = [b"/".join(draw.choices(NAMES, k=draw.randint(1, 4))) for _ in range(400)]
    paths += TREE
    for order in (paths, sorted(paths, key=tree_order)):
        cursor = reading.cursor()
        for path in order:
            assert cursor.entry(path) == walked(reading, path), path


def test_in_tree_order_each_directory_is_read_once(reading: Reading) -> None:
    cursor = reading.cursor()
    for path in sorted(TREE, key=tree_order):
        assert cursor.entry(path) is not None
    assert [place.path for place in reading.places] == [b"", b"a", b"a/b", b"a/b/d", b"a0"]
    assert {place.commit for place in reading.places} == {reading.commit}


def test_a_file_in_the_way_is_no_file_of_the_same_bytes(reading: Reading) -> None:
    cursor = reading.cursor()
    there = cursor.entry(b"z")
    assert there is not None
    assert cursor.entry(b"z/x") == cursor.entry(b"z/x/y") == (FILE_IN_THE_WAY, there[1])


def test_a_failed_read_leaves_the_cursor_right(reading: Reading) -> None:
    cursor = reading.cursor()
    for path in (b"a/b/d/e", b"a0/x", b"a/b/c"):
        reading.failures = 1
        with pytest.raises(RemoteUnavailable):
            cursor.entry(path)
        assert cursor.entry(b"a/x") is None
        assert cursor.entry(path) == walked(reading, path)
