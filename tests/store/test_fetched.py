"""Pieces of blobs that are elsewhere: asked for once, errors told to all, memory bounded."""

from __future__ import annotations

import threading
from typing import cast

import pytest
import trio
import trio.testing
from in_trio import in_trio
from repositories import noise

from oxenfs.errors import IntegrityError, NotFound, OxenfsError, RemoteUnavailable
from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobPlace, Remote
from oxenfs.store import fetched
from oxenfs.store.fetched import PIECE_BYTES, FetchedBlobs, FetchedReader

BLOB = ObjectHash(7)
SIZES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5]


class Elsewhere:
    """A remote with one blob.

    Attributes:
        calls: offset and size of each read.
        gate: reads wait for it.
        failures: raised by the next reads instead of an answer.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.calls: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    def read(self, blob: ObjectHash, offset: int, size: int, place: BlobPlace) -> bytes:
        assert (blob, place.path) == (BLOB, b"f")
        self.calls.append((offset, size))
        # Decided when the read begins, told when the gate opens.
        failure = self.failures.pop(0) if self.failures else None
        assert self.gate.wait(20)
        if failure is not None:
            raise failure
        return self.data[offset : offset + size]


def opened(remote: Elsewhere) -> tuple[FetchedBlobs, FetchedReader]:
    blobs = FetchedBlobs(cast("Remote", remote))
    size = len(remote.data)
    return blobs, blobs.open(BLOB, size, lambda: BlobPlace(ObjectHash(1), b"f", size))


@pytest.mark.parametrize("size", SIZES)
@in_trio
async def test_any_range_is_read(size: int) -> None:
    remote = Elsewhere(noise(size, size))
    _, reader = opened(remote)
    edges = {0, 1, size // 2, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, size - 1, size}
    edges |= {2 * PIECE_BYTES, size + 1, size + PIECE_BYTES}
    for start in (edge for edge in edges if edge >= 0):
        for stop in (edge for edge in edges if edge >= start):
            assert bytes(await reader.read(start, stop - start)) == remote.data[start:stop]
    assert len(remote.calls) == len(set(remote.calls)) == -(-size // PIECE_BYTES)
    reader.close()


@in_trio
async def test_only_the_pieces_that_are_read_are_fetched() -> None:
    remote = Elsewhere(noise(3 * PIECE_BYTES + 5, "pieces"))
    _, reader = opened(remote)
    assert remote.calls == []
    await reader.read(PIECE_BYTES + 3, 10)
    await reader.read(3 * PIECE_BYTES, 100)
    assert remote.calls == [(PIECE_BYTES, PIECE_BYTES), (3 * PIECE_BYTES, 5)]


@in_trio
async def test_many_readers_of_a_piece_share_one_request() -> None:
    remote = Elsewhere(noise(2 * PIECE_BYTES, "shared"))
    blobs, _ = opened(remote)
    remote.gate.clear()
    got: list[bytes] = []

    async def read() -> None:
        size = len(remote.data)
        reader = blobs.open(BLOB, size, lambda: BlobPlace(ObjectHash(1), b"f", size))
        got.append(bytes(await reader.read(0, size)))

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(remote.calls) == 1
        remote.gate.set()
    assert got == [remote.data] * 16
    assert sorted(remote.calls) == [(0, PIECE_BYTES), (PIECE_BYTES, PIECE_BYTES)]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (RemoteUnavailable("down"), RemoteUnavailable),
        (IntegrityError("damaged"), IntegrityError),
        # The file is there, its bytes are not: no ENOENT for something that is listed.
        (NotFound("gone"), IntegrityError),
        (ValueError("a mistake of ours"), ValueError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@in_trio
async def test_an_error_is_told_to_all_who_wait_and_not_kept(
    failure: Exception, told: type[Exception]
) -> None:
    remote = Elsewhere(noise(100, "error"))
    _, reader = opened(remote)
    remote.failures = [failure]
    remote.gate.clear()
    errors: list[Exception] = []

    async def read() -> None:
        try:
            await reader.read(0, 10)
        except (OxenfsError, ValueError) as exc:
            errors.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.05)
        remote.gate.set()
    assert [type(exc) for exc in errors] == [told] * 16
    assert str(failure) in str(errors[0])
    assert len(remote.calls) == 1
    assert bytes(await reader.read(0, 10)) == remote.data[:10]
    assert len(remote.calls) == 2


@in_trio
async def test_cancelling_one_who_waits_leaves_the_fetch_alone() -> None:
    remote = Elsewhere(noise(100, "waits"))
    _, reader = opened(remote)
    remote.gate.clear()
    got: list[bytes] = []

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            got.append(bytes(await reader.read(0, 100)))

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(read, scope)
            await trio.testing.wait_all_tasks_blocked(0.02)
        scopes[1].cancel()
        await trio.testing.wait_all_tasks_blocked(0.02)
        remote.gate.set()
    assert got == [remote.data] * 2
    assert len(remote.calls) == 1


@in_trio
async def test_when_the_one_who_fetches_is_cancelled_another_one_does() -> None:
    remote = Elsewhere(noise(100, "fetches"))
    _, reader = opened(remote)
    remote.gate.clear()
    got: list[bytes] = []

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            got.append(bytes(await reader.read(0, 100)))

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(read, scope)
            await trio.testing.wait_all_tasks_blocked(0.02)
        scopes[0].cancel()
        # The others are served by one new fetch, before the abandoned one ends.
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(remote.calls) == 2
        assert scopes[0].cancelled_caught
        remote.gate.set()
    assert got == [remote.data] * 2
    assert len(remote.calls) == 2


@in_trio
async def test_memory_is_bounded_and_the_last_used_pieces_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetched, "KEPT_BYTES", 3 * PIECE_BYTES)
    remote = Elsewhere(noise(6 * PIECE_BYTES, "bound"))
    blobs, reader = opened(remote)
    for number in (0, 1, 2, 0, 3, 4, 5):
        await reader.read(number * PIECE_BYTES, 10)
        assert blobs._kept_bytes == sum(map(len, blobs._kept.values())) <= 3 * PIECE_BYTES
    remote.calls.clear()
    for number in (5, 4, 3):
        await reader.read(number * PIECE_BYTES, 10)
    assert remote.calls == []
    await reader.read(0, 10)
    assert remote.calls == [(0, PIECE_BYTES)]
    blobs.close()
    await reader.read(0, 10)
    assert len(remote.calls) == 2


@in_trio
async def test_a_wrong_size_of_one_file_does_not_spoil_another_of_that_hash() -> None:
    remote = Elsewhere(noise(PIECE_BYTES + 500, "two"))
    blobs, reader = opened(remote)
    shorter = blobs.open(
        BLOB, PIECE_BYTES + 9, lambda: BlobPlace(ObjectHash(1), b"f", PIECE_BYTES + 9)
    )
    assert len(await shorter.read(PIECE_BYTES, 100)) == 9
    assert bytes(await reader.read(PIECE_BYTES, 500)) == remote.data[PIECE_BYTES:]
