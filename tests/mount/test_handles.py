"""Numbers for open things."""

from __future__ import annotations

import pytest

from oxenfs.mount.handles import Handles, UnknownHandle


def test_a_number_stands_for_what_it_was_given_for() -> None:
    handles: Handles[str] = Handles()
    numbers = [handles.add(name) for name in "abc"]
    assert len(set(numbers)) == len(handles) == 3
    assert [handles.get(number) for number in numbers] == ["a", "b", "c"]


def test_a_number_is_never_given_twice() -> None:
    handles: Handles[int] = Handles()
    seen = set()
    for thing in range(100):
        number = handles.add(thing)
        assert number not in seen
        seen.add(number)
        assert handles.pop(number) == thing
    assert len(handles) == 0


def test_what_was_released_is_unknown() -> None:
    handles: Handles[str] = Handles()
    number = handles.add("a")
    handles.pop(number)
    for call in (handles.get, handles.pop):
        with pytest.raises(UnknownHandle, match=str(number)):
            call(number)


def test_drain_gives_everything_that_is_open() -> None:
    handles: Handles[str] = Handles()
    handles.add("a")
    handles.pop(handles.add("b"))
    handles.add("c")
    assert handles.drain() == ["a", "c"]
    assert handles.drain() == []
    assert len(handles) == 0
