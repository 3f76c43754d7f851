"""Open files of a remote: what is read of them, and what is read ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oxenfs.model import CHUNK_BYTES, ObjectHash
from oxenfs.remote.base import BlobPlace
from oxenfs.store.columns import Listing
from oxenfs.store.siblings import Sibling
from oxenfs.store.window import PART_BYTES_MAX, Window

if TYPE_CHECKING:
    from oxenfs.store.remote_blobs import RemoteBlobs

Tags = Callable[[int], int]
"""Gives what somebody else calls the file in a row; never 0."""


class SmallReader:
    """Reads a blob of up to 1 MiB.

    Attributes:
        tags: see `SmallAhead.tell`; set by who opened it.
    """

    __slots__ = ("_blob", "_blobs", "_sibling", "_size", "keep_cache", "tags")

    def __init__(
        self,
        blobs: RemoteBlobs,
        blob: ObjectHash,
        size: int,
        sibling: Callable[[], Sibling] | None,
    ) -> None:
        """Read `blob` of `size` bytes."""
        self._blobs = blobs
        self._blob = blob
        self._size = size
        self._sibling = None if sibling is None else sibling()
        self.tags: Tags | None = None
        self.keep_cache = True

    @property
    def listing(self) -> Listing | None:
        """The folder of the file, as long as nothing was read."""
        return None if self._sibling is None else self._sibling.listing

    async def read(self, offset: int, size: int) -> memoryview:
        """Return the bytes from `offset` on; see `oxenfs.views.base.Reader`."""
        end = min(offset + size, self._size)
        if offset >= end:
            return memoryview(b"")
        sibling, self._sibling = self._sibling, None
        whole = await self._blobs.small(self._blob, self._size, sibling, self.tags)
        view = whole[offset:end]
        self._blobs.counters.bytes_served += len(view)
        return view

    def close(self) -> None:
        """Note what was read without us."""
        if self._sibling is not None and self.tags is not None:
            self._blobs.ahead.note_closed(self._sibling, self.tags)
            self._sibling = None


class LargeReader:
    """Reads a blob of more than 1 MiB.

    Attributes:
        keep_cache: whether pages that the kernel has of the file may stay.
    """

    __slots__ = ("_ahead", "_blob", "_blobs", "_checked", "_place", "_window", "keep_cache")

    def __init__(self, blobs: RemoteBlobs, blob: ObjectHash, place: BlobPlace) -> None:
        """Read `blob`, which is at `place`."""
        self._blobs = blobs
        self._blob = blob
        self._place = place
        self._window = Window()
        self._ahead = 0
        self._checked = not blobs.verify_full
        self.keep_cache = not blobs.wholes.strikes(blob, place.size)

    async def read(self, offset: int, size: int) -> memoryview:
        """Return the bytes from `offset` on; see `oxenfs.views.base.Reader`."""
        end = min(offset + size, self._place.size)
        if offset >= end:
            return memoryview(b"")
        if not self._checked:
            await self._blobs.whole(self._blob, self._place)
            self._checked = True
        else:
            self._read_ahead(end, self._window.note(offset, end))
        view = await self._blobs.range(self._blob, self._place, offset, end)
        self._blobs.counters.bytes_served += len(view)
        return view

    def close(self) -> None:
        """Nothing to let go of."""

    def _read_ahead(self, end: int, target: int) -> None:
        if target <= end:
            # A new run begins: what was fetched ahead of the last one says nothing about it.
            self._ahead = 0
            return
        part_bytes = self._window.part_bytes
        first = max(self._ahead, -(-end // CHUNK_BYTES))
        stop = min(-(-target // CHUNK_BYTES), -(-self._place.size // CHUNK_BYTES))
        is_last = stop * CHUNK_BYTES >= self._place.size
        wanted = (stop - first) * CHUNK_BYTES
        if wanted <= 0 or (wanted < min(part_bytes, PART_BYTES_MAX) and not is_last):
            return
        room = self._blobs.transfers.room_ahead() if self._blobs.transfers is not None else 0
        stop = min(stop, first + room // CHUNK_BYTES)
        if stop > first:
            self._blobs.range_ahead(self._blob, self._place, first, stop, part_bytes)
            self._ahead = stop
