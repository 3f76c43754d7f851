"""The journal: what a crash or a damaged byte leaves of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oxenfs.errors import IntegrityError
from oxenfs.overlay.journal import Edit, JournalWriter, open_journal


def edits(number: int) -> list[Edit]:
    return [Edit(0, b"k%d" % number, b"v" * (number % 7)), Edit(1, b"gone", None)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def fill(path: Path, count: int) -> list[int]:
    """Write records; return where each ends."""
    journal = open_journal(path)
    ends = []
    for number in range(count):
        journal.append(edits(number))
        ends.append(journal.end)
    journal.close()
    return ends


def test_what_was_appended_is_read_again(path: Path) -> None:
    fill(path, 20)
    journal = open_journal(path)
    assert list(journal.records()) == [edits(number) for number in range(20)]
    journal.close()


def test_cut_at_any_byte_whole_records_are_left(path: Path, tmp_path: Path) -> None:
    ends = fill(path, 6)
    whole = path.read_bytes()
    for size in range(16, ends[-1] + 1):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:size])
        journal = open_journal(cut)
        expected = sum(end <= size for end in ends)
        assert list(journal.records()) == [edits(number) for number in range(expected)]
        # It goes on after that.
        journal.append(edits(99))
        assert list(journal.records())[-1] == edits(99)
        journal.close()


def test_a_flipped_bit_ends_the_journal_before_it(path: Path, tmp_path: Path) -> None:
    ends = fill(path, 5)
    whole = path.read_bytes()
    for place in range(16, ends[-1]):
        bad = bytearray(whole)
        bad[place] ^= 0x10
        damaged = tmp_path / "damaged"
        damaged.write_bytes(bad)
        journal = open_journal(damaged)
        expected = sum(end <= place for end in ends)
        assert list(journal.records()) == [edits(number) for number in range(expected)]
        journal.close()


def test_a_record_of_another_place_is_not_taken_for_one(path: Path) -> None:
    ends = fill(path, 3)
    whole = path.read_bytes()
    # The second record over the first: sound in itself, and in the wrong place.
    path.write_bytes(whole[:16] + whole[ends[0] : ends[1]] + whole[ends[1] :])
    journal = open_journal(path)
    assert list(journal.records()) == []
    journal.close()


def test_zeros_behind_the_end_are_no_records(path: Path) -> None:
    fill(path, 2)
    with path.open("ab") as file:
        file.write(bytes(4096))
    journal = open_journal(path)
    assert len(list(journal.records())) == 2
    journal.close()


def test_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"a letter to somebody")
    with pytest.raises(IntegrityError, match="no journal"):
        open_journal(path)


def test_a_new_journal_takes_the_place_at_once_or_not_at_all(path: Path) -> None:
    fill(path, 3)
    writer = JournalWriter(path)
    writer.append(edits(7))
    writer.close()
    journal = open_journal(path)
    assert len(list(journal.records())) == 3
    old = journal.id
    journal.close()
    writer = JournalWriter(path)
    writer.append(edits(7))
    writer.finish().close()
    journal = open_journal(path)
    assert list(journal.records()) == [edits(7)]
    assert journal.id != old
    journal.close()
    assert os.listdir(path.parent) == ["journal"]


def test_undo_takes_back_the_last_record(path: Path) -> None:
    journal = open_journal(path)
    journal.append(edits(1))
    end = journal.end
    journal.append(edits(2))
    journal.undo(end)
    journal.append(edits(3))
    assert list(journal.records()) == [edits(1), edits(3)]
    journal.close()
