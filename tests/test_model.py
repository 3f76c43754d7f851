"""Values: hashes as text, names, the order of change sets."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.errors import Conflict, OxenfsError, Unsupported, UsageError
from oxenfs.model import (
    NAME_BYTES_MAX,
    Branch,
    Kind,
    ObjectHash,
    check_name,
    hash_text,
    parse_hash,
    tree_order,
)


@given(st.integers(0, 2**128 - 1))
def test_a_hash_comes_back_from_its_text(value: int) -> None:
    text = hash_text(value)
    assert parse_hash(text) == parse_hash(text.upper()) == parse_hash(text.rjust(32, "0")) == value
    assert text == "0" or not text.startswith("0")


@pytest.mark.parametrize(
    "text", ["", "g", "0x1", "-1", " 1", "1 ", "1\n", "1_0", "0" * 33, "\u0661"]
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_hash(text)


@pytest.mark.parametrize(
    "name",
    [
        b"a",
        b" ",
        b"...",
        b"..a",
        b".oxenignore",
        b"oxen",
        b"a\\b",
        b"a\nb",
        b"\x7f",
        b"-rf",
        "é".encode(),
        "e\u0301".encode(),
        b"x" * NAME_BYTES_MAX,
    ],
)
def test_odd_names_are_fine(name: bytes) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a\0",
        b"x" * (NAME_BYTES_MAX + 1),
        "é".encode() * 128,
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b".oxen",
        b".OxEn",
    ],
)
def test_names_that_cannot_be_stored_are_refused(name: bytes) -> None:
    with pytest.raises(Unsupported) as caught:
        check_name(name)
    assert len(str(caught.value)) < 300


@given(st.lists(st.lists(st.sampled_from([b"a", b"b", b"a-", b"a0"]), min_size=1, max_size=3)))
def test_in_tree_order_everything_below_a_folder_is_together(paths: list[list[bytes]]) -> None:
    ordered = sorted({b"/".join(path) for path in paths}, key=tree_order)
    for folder in ordered:
        inside = [path.startswith(folder + b"/") or path == folder for path in ordered]
        first = ordered.index(folder)
        assert inside == [first <= at < first + sum(inside) for at in range(len(ordered))]


def test_values_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Branch("main", ObjectHash(1)).name = "other"  # type: ignore[misc]


def test_zero_is_a_directory_in_a_column_of_kinds() -> None:
    assert bytes([Kind.DIRECTORY]) == b"\0"
    assert len(set(Kind)) == 7


def test_a_conflict_has_its_paths() -> None:
    assert Conflict("text").paths == ()
    conflict = Conflict("text", (b"a",))
    assert (conflict.paths, str(conflict)) == ((b"a",), "text")
    assert isinstance(conflict, OxenfsError)
