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
from oxenfs.names import quoted
from oxenfs.remote.archive import Limits, Member, read_groups
from oxenfs.remote.base import BlobPlace
from oxenfs.remote.http.body import Answer
from oxenfs.remote.http.transport import Transport

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
    ) -> Iterator[list[tuple[ObjectHash, bytes]]]:
        """Yield blobs of up to 16 MiB as they arrive, in groups, each with its hash checked.

        Read it to its end: the connection is given up otherwise.

        Raises:
            NotFound: the server lacks one of them; it then sends none.
            IntegrityError: other bytes, or another order, than asked for.
        """
        names = [hash_text(blob) for blob in blobs]
        body = gzip.compress("".join(f"{name}\n" for name in names).encode(), 1)
        limits = Limits(len(blobs), _MEMBER_BYTES_MAX, _RATIO)
        with self._transport.open("QUERY", "/versions", body=body, timeout_s=timeout_s) as answer:
            wanted = iter(zip(blobs, names, strict=True))
            for group in read_groups(answer.pieces(), limits):
                found: list[tuple[ObjectHash, bytes]] = []
                problem = None
                for member in group:
                    blob, name = next(wanted, (None, ""))
                    problem = _problem(member, blob, name)
                    if problem or blob is None:
                        break
                    found.append((blob, member.content))
                if found:
                    # What came before something wrong is right.
                    yield found
                if problem:
                    raise IntegrityError(problem)
            # At the end of the archive: it is known to be whole, and the connection is kept.
            if next(wanted, None) is not None:
                raise IntegrityError("fewer blobs came than were asked for")

    def one(self, blob: ObjectHash) -> bytes:
        """Return a blob of up to 16 MiB, its hash checked; errors as in `batch`."""
        (((_, content),),) = self.batch([blob])
        return content

    def range(self, place: BlobPlace, offset: int, size: int) -> bytes:
        """Return `size` bytes of the file at `place`, unchecked beyond their number."""
        if offset < 0 or size < 0 or offset + size > place.size:
            raise NotFound(f"{quoted(place.path)} ends at {place.size}")
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
            raise NotFound(f"{quoted(place.path)} ends at {place.size}")
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


def _problem(member: Member, blob: ObjectHash | None, name: str) -> str:
    """Return what is wrong with a member that should be `blob`; nothing if it is right."""
    if blob is None:
        return "more blobs came than were asked for"
    if member.name != name:
        match = _NAME.match(member.name)
        if match is None or int(match[1], 16) != blob:
            return f"another blob came than {name}, asked for"
    if xxhash.xxh3_128_intdigest(member.content) != blob:
        return f"bytes came for blob {name} that do not have its hash"
    return ""
