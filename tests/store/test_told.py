"""Who is told of small files that came before anybody asked for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import noise

from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.store.flights import Data
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.remote_readers import SmallReader
from oxenfs.store.siblings import Sibling

from .elsewhere import Elsewhere, blobs_of, place_of, until

COUNT = 200
SIZE = 2000
HASH = bytes(16)


class Folder:
    """A folder of small files, read by row; tags are rows and a thousand."""

    def __init__(self, source: Elsewhere, blobs: RemoteBlobs) -> None:
        self.data = [noise(SIZE, ("told", number)) for number in range(COUNT)]
        rows = [
            Row(b"%03d" % n, int(Kind.BINARY), source.add(data).to_bytes(16, "big"), SIZE, 0, HASH)
            for n, data in enumerate(self.data)
        ]
        self.listing = Listing(columns_of(rows))
        self.blobs = blobs
        self.told: dict[int, bytes] = {}
        self.lock = threading.Lock()
        blobs.ahead.tell(self.note)

    def note(self, came: object) -> None:
        assert isinstance(came, list)
        pair: tuple[int, Data]
        with self.lock:
            for pair in came:
                assert pair[0] not in self.told
                self.told[pair[0]] = bytes(pair[1])

    def open(self, row: int, *, tagged: bool = True) -> SmallReader:
        blob = self.listing.hash(row)
        sibling = Sibling("folder", self.listing, row)
        reader = self.blobs.open(blob, SIZE, lambda: place_of(blob, SIZE), lambda: sibling)
        assert isinstance(reader, SmallReader)
        assert reader.listing is self.listing
        if tagged:
            reader.tags = lambda row: row + 1000
        return reader

    async def read(self, row: int, *, tagged: bool = True) -> None:
        reader = self.open(row, tagged=tagged)
        assert bytes(await reader.read(0, SIZE)) == self.data[row]
        reader.close()


@pytest.fixture
def source() -> Elsewhere:
    return Elsewhere()


@in_trio
async def test_what_came_ahead_is_told_with_its_tag_and_nothing_else(
    source: Elsewhere, tmp_path: Path
) -> None:
    with blobs_of(source, tmp_path) as blobs:
        folder = Folder(source, blobs)
        for row in (100, 20, 180):
            await folder.read(row)
        # Two with the first three reads: as many as were read, from the second read on.
        await until(lambda: len(folder.told) >= 2)
        assert all(data == folder.data[tag - 1000] for tag, data in folder.told.items())
        assert not {1100, 1020, 1180} & set(folder.told)


@in_trio
async def test_who_has_no_tags_is_not_told(source: Elsewhere, tmp_path: Path) -> None:
    with blobs_of(source, tmp_path) as blobs:
        folder = Folder(source, blobs)
        for row in range(0, 60, 3):
            await folder.read(row, tagged=False)
        await until(lambda: sum(map(len, source.batches)) > 40)
        assert folder.told == {}


@in_trio
async def test_what_was_told_counts_as_read_when_it_is_closed(
    source: Elsewhere, tmp_path: Path
) -> None:
    with blobs_of(source, tmp_path) as blobs:
        folder = Folder(source, blobs)
        await folder.read(100)
        await folder.read(20)
        closed: set[int] = set()
        # Nobody reads any more, and yet all of the folder comes: 16 files for each from 2% on.
        while len(folder.told) < COUNT - 2:
            await until(lambda: bool(set(folder.told) - closed))
            tag = min(set(folder.told) - closed)
            closed.add(tag)
            folder.open(tag - 1000).close()
        # What was not told was not read, whoever opens and closes it.
        asked = len(source.batches)
        folder.open(100).close()
        assert len(source.batches) == asked
