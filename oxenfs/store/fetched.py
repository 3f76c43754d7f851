"""Blobs of a remote that is elsewhere: fetched in pieces as they are read, kept in memory.

A blob up to 1 MiB is fetched whole and by hash, and checked before its first byte is served. Of a
larger one, pieces of 1 MiB are fetched by range: their number of bytes is checked, their contents
cannot be, as servers give a hash of the whole only. Each piece is asked for once, however many
readers wait for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import trio

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobPlace, Remote

PIECE_BYTES = 1 << 20
KEPT_BYTES = 64 << 20
_THREADS = 16

# The size is part of it: two files may claim one hash, and only one of them be right.
_Key = tuple[ObjectHash, int, int]


class _Flight:
    """One fetch, and who waits for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.data: bytes | None = None
        self.error: Exception | None = None


class FetchedBlobs:
    """All blobs of one remote. Used from one trio loop."""

    def __init__(self, remote: Remote) -> None:
        """Fetch from `remote`."""
        self._remote = remote
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._flights: dict[_Key, _Flight] = {}
        self._limiter = trio.CapacityLimiter(_THREADS)

    def open(self, blob: ObjectHash, size: int, place: Callable[[], BlobPlace]) -> FetchedReader:
        """Return a reader of `blob`; nothing is fetched before it reads."""
        return FetchedReader(self, blob, size, place())

    def close(self) -> None:
        """Drop what is kept."""
        self._kept.clear()
        self._kept_bytes = 0

    async def piece(self, blob: ObjectHash, number: int, place: BlobPlace) -> bytes:
        """Return one piece of a blob.

        Cancelling one who waits leaves the fetch to the others; if it was the one who fetches,
        another one begins again.

        Raises:
            RemoteUnavailable: no answer within the remote's deadline.
            IntegrityError: not the bytes of the blob.
        """
        key = (blob, number, place.size)
        while True:
            data = self._kept.get(key)
            if data is not None:
                self._kept.move_to_end(key)
                return data
            flight = self._flights.get(key)
            if flight is None:
                return await self._fetch(key, place)
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            if flight.data is not None:
                return flight.data

    async def _fetch(self, key: _Key, place: BlobPlace) -> bytes:
        flight = self._flights[key] = _Flight()
        blob, number, _ = key
        offset = number * PIECE_BYTES
        size = min(PIECE_BYTES, place.size - offset)
        try:
            # Abandoned when the mount ends: the thread has a deadline of its own.
            flight.data = await trio.to_thread.run_sync(
                self._remote.read,
                blob,
                offset,
                size,
                place,
                limiter=self._limiter,
                abandon_on_cancel=True,
            )
            self._keep(key, flight.data)
            return flight.data
        except NotFound as exc:
            # Not `NotFound`: the file is there, its bytes are lost.
            flight.error = IntegrityError(str(exc))
            raise flight.error from exc
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            del self._flights[key]
            flight.done.set()

    def _keep(self, key: _Key, data: bytes) -> None:
        self._kept[key] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])


class FetchedReader:
    """Reads one blob."""

    def __init__(self, blobs: FetchedBlobs, blob: ObjectHash, size: int, place: BlobPlace) -> None:
        """Read `blob` of `size` bytes, which is at `place`."""
        self._blobs = blobs
        self._blob = blob
        self._size = size
        self._place = place

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return the bytes from `offset` on; see `oxenfs.views.base.Reader`."""
        end = min(offset + size, self._size)
        if offset >= end:
            return b""
        parts = []
        for number in range(offset // PIECE_BYTES, (end - 1) // PIECE_BYTES + 1):
            start = number * PIECE_BYTES
            piece = memoryview(await self._blobs.piece(self._blob, number, self._place))
            parts.append(piece[max(offset - start, 0) : end - start])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Nothing to let go of."""
