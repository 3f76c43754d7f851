"""Two processes with one cache folder: what one of them is fetching, the other one waits for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from in_trio import in_trio
from repositories import noise

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.store.cache_open import open_cache
from oxenfs.store.remote_blobs import RemoteBlobs

from .elsewhere import MIB, Elsewhere, blobs_of, opened, place_of, read_all, until

SMALL = noise(9000, "small")
LARGE = noise(3 * MIB + 5, "large")

# Claims the objects that it is told of, puts those on disk that it is told of, by hash and size.
OTHER = """
import sys
from pathlib import Path
from oxenfs.store.cache_open import open_cache
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.claims import Claims

folder, host = sys.argv[1:]
cache = open_cache(Path(folder))
here = RemoteBlobs(None, host, cache).here
claims = Claims(cache, here.object_key)
for line in sys.stdin:
    word, blob, size, number, *data = line.split()
    key = int(blob), int(size), int(number)
    if word == "claim":
        assert claims.claim(key)
    elif word == "put":
        here.keep([(key, bytes.fromhex(data[0]))])
    elif word == "release":
        claims.release([key])
    print("done", flush=True)
"""


class Other:
    """Another process that uses the cache."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(folder), Elsewhere.host]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, word: str, blob: ObjectHash, size: int, number: int, data: bytes = b"") -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(word, blob, size, number, data.hex(), file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def other(folder: Path) -> Iterator[Other]:
    other = Other(folder)
    yield other
    other.kill()


def watched(blobs: RemoteBlobs) -> bool:
    assert blobs.transfers is not None
    return blobs.transfers._others.is_waited_for


@in_trio
async def test_what_another_process_fetches_is_read_from_disk(folder: Path, other: Other) -> None:
    source = Elsewhere()
    small, large = source.add(SMALL), source.add(LARGE)
    count = -(-len(LARGE) // CHUNK_BYTES)
    other.tell("claim", small, len(SMALL), -1)
    for number in range(2, 5):
        other.tell("claim", large, len(LARGE), number)
    read: dict[str, bytes] = {}
    with blobs_of(source, folder, timeout_s=60) as blobs:

        async def reading(name: str, blob: ObjectHash, size: int) -> None:
            read[name] = await read_all(blobs, blob, size)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading, "small", small, len(SMALL))
            nursery.start_soon(reading, "large", large, len(LARGE))
            await until(lambda: watched(blobs))
            await trio.sleep(0.1)
            assert read == {}
            other.tell("put", small, len(SMALL), -1, SMALL)
            other.tell("release", small, len(SMALL), -1)
            for number in range(2, 5):
                data = LARGE[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
                other.tell("put", large, len(LARGE), number, data)
        assert read == {"small": SMALL, "large": LARGE}
        assert source.batches == []
        asked = {
            offset // CHUNK_BYTES + at
            for _, offset, size in source.ranges
            for at in range(-(-size // CHUNK_BYTES))
        }
        assert asked == set(range(count)) - {2, 3, 4}
        await until(lambda: blobs.transfers is not None and not blobs.transfers.in_flight)


@pytest.mark.parametrize("ending", ["kill", "release", "never"])
@in_trio
async def test_what_the_other_process_does_not_bring_is_fetched(
    folder: Path, other: Other, ending: str
) -> None:
    source = Elsewhere()
    small, large = source.add(SMALL), source.add(LARGE)
    other.tell("claim", small, len(SMALL), -1)
    other.tell("claim", large, len(LARGE), 1)
    with blobs_of(source, folder, timeout_s=60 if ending != "never" else 6) as blobs:
        read: list[bytes] = []

        async def reading() -> None:
            read.append(await read_all(blobs, small, len(SMALL)))
            read.append(bytes(await opened(blobs, large, len(LARGE)).read(CHUNK_BYTES, 100)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading)
            await until(lambda: watched(blobs))
            assert source.requests == 0
            if ending == "kill":
                other.kill()
            elif ending == "release":
                other.tell("release", small, len(SMALL), -1)
                other.tell("release", large, len(LARGE), 1)
        assert read == [SMALL, LARGE[CHUNK_BYTES : CHUNK_BYTES + 100]]


@in_trio
async def test_a_claim_is_given_back_when_a_fetch_fails(folder: Path, other: Other) -> None:
    source = Elsewhere()
    small, large = source.add(SMALL), source.add(LARGE)
    source.dead = True
    with blobs_of(source, folder, timeout_s=0.5) as blobs:
        for blob, size in ((small, len(SMALL)), (large, len(LARGE))):
            with pytest.raises(RemoteUnavailable):
                await opened(blobs, blob, size).read(0, 100)
        # Or the other one could not.
        await until(lambda: blobs.transfers is not None and not blobs.transfers.in_flight)
        await trio.sleep(0.2)
        other.tell("claim", small, len(SMALL), -1)
        other.tell("claim", large, len(LARGE), 0)


@in_trio
async def test_who_waits_for_another_process_ends_with_the_mount(
    folder: Path, other: Other
) -> None:
    source = Elsewhere()
    small = source.add(SMALL)
    other.tell("claim", small, len(SMALL), -1)
    with blobs_of(source, folder, timeout_s=60) as blobs:
        async with trio.open_nursery() as nursery:

            async def reading() -> None:
                with pytest.raises(RemoteUnavailable):
                    await read_all(blobs, small, len(SMALL))

            nursery.start_soon(reading)
            await until(lambda: watched(blobs))
            started = time.monotonic()
            await trio.to_thread.run_sync(blobs.close)
            assert time.monotonic() - started < 3
        assert blobs.transfers is not None
        assert blobs.transfers.in_flight == 0
        assert not watched(blobs)


@in_trio
async def test_nothing_is_claimed_where_nobody_else_is(folder: Path) -> None:
    source = Elsewhere()
    small, large = source.add(SMALL), source.add(LARGE)
    with blobs_of(source, folder) as blobs:
        assert await read_all(blobs, small, len(SMALL)) == SMALL
        assert await read_all(blobs, large, len(LARGE)) == LARGE
        await blobs.fetch_all(large, place_of(large, len(LARGE)))
        assert not (folder / "blobs" / "claims").exists()
    open_cache(folder).close()
