"""Blobs over HTTP: batches by hash (`QUERY versions`), ranges by path (`chunk`)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from urllib.parse import quote

import xxhash

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.archive import Limits, read_members
from oxenfs.remote.base import BlobPlace
from oxenfs.remote.http.transport import Answer, Transport

SMALL_BYTES_MAX = 1 << 20
"""Blobs up to this size are fetched whole and by hash, so that they can be checked at once."""

_MEMBER_BYTES_MAX = 16 << 20
# What gzip reaches at the most: files of zeros are as welcome as others, and their number is known.
_RATIO = 1100
_NAME = re.compile(r"(?:\./)?([0-9a-f]{1,32})\Z")


class HttpBlobs:
    """Reads blobs: a `BlobSource`. Safe to use from several threads.

    Attributes:
        host: `scheme://host[:port]`.
    """

    def __init__(self, transport: Transport) -> None:
        """Ask the repository that `transport` speaks to."""
        self._transport = transport
        self.host = transport.origin

    @property
    def requests(self) -> int:
        """How many requests were sent, for trees and commits too."""
        return self._transport.requests

    @property
    def received_bytes(self) -> int:
        """How many bytes came, headers included."""
        return self._transport.received_bytes

    def abort(self) -> None:
        """Break all connections that are in use."""
        self._transport.abort()

    def batch(
        self, blobs: Sequence[ObjectHash], timeout_s: float | None = None
    ) -> Iterator[tuple[ObjectHash, bytes]]:
        """Yield blobs of up to 16 MiB as they arrive, each with its hash checked.

        Read it to its end: the connection is given up otherwise.

        Raises:
            NotFound: the server lacks one of them; it then sends none.
            IntegrityError: other bytes, or another order, than asked for.
        """
        lines = "".join(f"{hash_text(blob)}\n" for blob in blobs)
        body = gzip.compress(lines.encode(), 1)
        limits = Limits(len(blobs), _MEMBER_BYTES_MAX, _RATIO)
        with self._transport.open("QUERY", "/versions", body=body, timeout_s=timeout_s) as answer:
            members = read_members(answer.pieces(), limits)
            for blob in blobs:
                member = next(members, None)
                name = None if member is None else _NAME.match(member.name)
                if member is None or name is None or int(name[1], 16) != blob:
                    raise IntegrityError(f"another blob came than {hash_text(blob)}, asked for")
                if xxhash.xxh3_128_intdigest(member.content) != blob:
                    raise IntegrityError(
                        f"bytes came for blob {hash_text(blob)} that do not have its hash"
                    )
                yield blob, member.content
            # To the end, by which the archive is known to be whole and the connection is kept.
            if next(members, None) is not None:
                raise IntegrityError("more blobs came than were asked for")

    def one(self, blob: ObjectHash) -> bytes:
        """Return a blob of up to 16 MiB, its hash checked; errors as in `batch`."""
        ((_, content),) = self.batch([blob])
        return content

    def range(self, place: BlobPlace, offset: int, size: int) -> bytes:
        """Return `size` bytes of the file at `place`, unchecked beyond their number."""
        if offset < 0 or size < 0 or offset + size > place.size:
            raise NotFound(f"{place.path!r} ends at {place.size}")
        if not size:
            return b""
        with self._chunk(place, offset, size, None) as answer:
            return answer.read_exactly(size)

    def range_into(
        self,
        place: BlobPlace,
        offset: int,
        views: Sequence[memoryview],
        timeout_s: float | None = None,
    ) -> Iterator[int]:
        """Fill `views` from `offset` on, and yield each one's number; see `BlobSource`."""
        size = sum(map(len, views))
        if not size or offset < 0 or offset + size > place.size:
            raise NotFound(f"{place.path!r} ends at {place.size}")
        with self._chunk(place, offset, size, timeout_s) as answer:
            for number, view in enumerate(views):
                answer.fill(view)
                yield number
            answer.end()

    def _chunk(
        self, place: BlobPlace, offset: int, size: int, timeout_s: float | None
    ) -> AbstractContextManager[Answer]:
        path = "/".join(quote(part, safe="") for part in place.path.split(b"/"))
        params = {"chunk_start": offset, "chunk_size": size}
        url = f"/chunk/{hash_text(place.commit)}/{path}"
        return self._transport.open("GET", url, params=params, pages=True, timeout_s=timeout_s)
