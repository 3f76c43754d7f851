"""A scripted source of blobs: what it has, what goes wrong, and who asked for what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import xxhash

from oxenfs.errors import IntegrityError, NotFound, RemoteUnavailable
from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobPlace, BlobsMissing
from oxenfs.store.cache_open import open_cache
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.remote_readers import LargeReader, SmallReader

MIB = 1 << 20


class Elsewhere:
    """A source.

    Attributes:
        blobs: what it has, by hash.
        batches: the blobs of each batch asked for.
        ranges: blob, offset, size of each range asked for.
        gate: every answer waits for it.
        failures: raised by the next requests, each once; None lets one pass.
        dead: whether every request fails.
        altered: blobs whose ranges come with a wrong byte, and how often yet.
    """

    host = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.blobs: dict[ObjectHash, bytes] = {}
        self.batches: list[list[ObjectHash]] = []
        self.ranges: list[tuple[ObjectHash, int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception | None] = []
        self.dead = False
        self.altered: dict[ObjectHash, int] = {}
        self.aborted = threading.Event()
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        return len(self.batches) + len(self.ranges)

    @property
    def received_bytes(self) -> int:
        return sum(size for _, _, size in self.ranges)

    def add(self, data: bytes) -> ObjectHash:
        blob = ObjectHash(xxhash.xxh3_128_intdigest(data))
        self.blobs[blob] = data
        return blob

    def batch(
        self, blobs: Sequence[ObjectHash], timeout_s: float | None = None
    ) -> Iterator[list[tuple[ObjectHash, bytes]]]:
        with self._lock:
            self.batches.append(list(blobs))
        self._fail()
        missing = frozenset(blob for blob in blobs if blob not in self.blobs)
        if missing:
            raise BlobsMissing("some are missing", missing)
        for blob in blobs:
            data = self.blobs[blob]
            if xxhash.xxh3_128_intdigest(data) != blob:
                raise IntegrityError("bytes came that do not have their hash")
            yield [(blob, data)]

    def range_into(
        self,
        place: BlobPlace,
        offset: int,
        views: Sequence[memoryview],
        timeout_s: float | None = None,
    ) -> Iterator[int]:
        blob = ObjectHash(int(place.path, 16))
        with self._lock:
            self.ranges.append((blob, offset, sum(map(len, views))))
        self._fail()
        if blob not in self.blobs:
            raise NotFound("no such file")
        data = self.blobs[blob]
        with self._lock:
            alter = self.altered.get(blob, 0) > 0 and offset == 0
            self.altered[blob] = self.altered.get(blob, 0) - alter
        for number, view in enumerate(views):
            view[:] = data[offset : offset + len(view)]
            offset += len(view)
            if alter and not number:
                view[7] ^= 1
            yield number

    def abort(self) -> None:
        self.aborted.set()

    def _fail(self) -> None:
        self.aborted.clear()
        while not self.gate.wait(0.01):
            if self.aborted.is_set():
                raise RemoteUnavailable("the connection broke")
        if self.dead:
            raise RemoteUnavailable("nobody answers")
        with self._lock:
            failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


def place_of(blob: ObjectHash, size: int) -> BlobPlace:
    return BlobPlace(ObjectHash(1), format(blob, "x").encode(), size)


def opened(blobs: RemoteBlobs, blob: ObjectHash, size: int) -> SmallReader | LargeReader:
    return blobs.open(blob, size, lambda: place_of(blob, size))


async def read_all(blobs: RemoteBlobs, blob: ObjectHash, size: int, step: int = MIB) -> bytes:
    reader = opened(blobs, blob, size)
    parts = []
    for offset in range(0, size, step):
        # Kept: the buffer is the next read's.
        view = await reader.read(offset, step)
        parts.append(bytes(view))
    return b"".join(parts)


@contextmanager
def blobs_of(
    source: Elsewhere | None,
    folder: Path | None,
    *,
    host: str = Elsewhere.host,
    limit: int = 256 * MIB,
    timeout_s: float = 5.0,
    verify_full: bool = False,
) -> Iterator[RemoteBlobs]:
    """Give blobs with a cache in `folder` (None: without one), and no thread left behind."""
    cache = None if folder is None else open_cache(folder, limit)
    blobs = RemoteBlobs(source, host, cache, timeout_s=timeout_s, verify_full=verify_full)
    try:
        yield blobs
    finally:
        if source is not None:
            source.gate.set()
        blobs.close()
        if cache is not None:
            cache.close()
        left = [thread for thread in threading.enumerate() if thread.name == "fetch"]
        for thread in left:
            thread.join(5)
        assert not any(thread.is_alive() for thread in left)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something happened in another thread."""
    for _ in range(1000):
        if condition():
            return
        await trio.sleep(0.01)
    pytest.fail("it did not happen within 10 s")
