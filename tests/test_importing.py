"""Importing a folder: what gets in, what is refused, what a second import does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import fill, head_tree, take
from hypothesis import given, settings
from hypothesis import strategies as st
from remote.reference import Tree, apply, ordered, puts, rows_below, with_folders
from repositories import AUTHOR, noise

from oxenfs.errors import (
    Conflict,
    NotADirectory,
    NotFound,
    NothingToPublish,
    Unsupported,
    UsageError,
)
from oxenfs.model import Remove
from oxenfs.remote.local.repository import LocalRemote, create


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = create(tmp_path / "repository", AUTHOR, vnode_size=8)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


ODD = with_folders(
    {
        b"plain.txt": b"text\n",
        b"sub/dir/file": b"1",
        b"sub-/x": b"2",
        b"sub.x": b"3",
        b"empty": None,
        b"deep/er/empty": None,
        b"no bytes": b"",
        b"new\nline \t\x01\x7f\"'": b"4",
        "ünï/\u202eß".encode(): b"5",
        b"n" * 255: b"6",
        b"large": noise((1 << 20) + 5, "large"),
        b" ": b"7",
        b"-": b"8",
        b"...": b"9",
    }
)


def test_a_folder_becomes_the_same_tree(remote: LocalRemote, source: Path) -> None:
    fill(source, ODD)
    os.utime(source / "plain.txt", ns=(0, 1_234_567_890_123_456_789))
    done = take(remote, source)
    assert head_tree(remote) == ODD
    assert done.commit == remote.branch("main").commit
    rows = rows_below(remote, done.commit)
    assert rows[b"plain.txt"].mtime_ns == 1_234_567_890_123_456_789
    assert done.uploaded_files == done.files - 2
    assert done.uploaded_bytes == sum(len(data or b"") for data in ODD.values())


def test_a_second_import_uploads_nothing_and_makes_no_commit(
    remote: LocalRemote, source: Path
) -> None:
    fill(source, ODD)
    first = take(remote, source)
    for options in ({}, {"delete": True}):
        with pytest.raises(NothingToPublish):
            take(remote, source, **options)
    assert remote.branch("main").commit == first.commit
    (source / "plain.txt").write_bytes(b"other")
    again = take(remote, source)
    assert (again.files, again.uploaded_files, again.uploaded_bytes) == (1, 1, 5)
    os.utime(source / "plain.txt", ns=(0, 0))
    with pytest.raises(NothingToPublish):
        take(remote, source)


def test_a_new_branch_starts_at_the_default_one(remote: LocalRemote, source: Path) -> None:
    fill(source, {b"a": b"1"})
    first = take(remote, source)
    fill(source, {b"b": b"2"})
    done = take(remote, source, branch="feature/new")
    assert remote.commit(done.commit).parents == (first.commit,)
    assert head_tree(remote, "feature/new") == {b"a": b"1", b"b": b"2"}
    assert head_tree(remote) == {b"a": b"1"}


@pytest.mark.parametrize("to", [b"sub/dir", b"/sub//dir/", b"./sub/dir"])
def test_to_puts_it_below_a_folder(remote: LocalRemote, source: Path, to: bytes) -> None:
    fill(source, {b"a": b"1"})
    take(remote, source, to=b"other")
    take(remote, source, to=to)
    assert head_tree(remote) == with_folders({b"other/a": b"1", b"sub/dir/a": b"1"})


def test_to_replaces_a_file_that_is_in_the_way(remote: LocalRemote, source: Path) -> None:
    fill(source, {b"sub": b"file"})
    take(remote, source)
    (source / "sub").unlink()
    fill(source, {b"a": b"1"})
    take(remote, source, to=b"sub/dir")
    assert head_tree(remote) == with_folders({b"sub/dir/a": b"1"})


@pytest.mark.parametrize("to", [b"..", b"a/../b", b".oxen", b"a\0", b"\xff", b"x" * 256])
def test_to_must_be_a_path_that_can_be_stored(remote: LocalRemote, source: Path, to: bytes) -> None:
    fill(source, {b"a": b"1"})
    with pytest.raises(Unsupported):
        take(remote, source, to=to)


def test_without_delete_nothing_is_removed(
    remote: LocalRemote, source: Path, tmp_path: Path
) -> None:
    fill(source, {b"a": b"1", b"d/x": b"1", b"d/y": b"1"})
    take(remote, source)
    other = tmp_path / "other"
    fill(other, {b"b": b"2", b"d/x": b"2"})
    take(remote, other)
    assert head_tree(remote) == with_folders({b"a": b"1", b"b": b"2", b"d/x": b"2", b"d/y": b"1"})


def test_delete_below_to_leaves_everything_else_alone(
    remote: LocalRemote, source: Path, tmp_path: Path
) -> None:
    fill(source, {b"a": b"1", b"d/x": b"1", b"d/e/y": b"1"})
    take(remote, source)
    other = tmp_path / "other"
    fill(other, {b"z": b"2"})
    done = take(remote, other, to=b"d", delete=True)
    assert head_tree(remote) == with_folders({b"a": b"1", b"d/z": b"2"})
    assert done.files == 3


def test_files_and_folders_take_each_others_place(
    remote: LocalRemote, source: Path, tmp_path: Path
) -> None:
    before = with_folders({b"a/x/y": b"1", b"b": b"2", b"c": None, b"d": b"4"})
    after = with_folders({b"a": b"1", b"b/x/y": b"2", b"c": b"3", b"d": None})
    fill(source, before)
    take(remote, source)
    other = tmp_path / "other"
    fill(other, after)
    take(remote, other)
    assert head_tree(remote) == after
    take(remote, source, delete=True)
    assert head_tree(remote) == before


@pytest.mark.parametrize("to", [b"", b"sub"])
def test_the_store_of_an_official_clone_is_not_content(
    remote: LocalRemote, source: Path, to: bytes
) -> None:
    fill(source, {b"a": b"1", b".oxen/HEAD": b"main", b".oxen/x/y": b"1"})
    take(remote, source, to=to, delete=True)
    assert {path.rpartition(b"/")[2] for path in head_tree(remote)} - {b"sub"} == {b"a"}


def test_the_source_must_be_a_folder(remote: LocalRemote, source: Path) -> None:
    (source / "file").write_bytes(b"1")
    with pytest.raises(NotADirectory, match="not a folder"):
        take(remote, source / "file")
    with pytest.raises(NotFound, match="no folder"):
        take(remote, source / "missing")
    (source / "inside").mkdir()
    (source / "inside" / "a").write_bytes(b"1")
    (source / "link").symlink_to("inside")
    take(remote, source / "link")
    assert head_tree(remote) == {b"a": b"1"}


def test_a_repository_is_not_imported_into_itself(remote: LocalRemote) -> None:
    for source in (remote.layout.root, remote.layout.root.parent):
        with pytest.raises(UsageError, match="lies in"):
            take(remote, source)


def test_an_empty_folder_is_nothing_or_an_empty_folder(remote: LocalRemote, source: Path) -> None:
    with pytest.raises(NothingToPublish):
        take(remote, source)
    take(remote, source, to=b"a/b")
    assert head_tree(remote) == with_folders({b"a/b": None})
    with pytest.raises(NothingToPublish):
        take(remote, source, to=b"a")
    take(remote, source, delete=True)
    assert head_tree(remote) == {}


def test_progress_only_grows_and_ends_at_the_whole(remote: LocalRemote, source: Path) -> None:
    tree = with_folders({b"a": b"1" * 10, b"d/big": noise(5 << 20, "p"), b"e": b"", b"z": b"22"})
    fill(source, tree)
    seen: list[tuple[int, int]] = []
    take(remote, source, progress=lambda files, done: seen.append((files, done)))
    assert seen == sorted(seen)
    total = sum(len(data or b"") for data in tree.values())
    assert seen[-1] == (4, total)
    (source / "d" / "big").write_bytes(noise(5 << 20, "q"))
    seen.clear()
    # Of the size that is there: it is hashed first, and then copied after all.
    take(remote, source, progress=lambda files, done: seen.append((files, done)))
    assert seen == sorted(seen)
    assert seen[-1] == (4, total)


def test_a_conflicting_import_is_told_and_a_disjoint_one_lands(
    remote: LocalRemote, source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    fill(source, {b"a": b"1", b"b": b"2"})
    fill(other, {b"b": b"other", b"c": b"3"})
    started = False

    def meanwhile(files: int, done: int) -> None:
        nonlocal started
        if not started:
            started = True
            take(remote, other)

    with pytest.raises(Conflict) as caught:
        take(remote, source, progress=meanwhile)
    assert caught.value.paths == (b"b",)
    (source / "b").unlink()
    fill(other, {b"d": b"4"})
    started = False
    take(remote, source, progress=meanwhile)
    assert head_tree(remote) == {b"a": b"1", b"b": b"other", b"c": b"3", b"d": b"4"}


NAMES = st.sampled_from([b"a", b"b", b"a-", b"B"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
TREES = st.lists(
    st.tuples(PATHS, st.one_of(st.none(), st.sampled_from([b"", b"1", b"22"]))), max_size=8
).map(lambda items: apply({}, puts(dict(items))))


@settings(max_examples=40, deadline=None)
@given(TREES, TREES, st.sampled_from([b"", b"a", b"x/y"]))
def test_any_folder_over_any_tree_makes_the_tree_of_the_model(
    before: Tree, after: Tree, to: bytes
) -> None:
    prefix = to + b"/" if to else b""
    moved = {prefix + path: data for path, data in after.items()} | ({to: None} if to else {})
    added = apply(before, puts(moved))
    inside = [path for path in added if path.startswith(prefix) and path not in moved]
    equal = apply(added, ordered(Remove(path) for path in inside))
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        first.mkdir()
        second.mkdir()
        fill(first, before)
        fill(second, after)
        remote = create(Path(folder, "repository"), AUTHOR, vnode_size=2)
        for source, options, wanted in (
            (first, {}, before),
            (second, {"to": to}, added),
            (second, {"to": to, "delete": True}, equal),
        ):
            was = head_tree(remote)
            try:
                take(remote, source, **options)
            except NothingToPublish:
                assert wanted == was
            assert head_tree(remote) == wanted
        remote.close()
