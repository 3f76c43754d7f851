"""What every remote must do when a branch has moved. A subclass gives the fixture `remote`."""

from __future__ import annotations

import pytest

from oxenfs.errors import Conflict, NothingToPublish
from oxenfs.model import Change, MakeDirectory, Remove
from oxenfs.remote.base import Remote

from .publish_suite import MIXED, publish, put
from .reference import Tree, apply, ordered, puts, tree_of
from .reference import with_folders as folders

BOTH: list[tuple[str, list[Change], list[Change], Tree | None]] = [
    # What theirs landed first, what ours was made against the commit before, the merged tree.
    ("disjoint", [put(b"t", b"1")], [put(b"o", b"2")], {**MIXED, b"t": b"1", b"o": b"2"}),
    (
        "disjoint in one folder",
        [put(b"d/t", b"1"), Remove(b"d/x")],
        [put(b"d/o", b"2")],
        {k: v for k, v in {**MIXED, b"d/t": b"1", b"d/o": b"2"}.items() if k != b"d/x"},
    ),
    ("same file changed", [put(b"a", b"t")], [put(b"a", b"o")], None),
    ("same file added", [put(b"n/f", b"t")], [put(b"n/f", b"o")], None),
    (
        "same content",
        [put(b"a", b"s"), put(b"n/f", b"s")],
        [put(b"a", b"s"), put(b"n/f", b"s"), put(b"o", b"2")],
        folders({**MIXED, b"a": b"s", b"n/f": b"s", b"o": b"2"}),
    ),
    ("changed and removed", [put(b"a", b"t")], [Remove(b"a")], None),
    ("removed and changed", [Remove(b"a")], [put(b"a", b"o")], None),
    (
        "both removed",
        [Remove(b"a")],
        [Remove(b"a"), put(b"o", b"2")],
        {k: v for k, v in {**MIXED, b"o": b"2"}.items() if k != b"a"},
    ),
    ("folder removed, changed inside", [put(b"d/sub/y", b"t")], [Remove(b"d")], None),
    ("folder replaced by a file, changed inside", [put(b"d/n", b"t")], [put(b"d", b"o")], None),
    ("changed inside a folder that was removed", [Remove(b"d")], [put(b"d/x", b"o")], None),
    ("file there, folder here", [put(b"n", b"t")], [put(b"n/f", b"o")], None),
    ("folder there, file here", [put(b"n/f", b"t")], [put(b"n", b"o")], None),
    ("file there, empty folder here", [put(b"n", b"t")], [MakeDirectory(b"n")], None),
    (
        "folder made on both sides",
        [MakeDirectory(b"n")],
        [MakeDirectory(b"n"), put(b"n/o", b"2")],
        {**MIXED, b"n": None, b"n/o": b"2"},
    ),
    # The file in the way has the bytes that were below it, or that are wanted below it.
    ("file in the way has the old bytes", [put(b"d", b"2")], [put(b"d/x", b"o")], None),
    ("file in the way has the new bytes", [put(b"n", b"o")], [put(b"n/f", b"o")], None),
    ("file in the way of a removal", [put(b"d", b"2")], [Remove(b"d/x")], None),
]


class ConflictSuite:
    """Two change sets against one base. `remote` is empty."""

    @pytest.mark.parametrize(
        ("theirs", "ours", "merged"), [case[1:] for case in BOTH], ids=[case[0] for case in BOTH]
    )
    def test_of_two_change_sets_the_second_lands_on_top_or_conflicts(
        self, remote: Remote, theirs: list[Change], ours: list[Change], merged: Tree | None
    ) -> None:
        base = publish(remote, *puts(MIXED)).commit
        first = publish(remote, *ordered(theirs), base=base).commit
        if merged is not None:
            second = publish(remote, *ordered(ours), base=base).commit
            assert remote.commit(second).parents == (first,)
            assert tree_of(remote, second) == merged
            return
        before = remote.branches()
        with pytest.raises(Conflict) as caught:
            publish(remote, *ordered(ours), base=base)
        assert caught.value.paths == tuple(change.path for change in ordered(ours))
        assert caught.value.paths[0].decode() in str(caught.value)
        assert remote.branches() == before
        assert tree_of(remote, first) == apply(MIXED, ordered(theirs))

    def test_a_conflict_names_all_paths_and_only_those(self, remote: Remote) -> None:
        base = publish(remote, *(put(b"f%02d" % n, b"1") for n in range(30))).commit
        publish(remote, *(put(b"f%02d" % n, b"2") for n in range(0, 30, 2)))
        with pytest.raises(Conflict) as caught:
            publish(remote, *(put(b"f%02d" % n, b"3") for n in range(30)), base=base)
        assert caught.value.paths == tuple(b"f%02d" % n for n in range(0, 30, 2))

    def test_what_the_other_side_has_already_is_nothing_to_publish(self, remote: Remote) -> None:
        base = publish(remote, *puts(MIXED)).commit
        publish(remote, put(b"a", b"same"), Remove(b"z"))
        with pytest.raises(NothingToPublish):
            publish(remote, put(b"a", b"same"), Remove(b"z"), base=base)
