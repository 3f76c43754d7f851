"""A directory's rows as columns, and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxenfs.errors import IntegrityError
from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of

HEADER_BYTES = 32
FLAGS = range(20, 24)

names = st.binary(min_size=1, max_size=255).map(
    lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")
)
hashes = st.binary(min_size=16, max_size=16)
rows = st.builds(
    Row,
    names,
    st.sampled_from([int(kind) for kind in Kind]),
    hashes,
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([bytes(16), b"\xff" * 16, bytes(range(16))]),
)
directories = st.lists(rows, max_size=60, unique_by=lambda row: row.name).map(sorted)


def file(name: bytes, size: int = 1) -> Row:
    return Row(name, Kind.TEXT, bytes(16), size, 0, bytes(16))


@given(directories)
def test_columns_give_back_the_rows(entries: list[Row]) -> None:
    listing = Listing(columns_of(entries))
    assert len(listing) == listing.count == len(entries)
    assert [listing.entry(index) for index in range(listing.count)] == entries
    assert [listing.is_directory(index) for index in range(listing.count)] == [
        row.kind == Kind.DIRECTORY for row in entries
    ]


def test_listings_are_the_same_by_names_and_contents() -> None:
    entries = [file(b"a"), file(b"b"), file(b"c")]
    listing = Listing(columns_of(entries))
    assert listing.is_same(Listing(columns_of(entries)))
    other = [entries[0], entries[1]._replace(hash=b"\1" * 16), entries[2]]
    assert not listing.is_same(Listing(columns_of(other)))
    assert not listing.is_same(Listing(columns_of(entries[:2])))
    assert not listing.is_same(Listing(columns_of([*entries[:2], file(b"d")])))
    large = columns_of([file(b"%05d" % number) for number in range(5000)])
    assert not Listing(large).is_same(Listing(large))


@given(directories, st.lists(names, max_size=20))
def test_each_name_is_found_and_no_other(entries: list[Row], others: list[bytes]) -> None:
    listing = Listing(columns_of(entries))
    there = {row.name: index for index, row in enumerate(entries)}
    for name in [*there, *others, b"", b".", b"..", b"\0"]:
        assert listing.find(name) == there.get(name, -1)


@given(directories, st.integers(0, 60), st.integers(0, 60))
def test_a_run_of_names_is_cut_out(entries: list[Row], start: int, stop: int) -> None:
    listing = Listing(columns_of(entries))
    start, stop = min(start, len(entries)), min(stop, len(entries))
    assert listing.names_between(start, stop) == [row.name for row in entries[start:stop]]


@given(directories)
def test_flags_say_whether_all_are_of_one_kind(entries: list[Row]) -> None:
    listing = Listing(columns_of(entries))
    directory = [row.kind == Kind.DIRECTORY for row in entries]
    assert listing.all_directories == all(directory)
    assert listing.all_files == (not any(directory))


@settings(max_examples=20)
@given(directories)
def test_columns_that_lost_or_gained_bytes_are_refused(entries: list[Row]) -> None:
    columns = columns_of(entries)
    for length in {*range(0, min(len(columns), 100), 3), len(columns) - 1}:
        with pytest.raises(IntegrityError):
            Listing(columns[:length])
    with pytest.raises(IntegrityError):
        Listing(columns + b"\0")


def test_a_flipped_bit_in_the_header_is_refused() -> None:
    columns = columns_of([file(b"a"), file(b"b")])
    for bit in range(8 * HEADER_BYTES):
        if bit // 8 not in FLAGS:
            damaged = bytearray(columns)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(IntegrityError):
                Listing(bytes(damaged))


@pytest.mark.parametrize("slots", [0, 3])
def test_a_hash_table_in_which_a_search_would_not_end_is_refused(slots: int) -> None:
    sound = columns_of([])
    header = sound[:12] + struct.pack("<I", slots) + sound[16:HEADER_BYTES]
    with pytest.raises(IntegrityError):
        Listing(header + bytes(4 + 4 * slots))


def test_an_empty_directory_has_no_entries() -> None:
    listing = Listing(columns_of([]))
    assert listing.count == 0
    assert listing.find(b"a") == -1
    assert listing.names_between(0, 0) == []


def test_one_entry_is_found() -> None:
    listing = Listing(columns_of([file(b"only", 7)]))
    assert listing.find(b"only") == 0
    assert listing.sizes[0] == 7
    assert listing.find(b"onl") == listing.find(b"onlyy") == -1


def test_ten_thousand_entries_are_all_found() -> None:
    entries = [file(b"entry %05d" % number, number) for number in range(10_000)]
    listing = Listing(columns_of(entries))
    assert [listing.find(row.name) for row in entries] == list(range(10_000))
    assert all(listing.find(b"entry %05d" % number) == -1 for number in range(10_000, 11_000))
    assert listing.names_between(0, listing.count) == [row.name for row in entries]
    assert listing.bytes < 85 * listing.count


def test_names_of_255_bytes_are_kept() -> None:
    entries = [file(bytes([letter]) * 255) for letter in b"abcdef"]
    listing = Listing(columns_of(entries))
    assert [listing.name(index) for index in range(6)] == [row.name for row in entries]
    assert listing.find(b"c" * 255) == 2
    assert listing.find(b"c" * 254) == -1


def test_a_listing_cannot_be_changed() -> None:
    listing = Listing(columns_of([file(b"a")]))
    for column in (listing.sizes, listing.mtimes, listing.kinds, listing.offsets, listing.names):
        with pytest.raises(TypeError):
            column[0] = 1
