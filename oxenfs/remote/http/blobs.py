"""Blobs over HTTP: batches by hash (`QUERY versions`), ranges by path (`chunk`)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import xxhash

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.archive import Limits, read_members
from oxenfs.remote.base import BlobPlace
from oxenfs.remote.http.transport import Transport

SMALL_BYTES_MAX = 1 << 20
"""Blobs up to this size are fetched whole and by hash, so that they can be checked at once."""

_LIMITS = Limits(member_bytes=16 << 20)


class HttpBlobs:
    """Reads blobs. Safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        """Ask the repository that `transport` speaks to."""
        self._transport = transport

    def batch(self, blobs: Sequence[ObjectHash]) -> Iterator[tuple[ObjectHash, bytes]]:
        """Yield blobs of up to 16 MiB as they arrive, each with its hash checked.

        Raises:
            NotFound: the server lacks one of them; it then sends none.
            IntegrityError: other bytes, or another order, than asked for.
        """
        lines = "".join(f"{hash_text(blob)}\n" for blob in blobs)
        body = gzip.compress(lines.encode(), 1)
        with self._transport.open("QUERY", "/versions", body=body) as answer:
            members = read_members(answer.pieces(), _LIMITS)
            for blob in blobs:
                member = next(members, None)
                if member is None or int(member.name.lstrip("./") or "0", 16) != blob:
                    raise IntegrityError(f"{self._transport.base} sent another blob than asked for")
                if xxhash.xxh3_128_intdigest(member.content) != blob:
                    raise IntegrityError(
                        f"{self._transport.base} sent bytes for blob {hash_text(blob)} "
                        "that do not have its hash"
                    )
                yield blob, member.content

    def range(self, place: BlobPlace, offset: int, size: int) -> bytes:
        """Return `size` bytes of the file at `place`, unchecked beyond their number."""
        if offset + size > place.size:
            raise NotFound(f"{place.path!r} ends at {place.size}")
        if not size:
            return b""
        path = "/".join(quote(part, safe="") for part in place.path.split(b"/"))
        params = {"chunk_start": offset, "chunk_size": size}
        url = f"/chunk/{hash_text(place.commit)}/{path}"
        with self._transport.open("GET", url, params=params) as answer:
            return answer.read_exactly(size)

    def size(self, blob: ObjectHash) -> int:
        """Return the size of a blob; raise `NotFound`."""
        answer = self._transport.json("GET", f"/versions/{hash_text(blob)}/metadata")
        version = answer.get("version")
        size = version.get("size") if isinstance(version, dict) else None
        if not isinstance(size, int) or size < 0:
            raise IntegrityError(f"{self._transport.base} does not say how large a blob is")
        return size
