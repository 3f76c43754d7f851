"""Runs of inode numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxenfs.mount.numbers import Numbering, Numbers


@given(st.lists(st.integers(1, 40), unique=True, max_size=40), st.data())
def test_numbers_are_those_added_and_lead_back(wanted: list[int], data: st.DataObject) -> None:
    building = Numbering()
    for number in wanted:
        building.add(number)
    numbers = building.numbers()
    assert numbers.count == len(wanted)
    assert [numbers.inode(row) for row in range(len(wanted))] == wanted
    assert [numbers.row(number) for number in wanted] == list(range(len(wanted)))
    assert {numbers.row(number) for number in range(50) if number not in wanted} == {-1}
    start = data.draw(st.integers(0, len(wanted)))
    stop = data.draw(st.integers(start, len(wanted)))
    assert list(numbers.between(start, stop)) == wanted[start:stop]
    runs = [first + step for first, count in numbers.runs(start, stop) for step in range(count)]
    assert runs == wanted[start:stop]


def test_runs_behind_each_other_are_one() -> None:
    building = Numbering()
    building.add(100, 1000)
    building.add(1100, 5)
    assert list(building.numbers().runs(0, 1005)) == [(100, 1005)]


def test_an_empty_block_has_no_row() -> None:
    assert Numbers.block(5, 0).row(5) == -1
    assert list(Numbers.block(5, 0).between(0, 0)) == []
