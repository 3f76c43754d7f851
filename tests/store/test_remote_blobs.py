"""Blobs that are fetched: asked for once, checked, kept, and errors told to all who wait."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from in_trio import in_trio
from repositories import noise

from oxenfs.errors import (
    AccessDenied,
    Busy,
    IntegrityError,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
    StaleRevision,
)
from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.store import queued, transfers
from oxenfs.store.flights import Recent
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.waiting import OPEN_WAIT_S
from oxenfs.store.window import WINDOW_BYTES_MAX

from .elsewhere import MIB, Elsewhere, blobs_of, opened, read_all, until

SIZES = [1, 4096, CHUNK_BYTES, MIB, MIB + 1, 3 * MIB + 5]
C = CHUNK_BYTES


def at_least(blobs: RemoteBlobs, blob: ObjectHash, size: int, strikes: int) -> bool:
    return blobs.wholes.strikes(blob, size) >= strikes


@pytest.fixture
def source() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("with_cache", [True, False])
@pytest.mark.parametrize("size", SIZES)
@in_trio
async def test_any_range_is_read(
    source: Elsewhere, folder: Path, size: int, with_cache: bool
) -> None:
    data = noise(size, size)
    blob = source.add(data)
    with blobs_of(source, folder if with_cache else None) as blobs:
        reader = opened(blobs, blob, size)
        edges = {0, 1, size // 2, C - 1, C, C + 1, 2 * C, size - 1, size, size + 1, size + C}
        for start in sorted(edges):
            for stop in (edge for edge in edges if edge >= start):
                assert bytes(await reader.read(start, stop - start)) == data[start:stop]
        reader.close()
        asked = [(offset + at) // C for _, offset, sz in source.ranges for at in range(0, sz, C)]
        assert len(asked) == len(set(asked))
        assert source.requests == len(source.batches) + len(source.ranges)
        assert len(source.batches) == (size <= MIB)


@in_trio
async def test_a_read_moves_the_chunks_it_touches_and_no_others(source: Elsewhere) -> None:
    blob = source.add(noise(40 * C, "chunks"))
    with blobs_of(source, None) as blobs:
        reader = opened(blobs, blob, 40 * C)
        assert source.requests == 0
        for number in (30, 3, 17, 9, 25):
            await reader.read(number * C + 5, 4096)
        assert source.ranges == [(blob, number * C, C) for number in (30, 3, 17, 9, 25)]


@in_trio
async def test_a_run_is_fetched_ahead_in_large_parts(source: Elsewhere, folder: Path) -> None:
    size = 60 * MIB + 77
    data = noise(size, "run")
    blob = source.add(data)
    with blobs_of(source, folder) as blobs:
        assert await read_all(blobs, blob, size, 128 * 1024) == data
        parts = [length for _, _, length in source.ranges]
        assert sum(parts) == size
        assert len(parts) < 60
        assert max(parts) == 4 * MIB
        assert blobs.counters.bytes_ahead > 50 * MIB


@pytest.mark.parametrize("size", [1000, 5 * C])
@in_trio
async def test_many_readers_share_one_request(source: Elsewhere, folder: Path, size: int) -> None:
    # Five chunks are less than 1.25 MiB, but more than one.
    size = max(size, 1000) if size < MIB else size
    data = noise(size, "shared")
    blob = source.add(data)
    source.gate.clear()
    got: list[bytes] = []
    with blobs_of(source, folder) as blobs:

        async def read() -> None:
            got.append(bytes(await opened(blobs, blob, size).read(0, size)))

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.05)
            source.gate.set()
        assert got == [data] * 16
        assert source.requests == 1


@in_trio
async def test_small_blobs_missed_meanwhile_go_out_together(source: Elsewhere) -> None:
    datas = [noise(3000, number) for number in range(100)]
    found = [source.add(data) for data in datas]
    source.gate.clear()
    with blobs_of(source, None) as blobs:

        async def read(number: int) -> None:
            reader = opened(blobs, found[number], 3000)
            assert bytes(await reader.read(0, 5000)) == datas[number]

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(read, number)
            await trio.testing.wait_all_tasks_blocked(0.05)
            source.gate.set()
        assert sum(map(len, source.batches)) == 100
        assert len(source.batches) <= transfers.BATCHES + 2


@in_trio
async def test_what_was_read_comes_from_disk_the_next_time(source: Elsewhere, folder: Path) -> None:
    small, large = noise(9000, "s"), noise(5 * MIB + 3, "l")
    one, two = source.add(small), source.add(large)
    with blobs_of(source, folder) as blobs:
        assert await read_all(blobs, one, len(small)) == small
        assert await read_all(blobs, two, len(large)) == large
    asked = source.requests
    with blobs_of(source, folder) as blobs:
        assert await read_all(blobs, one, len(small)) == small
        assert await read_all(blobs, two, len(large)) == large
        assert blobs.counters.misses == 0
    assert source.requests == asked
    with blobs_of(None, folder) as offline:
        assert await read_all(offline, two, len(large)) == large
        with pytest.raises(RemoteUnavailable, match="offline"):
            await opened(offline, ObjectHash(5), 100).read(0, 10)
        with pytest.raises(RemoteUnavailable, match="offline"):
            await opened(offline, ObjectHash(5), 2 * MIB).read(0, 10)


@in_trio
async def test_bytes_of_one_host_are_not_shown_for_another(source: Elsewhere, folder: Path) -> None:
    right = noise(2 * MIB, "planted")
    blob = source.add(right)
    bad = Elsewhere()
    bad.blobs[blob] = noise(2 * MIB, "other")
    with blobs_of(bad, folder, host="http://bad.example") as blobs:
        assert bytes(await opened(blobs, blob, 2 * MIB).read(0, 100)) == bad.blobs[blob][:100]
    with blobs_of(source, folder) as blobs:
        assert await read_all(blobs, blob, 2 * MIB) == right


@in_trio
async def test_a_wrong_size_of_one_file_does_not_spoil_another(
    source: Elsewhere, folder: Path
) -> None:
    data = noise(MIB + 500, "two")
    blob = source.add(data)
    with blobs_of(source, folder) as blobs:
        reader = opened(blobs, blob, len(data))
        shorter = opened(blobs, blob, MIB + 9)
        assert len(await shorter.read(MIB, 100)) == 9
        assert bytes(await reader.read(MIB, 500)) == data[MIB:]
        small = source.add(b"12345")
        with pytest.raises(IntegrityError, match="5 bytes, the tree says 6"):
            await opened(blobs, small, 6).read(0, 6)
        assert bytes(await opened(blobs, small, 5).read(0, 6)) == b"12345"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (RemoteRefused("no"), RemoteRefused),
        (AccessDenied("401"), AccessDenied),
        (ValueError("a mistake of ours"), ValueError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("size", [100, 2 * MIB])
@in_trio
async def test_an_error_is_told_to_all_who_wait(
    source: Elsewhere, failure: Exception, told: type[Exception], size: int
) -> None:
    data = noise(size, "error")
    blob = source.add(data)
    source.failures = [failure]
    source.gate.clear()
    errors: list[Exception] = []
    with blobs_of(source, None) as blobs:

        async def read() -> None:
            try:
                await opened(blobs, blob, size).read(0, 10)
            except (OxenfsError, ValueError) as exc:
                errors.append(exc)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.05)
            source.gate.set()
        assert [type(exc) for exc in errors] == [told] * 16
        assert source.requests == 1
        if told is not AccessDenied:
            assert bytes(await opened(blobs, blob, size).read(0, 10)) == data[:10]


@in_trio
async def test_who_is_refused_is_not_asked_again_at_once(
    source: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queued, "_DENIED_S", 0.5)
    data = noise(100, "refused")
    blob = source.add(data)
    source.failures = [AccessDenied("403")]
    with blobs_of(source, None) as blobs:
        for _ in range(20):
            with pytest.raises(AccessDenied):
                await opened(blobs, blob, 100).read(0, 10)
        assert source.requests == 1
        await trio.sleep(0.6)
        assert bytes(await opened(blobs, blob, 100).read(0, 10)) == data[:10]


@pytest.mark.parametrize("size", [100, 2 * MIB])
@in_trio
async def test_what_is_temporary_is_tried_again(source: Elsewhere, size: int) -> None:
    data = noise(size, "again")
    blob = source.add(data)
    source.failures = [RemoteUnavailable("reset"), Busy("429", 0.1), IntegrityError("cut off")]
    with blobs_of(source, None) as blobs:
        assert bytes(await opened(blobs, blob, size).read(0, 50)) == data[:50]
        assert source.requests == 4
        assert blobs.counters.retries == 3
        assert blobs.transfers is not None
        assert blobs.transfers.in_flight == 0


@in_trio
async def test_a_blob_that_the_server_lost_is_an_error_for_it_alone(source: Elsewhere) -> None:
    datas = [noise(500, number) for number in range(5)]
    found = [source.add(data) for data in datas]
    del source.blobs[found[2]]
    source.blobs[found[4]] = b"other bytes"
    source.gate.clear()
    told: dict[int, object] = {}
    with blobs_of(source, None) as blobs:
        assert blobs.transfers is not None

        async def read(number: int) -> None:
            try:
                told[number] = bytes(await opened(blobs, found[number], 500).read(0, 500))
            except (IntegrityError, StaleRevision) as exc:
                told[number] = str(exc)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(read, number)
            await trio.testing.wait_all_tasks_blocked(0.05)
            source.gate.set()
        assert [told[number] for number in (0, 1, 3)] == [datas[number] for number in (0, 1, 3)]
        assert "does not have these bytes" in str(told[2])
        assert "do not have their hash" in str(told[4])
        with pytest.raises(StaleRevision, match="does not have these bytes"):
            await opened(blobs, ObjectHash(99), 2 * MIB).read(0, 10)


@in_trio
async def test_cancelling_one_who_waits_leaves_the_others_alone(source: Elsewhere) -> None:
    data = noise(100, "cancel")
    blob = source.add(data)
    source.gate.clear()
    got: list[bytes] = []
    scopes = [trio.CancelScope() for _ in range(3)]
    with blobs_of(source, None) as blobs:

        async def read(scope: trio.CancelScope) -> None:
            with scope:
                got.append(bytes(await opened(blobs, blob, 100).read(0, 100)))

        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(read, scope)
                await trio.testing.wait_all_tasks_blocked(0.02)
            scopes[0].cancel()
            await trio.testing.wait_all_tasks_blocked(0.02)
            source.gate.set()
        assert scopes[0].cancelled_caught
        assert got == [data] * 2
        assert source.requests == 1


@in_trio
async def test_a_dead_server_fails_reads_at_the_deadline_and_then_at_once(
    source: Elsewhere, folder: Path
) -> None:
    datas = [noise(100, number) for number in range(30)]
    found = [source.add(data) for data in datas]
    with blobs_of(source, folder, timeout_s=1.0) as blobs:
        assert await read_all(blobs, found[0], 100) == datas[0]
        source.gate.clear()
        started = time.monotonic()
        failed: list[float] = []

        async def read(number: int) -> None:
            with pytest.raises(RemoteUnavailable):
                await opened(blobs, found[number], 100).read(0, 10)
            failed.append(time.monotonic() - started)

        async with trio.open_nursery() as nursery:
            for number in range(1, 20):
                nursery.start_soon(read, number)
        assert max(failed) < 3
        # It is known to be dead by now.
        started = time.monotonic()
        async with trio.open_nursery() as nursery:
            for number in range(1, 20):
                nursery.start_soon(read, number)
        assert max(failed[19:]) < 3 * OPEN_WAIT_S
        # What is here is not touched by that.
        assert await read_all(blobs, found[0], 100) == datas[0]
        source.gate.set()
        with trio.fail_after(10):
            while True:
                try:
                    assert await read_all(blobs, found[7], 100) == datas[7]
                    break
                except RemoteUnavailable:
                    await trio.sleep(0.05)


@in_trio
async def test_one_that_hangs_is_no_dead_server(source: Elsewhere) -> None:
    slow, quick = source.add(noise(2 * MIB, "slow")), source.add(noise(100, "quick"))
    release = threading.Event()
    original = source.range_into

    def hang(*args: object, **kwargs: object) -> object:
        release.wait(10)
        return original(*args, **kwargs)  # type: ignore[arg-type]

    source.range_into = hang  # type: ignore[assignment, method-assign]
    with blobs_of(source, None, timeout_s=1.0) as blobs:

        async def wait() -> None:
            with pytest.raises(RemoteUnavailable, match="within 1 s"):
                await opened(blobs, slow, 2 * MIB).read(0, 10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.5)
            await opened(blobs, quick, 100).read(0, 10)
        assert blobs.transfers is not None
        assert not blobs._breaker.is_open
        release.set()


@in_trio
async def test_a_large_blob_is_checked_when_all_of_it_is_here(
    source: Elsewhere, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = 3 * MIB
    data = noise(size, "whole")
    blob = source.add(data)
    with blobs_of(source, folder) as blobs:
        source.altered[blob] = 1
        wrong = await read_all(blobs, blob, size)
        assert wrong != data
        key = blobs.here.large_key(blob, size)
        # The last that is done about it.
        await until(lambda: "does not have its hash" in caplog.text)
        assert blobs.wholes.strikes(blob, size) == 1
        # Dropped, fetched once more, and pages of the kernel are not to be kept.
        again = opened(blobs, blob, size)
        assert not again.keep_cache
        assert await read_all(blobs, blob, size) == data
        await until(lambda: blobs.wholes.is_checked(key, size))
        assert blobs.counters.mismatched == 1


@in_trio
async def test_a_large_blob_that_stays_wrong_is_an_error_from_then_on(
    source: Elsewhere, folder: Path
) -> None:
    size = 3 * MIB
    blob = source.add(noise(size, "stays"))
    source.altered[blob] = 100
    with blobs_of(source, folder) as blobs:
        await read_all(blobs, blob, size)
        await until(partial(at_least, blobs, blob, size, 1))
        # The second time it may be found out before the last byte is handed out.
        with contextlib.suppress(IntegrityError):
            await read_all(blobs, blob, size)
        await until(partial(at_least, blobs, blob, size, 2))
        with pytest.raises(IntegrityError, match="fetched 2 times"):
            await opened(blobs, blob, size).read(0, 10)


@in_trio
async def test_verify_full_hands_out_nothing_unchecked(source: Elsewhere, folder: Path) -> None:
    size = 40 * MIB + 5
    data = noise(size, "full")
    blob = source.add(data)
    source.altered[blob] = 1
    with blobs_of(source, folder, verify_full=True) as blobs:
        assert bytes(await opened(blobs, blob, size).read(5, 100)) == data[5:105]
        assert blobs.wholes.is_checked(blobs.here.large_key(blob, size), size)
        asked = source.requests
        assert await read_all(blobs, blob, size) == data
        assert source.requests == asked
        bad = source.add(noise(2 * MIB, "bad"))
        source.altered[bad] = 100
        with pytest.raises(IntegrityError, match="fetched 2 times"):
            await opened(blobs, bad, 2 * MIB).read(0, 10)
    with (
        blobs_of(source, folder, verify_full=True, limit=8 * MIB) as blobs,
        pytest.raises(OxenfsError, match="cache-size"),
    ):
        await opened(blobs, blob, size).read(0, 10)


@in_trio
async def test_a_cache_of_nothing_passes_everything_through(
    source: Elsewhere, folder: Path
) -> None:
    data = noise(10 * MIB, "through")
    blob = source.add(data)
    with blobs_of(source, folder, limit=0) as blobs:
        assert await read_all(blobs, blob, len(data)) == data
        assert blobs.cache is not None
        assert blobs.cache.room.totals().blobs == 0


@in_trio
async def test_memory_is_bounded(source: Elsewhere) -> None:
    size = 120 * MIB
    blob = ObjectHash(11)
    source.blobs[blob] = bytes(size)
    with blobs_of(source, None) as blobs:
        reader = opened(blobs, blob, size)
        assert blobs.transfers is not None
        for offset in range(0, size, MIB):
            await reader.read(offset, MIB)
            kept = blobs.transfers.recent
            # Chunks arrive while this looks.
            with blobs.transfers.lock:
                assert kept._bytes == sum(map(len, kept._kept.values())) <= queued.RECENT_BYTES
                assert blobs.transfers.room_ahead() >= 0
    assert sum(length for _, _, length in source.ranges) < size * 1.1


def test_what_came_stays_until_as_much_came_after_it() -> None:
    # A window that stays full: what is read now came that long ago.
    ahead = WINDOW_BYTES_MAX // CHUNK_BYTES
    recent = Recent(queued.RECENT_BYTES)
    for number in range(1000):
        recent.put(number, bytes(CHUNK_BYTES))
        if number >= ahead:
            assert recent.get(number - ahead) is not None
    assert recent._bytes <= queued.RECENT_BYTES


@in_trio
async def test_closing_fails_who_waits_and_leaves_no_thread(source: Elsewhere) -> None:
    blob = source.add(noise(100, "close"))
    source.gate.clear()
    with blobs_of(source, None) as blobs:

        async def read() -> None:
            with pytest.raises(RemoteUnavailable, match="stopped"):
                await opened(blobs, blob, 100).read(0, 10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.05)
            started = time.monotonic()
            await trio.to_thread.run_sync(blobs.close)
            assert time.monotonic() - started < 3
        with pytest.raises(RemoteUnavailable, match="stopped"):
            await opened(blobs, blob, 100).read(0, 10)
