"""What every remote must do with a change set. A subclass gives the fixture `remote`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from repositories import AUTHOR, content, noise

from oxenfs.errors import (
    NotFound,
    NothingToPublish,
    SourceChanged,
    Unsupported,
    UsageError,
)
from oxenfs.model import (
    Author,
    Change,
    Content,
    MakeDirectory,
    ObjectHash,
    Published,
    Put,
    Remove,
)
from oxenfs.remote.base import Remote

from .reference import apply, files, puts, rows_below, tree_of, trickling
from .reference import with_folders as folders

MIXED = folders({b"a": b"1", b"d/x": b"2", b"d/sub/y": b"3", b"e": None, b"z": b"4"})


def put(path: bytes, data: bytes) -> Put:
    return Put(path, content(data))


def publish(
    remote: Remote, *changes: Change, branch: str = "main", base: ObjectHash | None = None
) -> Published:
    base = remote.branch(branch).commit if base is None else base
    return remote.publish(branch, base, changes, "message", AUTHOR)


def nothing_happened(remote: Remote, action: Callable[[], object], error: type[Exception]) -> str:
    """Expect `error` from `action`, and no branch to move; return what it says."""
    before = remote.branches()
    with pytest.raises(error) as caught:
        action()
    assert remote.branches() == before
    assert len(list(remote.history(before[0].commit))) < 10
    return str(caught.value)


REFUSED = [b"x" * 256, b"\xff", b".oxen", b"a/.OXEN/b"]

CHANGES: dict[str, list[Change]] = {
    "add": [put(b"b", b"new"), put(b"d/sub/new/deep", b"n")],
    "replace": [put(b"a", b"other"), put(b"d/x", b"")],
    "remove files": [Remove(b"a"), Remove(b"d/sub/y")],
    "remove a directory": [Remove(b"d")],
    "remove all": [Remove(b"a"), Remove(b"d"), Remove(b"e"), Remove(b"z")],
    "remove what is not there": [Remove(b"none"), Remove(b"none/x"), put(b"q", b"")],
    "remove below a file": [Remove(b"a/x"), put(b"q", b"")],
    "make a directory": [MakeDirectory(b"new/deep"), MakeDirectory(b"other")],
    "make one that is there": [MakeDirectory(b"d"), put(b"q", b"")],
    "file becomes directory": [put(b"a/x", b"1")],
    "file is removed, then a directory": [Remove(b"a"), put(b"a/x", b"1"), put(b"a/y", b"1")],
    "file becomes empty directory": [MakeDirectory(b"a")],
    "directory becomes file": [put(b"d", b"file")],
    "directory is removed, then a file": [Remove(b"d"), put(b"d", b"file")],
    "directory is replaced": [Remove(b"d"), put(b"d/other", b"1")],
    "made, then filled": [MakeDirectory(b"n"), put(b"n/a", b"1"), MakeDirectory(b"n/b")],
    "put twice": [put(b"a", b"first"), put(b"a", b"second")],
    "put, then a directory there": [put(b"n", b"file"), put(b"n/x", b"below")],
    "put, then removed": [put(b"a", b"first"), Remove(b"a")],
    "names that begin alike": [put(b"d/x", b"1"), put(b"d-", b"2"), put(b"d0/x", b"3")],
    "last entry of a directory": [Remove(b"d/sub/y"), put(b"d/x", b"9")],
}


class PublishingSuite:
    """Change sets, conflicts. `remote` is empty: `main` at one commit without files."""

    @pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
    def test_the_new_tree_is_the_old_one_with_the_changes(
        self, remote: Remote, changes: list[Change]
    ) -> None:
        base = publish(remote, *puts(MIXED)).commit
        done = publish(remote, *changes)
        assert tree_of(remote, done.commit) == apply(MIXED, changes)
        assert tree_of(remote, base) == MIXED
        assert remote.commit(done.commit).parents == (base,)
        assert remote.branch("main").commit == done.commit

    def test_what_a_publish_did_is_counted(self, remote: Remote) -> None:
        first = publish(remote, put(b"a", b"12"), put(b"b", b"345"), put(b"c", b"12"))
        assert (first.branch, first.files) == ("main", 3)
        assert (first.uploaded_files, first.uploaded_bytes) == (2, 5)
        second = publish(remote, put(b"a", b"345"), put(b"b", b"345"), Remove(b"c"))
        assert (second.files, second.uploaded_files, second.uploaded_bytes) == (2, 0, 0)

    def test_untouched_entries_keep_their_last_commit(self, remote: Remote) -> None:
        first = publish(remote, *puts(MIXED)).commit
        second = publish(remote, put(b"d/x", b"new"), put(b"z", b"4")).commit
        last = {path: row.last_commit for path, row in rows_below(remote, second).items()}
        changed = {path for path, commit in last.items() if commit == second}
        assert changed == {b"d", b"d/x"}
        assert {last[path] for path in last.keys() - changed} == {first}

    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [put(b"a", b"1")],
            [MakeDirectory(b"d"), MakeDirectory(b"e")],
            [Remove(b"a/none"), Remove(b"none")],
        ],
        ids=["empty", "same content", "directories that are there", "removal of nothing"],
    )
    def test_a_change_set_that_changes_nothing_makes_no_commit(
        self, remote: Remote, changes: list[Change]
    ) -> None:
        publish(remote, *puts(MIXED))
        nothing_happened(remote, lambda: publish(remote, *changes), NothingToPublish)

    def test_a_new_branch_starts_at_the_base(self, remote: Remote) -> None:
        old = publish(remote, put(b"a", b"1")).commit
        publish(remote, put(b"a", b"2"))
        done = publish(remote, put(b"b", b"1"), branch="feature/new", base=old)
        assert done.branch == "feature/new"
        assert remote.commit(done.commit).parents == (old,)
        assert tree_of(remote, done.commit) == files(a=b"1", b=b"1")
        assert tree_of(remote, remote.branch("main").commit) == files(a=b"2")

    @pytest.mark.parametrize(
        "name", ["", "a b", "a..b", "/a", "a/", "-a", "a\nb", "a~1", "x" * 600, "\udcff"]
    )
    def test_a_branch_name_that_oxen_refuses_is_refused(self, remote: Remote, name: str) -> None:
        base = remote.branch("main").commit
        nothing_happened(
            remote, lambda: publish(remote, put(b"a", b"1"), branch=name, base=base), UsageError
        )

    def test_a_base_that_is_not_there_is_told_before_anything_is_read(self, remote: Remote) -> None:
        def refuse() -> io.BytesIO:
            raise AssertionError("a content was opened")

        change = Put(b"a", Content(1, 0, refuse))
        wrong = ObjectHash(remote.branch("main").commit ^ 1)
        nothing_happened(remote, lambda: publish(remote, change, base=wrong), NotFound)

    @pytest.mark.parametrize(
        "path",
        [b"", b"/a", b"a/", b"a//b", b".", b"a/..", b"../a", b"a\0b", *REFUSED],
    )
    @pytest.mark.parametrize("kind", [put, MakeDirectory, Remove])
    def test_a_path_that_cannot_be_stored_is_refused(
        self, remote: Remote, path: bytes, kind: Callable[..., Change]
    ) -> None:
        change = kind(path, b"1") if kind is put else kind(path)
        nothing_happened(remote, lambda: publish(remote, change), Unsupported)

    def test_folders_nested_too_deeply_are_refused(self, remote: Remote) -> None:
        deep = b"/".join([b"d"] * 5000)
        nothing_happened(remote, lambda: publish(remote, put(deep, b"1")), Unsupported)
        fine = b"/".join([b"d"] * 200)
        assert fine in tree_of(remote, publish(remote, put(fine, b"1")).commit)

    def test_changes_out_of_order_are_refused(self, remote: Remote) -> None:
        for wrong in ([b"b", b"a"], [b"a/x", b"a"], [b"d-", b"d/x"]):
            changes = [put(path, b"1") for path in wrong]
            nothing_happened(remote, lambda: publish(remote, *changes), ValueError)  # noqa: B023

    def test_text_that_is_not_utf8_is_refused(self, remote: Remote) -> None:
        base = remote.branch("main").commit
        change = put(b"a", b"1")
        for message, author in (
            ("\udcff", AUTHOR),
            ("m", Author("\udcff", "e")),
            ("m", Author("n", "\udcff")),
        ):
            nothing_happened(
                remote,
                lambda: remote.publish("main", base, [change], message, author),  # noqa: B023
                UsageError,
            )

    @pytest.mark.parametrize("size", [10, 3 << 20])
    def test_a_content_of_another_size_than_it_said_is_refused(
        self, remote: Remote, size: int
    ) -> None:
        for wrong in (size - 1, size + 1):
            lie = Content(wrong, 0, lambda: io.BytesIO(noise(size, "lie")))
            said = nothing_happened(
                remote,
                lambda: publish(remote, put(b"a", b"1"), Put(b"b/c", lie)),  # noqa: B023
                SourceChanged,
            )
            assert "b/c" in said

    @pytest.mark.parametrize("size", [10, 3 << 20])
    def test_a_content_that_changes_while_it_is_read_is_refused(
        self, remote: Remote, size: int
    ) -> None:
        class Changing(io.BytesIO):
            def close(self) -> None:
                super().close()
                raise SourceChanged("changed")

        change = Put(b"b", Content(size, 0, lambda: Changing(bytes(size))))
        nothing_happened(remote, lambda: publish(remote, put(b"a", b"1"), change), SourceChanged)

    def test_a_failing_stream_of_changes_publishes_nothing(self, remote: Remote) -> None:
        def changes() -> Iterator[Change]:
            yield put(b"a", b"1")
            raise SourceChanged("gone")

        nothing_happened(
            remote,
            lambda: remote.publish(
                "main", remote.branch("main").commit, changes(), "message", AUTHOR
            ),
            SourceChanged,
        )

    @pytest.mark.parametrize("size", [100, (1 << 20) + 1, 3 << 20])
    def test_a_content_may_come_in_small_pieces(self, remote: Remote, size: int) -> None:
        data = noise(size, "pieces")
        done = publish(remote, Put(b"f", trickling(data)))
        assert tree_of(remote, done.commit) == {b"f": data}

    def test_a_wrong_guess_of_the_hash_does_no_harm(self, remote: Remote) -> None:
        old, new = noise(3 << 20, "old"), noise(3 << 20, "new")
        first = publish(remote, put(b"f", old), put(b"small", b"1"))
        rows = rows_below(remote, first.commit)

        def change(path: bytes, data: bytes, known: ObjectHash) -> Put:
            return Put(path, Content(len(data), 0, lambda: io.BytesIO(data), known))

        guess, small = rows[b"f"].id, rows[b"small"].id
        done = publish(remote, change(b"f", new, guess), change(b"small", b"2", small))
        assert tree_of(remote, done.commit) == {b"f": new, b"small": b"2"}
        again = publish(remote, change(b"f", old, guess), change(b"g", new, ObjectHash(1)))
        assert tree_of(remote, again.commit) == {b"f": old, b"g": new, b"small": b"2"}
        assert again.uploaded_files == 0

    def test_the_same_commit_twice_within_a_second_gets_two_ids(self, remote: Remote) -> None:
        base = remote.branch("main").commit
        ids = [
            remote.publish(f"b{n}", base, [put(b"a", b"1")], "same", AUTHOR).commit
            for n in range(4)
        ]
        assert len(set(ids)) == 4
        found = [rows_below(remote, id)[b"a"].last_commit for id in ids]
        transport = getattr(remote, "transport", None)
        if transport is None or transport.is_oxenfs:
            assert len({remote.root(id) for id in ids}) == 4
            assert found == ids
        else:
            # Roots of oxen-server say nothing of commits: equal ones share a listing.
            assert set(found) <= set(ids)
