"""Damaged blobs: an error for the chunk, and right bytes for all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import KIB, make_repository

from oxenfs.errors import IntegrityError
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.direct import DirectBlobs

from .blobs import BLOBS, LARGEST, PACKED, SIZES, C, hash_of, read


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[LocalRemote]:
    """A repository to damage."""
    made = make_repository(tmp_path / "own", {b"%d" % size: BLOBS[size] for size in SIZES})
    yield made
    made.close()


def flip(location: BlobLocation, at: int) -> None:
    """Change one bit of a blob on disk."""
    with Path(location.path).open("r+b") as file:
        file.seek(location.offset + at)
        byte = file.read(1)
        file.seek(location.offset + at)
        file.write(bytes([byte[0] ^ 1]))


def move(path: str, to: str) -> None:
    Path(path).rename(to)


def replace(path: str, data: bytes) -> None:
    whole = Path(path).with_name("whole")
    whole.write_bytes(data)
    whole.rename(path)


@pytest.mark.parametrize("size", [PACKED, LARGEST])
@in_trio
async def test_one_changed_bit_spoils_its_chunk_and_no_other(
    repository: LocalRemote, size: int
) -> None:
    data = BLOBS[size]
    flip(repository.locate(hash_of(data)), C + 17)
    blobs = DirectBlobs(repository)
    for offset in range(0, size, 64 * KIB):
        if offset // C == 1:
            with pytest.raises(IntegrityError, match=rf"chunk 1 \(bytes {C} to {2 * C}\)"):
                await read(blobs, data, offset, 4096)
        else:
            assert await read(blobs, data, offset, 4096) == data[offset : offset + 4096]
    with pytest.raises(IntegrityError):
        await read(blobs, data, C - 1, 2)
    for other in set(SIZES) - {size}:
        assert await read(blobs, BLOBS[other], 0, other) == BLOBS[other]
    blobs.close()


@in_trio
async def test_a_changed_bit_in_a_small_blob_is_found(repository: LocalRemote) -> None:
    data = BLOBS[4096]
    flip(repository.locate(hash_of(data)), 4095)
    blobs = DirectBlobs(repository)
    for offset in (0, 4095):
        with pytest.raises(IntegrityError, match="does not have its hash"):
            await read(blobs, data, offset, 1)
    assert await read(blobs, BLOBS[10], 0, 10) == BLOBS[10]
    blobs.close()


@in_trio
async def test_damage_after_a_good_read_is_found_when_it_is_read_again(
    repository: LocalRemote,
) -> None:
    data = BLOBS[LARGEST]
    blobs = DirectBlobs(repository)
    assert await read(blobs, data, 0, LARGEST) == data
    flip(repository.locate(hash_of(data)), 5)
    for size in SIZES[:-1]:
        await read(blobs, BLOBS[size], 0, size)
    with pytest.raises(IntegrityError, match="chunk 0"):
        await read(blobs, data, 0, 10)
    blobs.close()


@in_trio
async def test_a_truncated_file_is_good_up_to_the_chunk_of_the_cut(
    repository: LocalRemote,
) -> None:
    data = BLOBS[LARGEST]
    os.truncate(repository.locate(hash_of(data)).path, 2 * C + 100)
    blobs = DirectBlobs(repository)
    assert await read(blobs, data, 0, 2 * C) == data[: 2 * C]
    for offset in (2 * C, 3 * C, LARGEST - 1):
        with pytest.raises(IntegrityError, match=f"cut off at {2 * C + 100}"):
            await read(blobs, data, offset, 10)
    blobs.close()


@in_trio
async def test_a_missing_file_is_damage_until_it_is_back(repository: LocalRemote) -> None:
    data = BLOBS[LARGEST]
    path = repository.locate(hash_of(data)).path
    move(path, path + ".aside")
    blobs = DirectBlobs(repository)
    with pytest.raises(IntegrityError, match="No such file"):
        await read(blobs, data, 0, 10)
    move(path + ".aside", path)
    assert await read(blobs, data, 0, 10) == data[:10]
    blobs.close()


@in_trio
async def test_a_file_put_in_the_place_of_a_damaged_one_is_read(repository: LocalRemote) -> None:
    data = BLOBS[LARGEST]
    location = repository.locate(hash_of(data))
    flip(location, 0)
    blobs = DirectBlobs(repository)
    with pytest.raises(IntegrityError):
        await read(blobs, data, 0, 10)
    replace(location.path, data)
    assert await read(blobs, data, 0, 10) == data[:10]
    blobs.close()
