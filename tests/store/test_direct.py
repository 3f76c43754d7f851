"""Blobs read where they lie: the right bytes, or an error."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from in_trio import in_trio
from repositories import KIB, MIB, make_repository, noise

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import Digest, ObjectHash
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store import direct
from oxenfs.store.direct import DirectBlobs

from .blobs import BLOBS, LARGEST, SIZES, C, hash_of, read


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRemote]:
    """A repository that no test damages."""
    path = tmp_path_factory.mktemp("direct") / "repository"
    made = make_repository(path, {b"%d" % size: data for size, data in BLOBS.items()})
    yield made
    made.close()


@pytest.fixture
def blobs(shared: LocalRemote) -> Iterator[DirectBlobs]:
    made = DirectBlobs(shared)
    yield made
    made.close()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in the page cache: every read needs a thread."""
    monkeypatch.setattr(DirectBlobs, "_read_now", lambda *_: False)


def edges(size: int) -> set[int]:
    near = {0, C, 2 * C, size}
    return {max(0, edge + by) for edge in near for by in (-1, 0, 1)} | {size + 10 * C}


async def check_every_range(blobs: DirectBlobs) -> None:
    for size, data in BLOBS.items():
        for offset in edges(size):
            for length in (0, 1, 4096, C - 1, C, C + 1, MIB):
                found = await read(blobs, data, offset, length)
                assert found == data[offset : offset + length], (size, offset, length)


def test_blobs_lie_in_packs_and_in_files(shared: LocalRemote) -> None:
    folders = {
        size: Path(shared.locate(hash_of(data)).path).parent.name for size, data in BLOBS.items()
    }
    assert {size for size, folder in folders.items() if folder == "packs"} == {
        size for size in SIZES if size <= MIB
    }


@in_trio
async def test_every_range_is_right(blobs: DirectBlobs) -> None:
    await check_every_range(blobs)


@in_trio
@pytest.mark.usefixtures("cold")
async def test_every_range_is_right_through_a_thread(blobs: DirectBlobs) -> None:
    await check_every_range(blobs)


@in_trio
async def test_a_whole_large_blob_is_read_at_once(blobs: DirectBlobs) -> None:
    data = BLOBS[LARGEST]
    assert await read(blobs, data, 0, LARGEST) == data


