"""Changes on their way over the control socket."""

from __future__ import annotations

import json
import os

from oxenfs.overlay.item import Item, from_columns, shown, to_columns

ITEMS = [
    Item("A", b"new", None, None),
    Item("A", b"new of known size", None, 7),
    Item("A", b"left.out~", None, 0, ignored=True),
    Item("M", b"d/changed", None, 3, base=b"d/changed"),
    Item("D", b"gone", None, None, base=b"gone"),
    Item("R", b"to \xff", b"from \xff", 5),
    Item("A", b"last", None, None),
]


def test_changes_arrive_as_they_were_sent() -> None:
    sent = json.loads(json.dumps(to_columns(ITEMS)))
    assert list(from_columns(sent)) == [shown(item) for item in ITEMS]
    assert [os.fsencode(item.path) for item in from_columns(sent)] == [i.path for i in ITEMS]
    assert list(from_columns(to_columns([]))) == []
