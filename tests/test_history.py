"""Which commits changed a path, where histories meet; what `show` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.grafting import put_nodes, set_branch
from repositories import AUTHOR, content, noise

from oxenfs.errors import IntegrityError, NotADirectory, NotFound
from oxenfs.history import commits_of, names_at, read_file
from oxenfs.model import Change, Commit, ObjectHash, Put, Remove
from oxenfs.remote.hashing import commit_id
from oxenfs.remote.local.repository import LocalRemote, create
from oxenfs.remote.payloads import COMMIT, encode_payload
from oxenfs.remote.rows import find_row
from oxenfs.remote.wire import children_of, encode_node


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = create(tmp_path / "repository", AUTHOR)
    yield made
    made.close()


def publish(remote: LocalRemote, branch: str, base: ObjectHash, *changes: Change) -> ObjectHash:
    return remote.publish(branch, base, changes, branch, AUTHOR).commit


def put(path: bytes, data: bytes) -> Put:
    return Put(path, content(data))


def merge(remote: LocalRemote, tree_of: ObjectHash, *parents: ObjectHash) -> Commit:
    """Make a commit with these parents and the tree of another commit."""
    stamp = 2_000_000_000 * 10**9
    id = commit_id(parents, "merge", AUTHOR, stamp)
    made = Commit(id, parents, AUTHOR, "merge", stamp)
    (root,) = children_of(remote._nodes.get(tree_of))
    put_nodes(remote, [encode_node(COMMIT, id, parents[0], encode_payload(made), [root])])
    set_branch(remote, "merged", made)
    return made


def changed(remote: LocalRemote, head: Commit, *paths: bytes) -> list[ObjectHash]:
    return [made.id for made in commits_of(remote, head, paths)]


def test_a_merge_that_takes_one_side_of_each_path_changed_none(remote: LocalRemote) -> None:
    base = publish(remote, "main", remote.branch("main").commit, put(b"a", b"1"), put(b"b", b"1"))
    left = publish(remote, "left", base, put(b"a", b"left"))
    right = publish(remote, "right", base, put(b"b", b"right"))
    # The tree of the merge: a from the left, b from the right.
    both = publish(remote, "both", left, put(b"b", b"right"))
    head = merge(remote, both, left, right)
    assert changed(remote, head, b"a") == [left, base]
    assert changed(remote, head, b"b") == [right, base]
    assert changed(remote, head, b"a", b"b") in ([left, right, base], [right, left, base])


def test_a_merge_with_a_version_of_its_own_counts(remote: LocalRemote) -> None:
    base = publish(remote, "main", remote.branch("main").commit, put(b"a", b"1"))
    left = publish(remote, "left", base, put(b"a", b"left"))
    right = publish(remote, "right", base, put(b"a", b"right"))
    both = publish(remote, "both", left, put(b"a", b"both"))
    head = merge(remote, both, left, right)
    assert changed(remote, head, b"a")[0] == head.id
    assert set(changed(remote, head, b"a")) == {head.id, left, right, base}


def test_a_removal_and_what_was_below_a_file_count(remote: LocalRemote) -> None:
    first = publish(remote, "main", remote.branch("main").commit, put(b"a/b", b"1"))
    file = publish(remote, "main", first, Remove(b"a"), put(b"a", b"file"))
    back = publish(remote, "main", file, Remove(b"a"), put(b"a/b", b"1"))
    head = remote.commit(back)
    assert changed(remote, head, b"a/b") == [back, file, first]
    assert changed(remote, head, b"a") == [back, file, first]


def test_a_path_in_no_commit_is_told_with_all_like_it(remote: LocalRemote) -> None:
    head = remote.commit(publish(remote, "main", remote.branch("main").commit, put(b"a", b"1")))
    commits = commits_of(remote, head, [b"x", b"a", b"y/z"])
    assert next(commits).id == head.id
    with pytest.raises(NotFound, match="'x', 'y/z'"):
        list(commits)


def test_a_file_is_read_in_order_and_no_damaged_byte_of_it(remote: LocalRemote) -> None:
    data = noise(9 << 20, "history")
    head = remote.commit(publish(remote, "main", remote.branch("main").commit, put(b"a", data)))
    pieces = list(read_file(remote, head, b"a"))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 4 << 20
    row = find_row(remote, head.id, b"a")
    assert row is not None
    with Path(remote.locate(row.id).path).open("r+b") as file:
        file.seek(5 << 20)
        file.write(bytes(1 << 19))
    reading = read_file(remote, head, b"a")
    assert next(reading) == data[: 4 << 20]
    with pytest.raises(IntegrityError):
        next(reading)


def test_what_is_not_there_is_told_at_once(remote: LocalRemote) -> None:
    head = remote.commit(publish(remote, "main", remote.branch("main").commit, put(b"a", b"")))
    assert list(read_file(remote, head, b"a")) == []
    with pytest.raises(NotFound):
        read_file(remote, head, b"b")
    with pytest.raises(NotADirectory):
        read_file(remote, head, b"a/b")
    with pytest.raises(NotFound):
        list(names_at(remote, head, b"b"))
