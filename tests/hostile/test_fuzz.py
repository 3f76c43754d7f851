"""Any rows of any bytes: what comes in by the wire's decoder is found again in the columns."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from oxenfs.errors import IntegrityError
from oxenfs.model import NAME_BYTES_MAX
from oxenfs.remote.base import DirectoryNodes
from oxenfs.remote.rows import Row, rows_of
from oxenfs.store.columns import Listing, columns_of

from .building import fields_of_file, packed, raw_entries, tree
from .trees import NEVER_SHOWN, SHOWN

SHORT = [name for name in (*NEVER_SHOWN.values(), *SHOWN.values()) if len(name) < 1000]
NAMES = st.binary(max_size=300) | st.sampled_from(SHORT)
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.integers(0, 9), below, max_size=3)
    ),
)
PLACES = ("hash", "size", "commit", "mtime_s", "mtime_ns", "data_type", "metadata", "chunks")


def listed(payloads: list[bytes]) -> list[Row]:
    made = tree()
    return rows_of(DirectoryNodes(made.root, (raw_entries(payloads),)))


def look_at(rows: list[Row]) -> None:
    """Make columns of rows, and find everything again, and nothing else."""
    listing = Listing(columns_of(rows))
    assert len(listing) == len(rows)
    assert listing.names_between(0, len(rows)) == [row.name for row in rows]
    for number, row in enumerate(rows):
        assert 0 < len(row.name) <= NAME_BYTES_MAX
        assert listing.find(row.name) == number
        assert listing.name(number) == row.name
        assert listing.hash(number) == row.id
        assert listing.last_commit(number) == row.last_commit
        assert (listing.sizes[number], listing.mtimes[number]) == (row.size, row.mtime_ns)
        assert listing.find(row.name + b"\0") == -1
    assert listing.find(b"") == -1
    assert listing.find(b"..") == -1


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, max_size=30))
def test_any_names_are_found_again_or_left_out(names: list[bytes]) -> None:
    rows = listed([packed(fields_of_file(name)) for name in names])
    shown = {row.name for row in rows}
    assert shown <= set(names)
    assert not shown & set(NEVER_SHOWN.values())
    assert not any(b"/" in name or b"\0" in name for name in shown)
    look_at(rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_any_fields_are_shown_soundly_or_refused(entries: list[tuple[bytes, str, Any]]) -> None:
    payloads = [packed(fields_of_file(name, **{place: value})) for name, place, value in entries]
    with contextlib.suppress(IntegrityError):
        look_at(listed(payloads))


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=4))
def test_any_values_for_entries_are_shown_soundly_or_refused(values: list[Any]) -> None:
    with contextlib.suppress(IntegrityError):
        look_at(listed([msgpack.packb(value) for value in values]))


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=5), st.data())
def test_cut_off_bytes_lose_no_entry_without_a_word(
    names: list[bytes], data: st.DataObject
) -> None:
    payloads = [packed(fields_of_file(name)) for name in names]
    at = data.draw(st.integers(0, len(payloads[-1]) - 1))
    payloads[-1] = payloads[-1][:at]
    try:
        rows = listed(payloads)
    except IntegrityError:
        return
    raise AssertionError(f"{len(rows)} of {len(names)} entries are shown")