@in_trio
async def test_a_file_system_without_nowait_is_read(
    blobs: DirectBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv
    refused = 0

    def preadv(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        nonlocal refused
        if flags:
            refused += 1
            raise OSError(95, "Operation not supported")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    for size in (10, LARGEST):
        assert await read(blobs, BLOBS[size], 5, 100) == BLOBS[size][5:105]
    assert refused == 1


@in_trio
async def test_what_the_page_cache_has_in_part_is_read_in_full(
    blobs: DirectBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        return real(fd, [buffers[0][:1000]] if flags else buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    assert await read(blobs, BLOBS[LARGEST], C + 5, MIB) == BLOBS[LARGEST][C + 5 : C + 5 + MIB]


@pytest.mark.parametrize("hot_share", [0.0, 0.5, 1.0])
@in_trio
async def test_readers_at_once_get_the_right_bytes(
    blobs: DirectBlobs, monkeypatch: pytest.MonkeyPatch, hot_share: float
) -> None:
    draw = random.Random(7)
    real = blobs._read_now

    def read_now(location: BlobLocation, start: int, view: memoryview) -> bool:
        return draw.random() < hot_share and real(location, start, view)

    monkeypatch.setattr(blobs, "_read_now", read_now)
    done = 0

    async def one(seed: int) -> None:
        nonlocal done
        mine = random.Random(seed)
        data = BLOBS[mine.choice(SIZES)]
        reader = blobs.open(hash_of(data), len(data))
        for _ in range(12):
            offset = mine.randrange(len(data))
            size = mine.choice((1, 4096, 128 * KIB, MIB))
            view = await reader.read(offset, size)
            assert view == data[offset : offset + size]
            await trio.lowlevel.checkpoint()
            done += 1

    async with trio.open_nursery() as nursery:
        for seed in range(40):
            nursery.start_soon(one, seed)
    assert done == 480


class Gate:
    """Holds up reads in threads until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()
        self._real = direct._read_patiently
        monkeypatch.setattr(direct, "_read_patiently", self._wait)

    def _wait(self, location: BlobLocation, start: int, view: memoryview) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(20)
        self._real(location, start, view)
        with self._lock:
            self.inside -= 1


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (a thread makes it true)
        await trio.sleep(0.001)


@in_trio
@pytest.mark.usefixtures("cold")
async def test_a_slow_disk_takes_a_bounded_number_of_threads_and_buffers(
    blobs: DirectBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = direct._Buffer

    def buffer(length: int) -> direct._Buffer:
        made.append(length)
        return real(length)

    gate = Gate(monkeypatch)
    monkeypatch.setattr(direct, "_Buffer", buffer)
    found: list[bool] = []
    data = BLOBS[LARGEST]

    async def one(number: int) -> None:
        offset = number * 64 * KIB % LARGEST
        found.append(await read(blobs, data, offset, MIB) == data[offset : offset + MIB])

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(one, number)
        await until(lambda: gate.inside == direct._THREADS)
        assert len(made) == direct._THREADS - direct._BUFFERS
        gate.open.set()
    assert found == [True] * 60
    assert gate.most == direct._THREADS


@in_trio
@pytest.mark.usefixtures("cold")
async def test_a_reader_that_gives_up_leaves_its_buffer_to_the_thread(
    blobs: DirectBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    small = BLOBS[10]
    async with trio.open_nursery() as nursery:
        for _ in range(direct._BUFFERS):
            nursery.start_soon(read, blobs, BLOBS[LARGEST], 0, MIB)
        await until(lambda: gate.inside == direct._BUFFERS)
        nursery.cancel_scope.cancel()
        gate.open.set()
    assert await read(blobs, small, 0, 10) == small
    assert not any(buffer.busy for buffer in blobs._buffers)


@in_trio
async def test_a_size_that_is_not_the_trees_is_damage(blobs: DirectBlobs) -> None:
    data = BLOBS[4096]
    reader = blobs.open(hash_of(data), 4095)
    with pytest.raises(IntegrityError, match="has 4096 bytes, the tree says 4095"):
        await reader.read(0, 10)


@in_trio
async def test_a_blob_that_is_not_there_is_damage(blobs: DirectBlobs) -> None:
    with pytest.raises(IntegrityError, match="is not in"):
        await blobs.open(ObjectHash(1), 10).read(0, 10)


@in_trio
async def test_an_empty_file_needs_no_blob(blobs: DirectBlobs) -> None:
    assert bytes(await blobs.open(ObjectHash(1), 0).read(0, 4096)) == b""


class ManyFiles:
    """A thousand blobs, each in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.contents = [noise(100, number) for number in range(1000)]
        self._paths = {}
        for number, data in enumerate(self.contents):
            path = folder / str(number)
            path.write_bytes(data)
            self._paths[hash_of(data)] = str(path)

    def locate(self, blob: ObjectHash) -> BlobLocation:
        if blob not in self._paths:
            raise NotFound("no such blob")
        return BlobLocation(self._paths[blob], 0, 100)

    def digests(self, blob: ObjectHash, first: int, count: int) -> list[Digest]:
        raise AssertionError("blobs of one chunk have none")


@in_trio
async def test_a_thousand_open_blobs_take_a_bounded_number_of_descriptors(tmp_path: Path) -> None:
    files = ManyFiles(tmp_path)
    blobs = DirectBlobs(files)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    readers = [blobs.open(hash_of(data), 100) for data in files.contents]
    for _ in range(2):
        for reader, data in zip(readers, files.contents, strict=True):
            assert await reader.read(0, 200) == data
    assert len(os.listdir("/proc/self/fd")) <= before + direct._FILES_OPEN  # noqa: PTH208
    blobs.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
