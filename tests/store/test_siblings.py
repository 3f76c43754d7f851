"""What is fetched ahead of demand stays in proportion to what was read of a folder."""

from __future__ import annotations

from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.store.siblings import Sibling, Siblings

HASH = bytes(16)


def folder(files: int, size: int = 1000) -> Listing:
    rows = [Row(b"%05d" % n, int(Kind.BINARY), HASH, size, 0, HASH) for n in range(files)]
    return Listing(columns_of(rows))


def test_a_folder_may_be_read_more_often_than_it_has_files() -> None:
    listing = folder(3)
    asked: list[int] = []

    def ahead(rows: list[int]) -> int:
        asked.extend(rows)
        return len(rows)

    siblings = Siblings()
    for epoch in range(7):
        for turn in range(3):
            siblings.read(Sibling("folder", listing, turn * 2 % 3), ahead)
        # Each at most once in an epoch: what came in the one before may have been evicted.
        assert len(asked) == len(set(asked)), epoch
        asked.clear()
