"""What is fetched before anybody asks: of one file, and of a folder."""

from __future__ import annotations

import random

import pytest

from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.store.siblings import Sibling, Siblings
from oxenfs.store.window import WINDOW_BYTES_MAX, Window

KIB, MIB = 1 << 10, 1 << 20


def folder(count: int, size: int = 10 * KIB) -> Listing:
    commit = bytes(16)
    rows = [
        Row(b"%06d" % number, Kind.BINARY, number.to_bytes(16, "big"), size, 0, commit)
        for number in range(count)
    ]
    return Listing(columns_of(rows))


class Reading:
    """Reads files of folders and counts what would be fetched."""

    def __init__(self) -> None:
        self.siblings = Siblings()
        self.fetched: set[tuple[int, int]] = set()
        self.waited = self.reads = 0

    def read(self, folder: int, listing: Listing, row: int) -> None:
        self.reads += 1
        self.waited += (folder, row) not in self.fetched
        self.fetched.add((folder, row))

        def ahead(others: list[int]) -> int:
            new = {(folder, other) for other in others} - self.fetched
            self.fetched |= new
            return len(new)

        self.siblings.read(Sibling(folder, listing, row), ahead)


def shuffled(folders: int, files: int, part: float) -> Reading:
    listing = folder(files)
    order = [(f, row) for f in range(folders) for row in range(files)]
    random.Random(5).shuffle(order)
    reading = Reading()
    for f, row in order[: int(len(order) * part)]:
        reading.read(f, listing, row)
    return reading


SHAPES = ((10, 1000), (1, 10_000), (100, 100), (1000, 10))
"""Folders, and files of 10 KiB in each."""

WAITS = {(10, 1000): 0.04, (1, 10_000): 0.10, (100, 100): 0.06, (1000, 10): 0.4}
"""Which part of the reads of a shuffled epoch waits for a round trip. Only the second is costly."""

MOVED = {
    (10, 1000): {0.01: 2.1, 0.02: 9, 0.05: 17, 0.1: 10.5, 0.3: 3.4},
    (1, 10_000): {0.01: 2.1, 0.02: 2.1, 0.05: 5, 0.1: 5, 0.3: 3.4},
    (100, 100): {0.01: 2.1, 0.02: 4, 0.05: 12, 0.1: 10, 0.3: 3.4},
    (1000, 10): {0.01: 1.2, 0.02: 1.2, 0.05: 1.4, 0.1: 1.7, 0.3: 2.1},
}
"""How many files come for each that is read, of samples of that part."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shuffled_epoch_waits_for_few_files(shape: tuple[int, int]) -> None:
    reading = shuffled(*shape, 1)
    assert len(reading.fetched) == reading.reads
    assert reading.waited < WAITS[shape] * reading.reads


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_sample_moves_is_bounded(shape: tuple[int, int]) -> None:
    for part, limit in MOVED[shape].items():
        reading = shuffled(*shape, part)
        assert len(reading.fetched) <= limit * reading.reads, part


def test_files_in_the_order_of_the_listing_are_a_run() -> None:
    listing = folder(2000)
    reading = Reading()
    for row in range(2000):
        reading.read(0, listing, row)
    assert reading.waited < 10
    assert len(reading.fetched) == 2000


def test_nothing_comes_with_the_first_read_of_a_folder() -> None:
    reading = Reading()
    reading.read(0, folder(1000), 500)
    assert len(reading.fetched) == 1


def test_large_files_and_folders_are_left_out() -> None:
    commit = bytes(16)
    rows = [
        Row(b"%03d" % number, kind, bytes([number]) * 16, size, 0, commit)
        for number, (kind, size) in enumerate(
            [(Kind.BINARY, 5 * MIB), (Kind.DIRECTORY, 0), (Kind.BINARY, 100), (Kind.BINARY, 0)] * 9
        )
    ]
    listing = Listing(columns_of(rows))
    asked: list[int] = []
    siblings = Siblings()

    def ahead(rows: list[int]) -> int:
        asked.extend(rows)
        return len(rows)

    for row in (2, 6, 10, 14):
        siblings.read(Sibling(0, listing, row), ahead)
    assert asked
    assert {row % 4 for row in asked} == {2}


def test_further_epochs_are_read_ahead_as_well() -> None:
    listing = folder(100)
    reading = Reading()
    order = list(range(100))
    for _ in range(3):
        random.Random(3).shuffle(order)
        reading.fetched.clear()
        for row in order:
            reading.read(0, listing, row)
        assert len(reading.fetched) == 100
    assert reading.waited < 100


def test_a_window_grows_with_a_run_up_to_its_end() -> None:
    window = Window()
    assert window.note(0, 128 * KIB) == 128 * KIB
    end = 128 * KIB
    targets = []
    for _ in range(100):
        targets.append(window.note(end, end + 128 * KIB) - end - 128 * KIB)
        end += 128 * KIB
    assert targets[0] == 4 * 256 * KIB
    assert targets == sorted(targets)
    assert targets[-1] == WINDOW_BYTES_MAX


def test_requests_of_a_run_may_come_in_any_order() -> None:
    window = Window()
    window.note(0, MIB)
    for offset in (2, 1, 4, 3, 6, 5):
        assert window.note(offset * MIB, (offset + 1) * MIB) > (offset + 1) * MIB


def test_random_reads_have_no_window() -> None:
    window = Window()
    rng = random.Random(1)
    ahead = 0
    for _ in range(1000):
        offset = rng.randrange(2 << 30)
        ahead += window.note(offset, offset + 4 * KIB) - offset - 4 * KIB
    assert ahead < 1000 * 4 * KIB
