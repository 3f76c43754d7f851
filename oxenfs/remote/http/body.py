"""The body of an answer, read as it comes: in pieces, into memory of the caller, or as a whole.

`requests` reads `.content` in 10 KiB pieces, so bodies are always read from the raw stream.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import urllib3

from oxenfs.errors import IntegrityError, OxenfsError
from oxenfs.remote.http import failures
from oxenfs.remote.http.framing import contents

if TYPE_CHECKING:
    import requests

# Below what the allocator asks the kernel for: new pages for each piece cost more than its bytes.
_PIECE_BYTES = 64 << 10
_BROKEN = (http.client.HTTPException, urllib3.exceptions.HTTPError, OSError)


class Answer:
    """The body of a good answer, to be read once."""

    def __init__(
        self, response: requests.Response, host: str, where: str, timeout_s: float
    ) -> None:
        """Read the body of `response`; `host`, `where` and `timeout_s` are for messages."""
        self._raw = response.raw
        self._host = host
        self._where = where
        self._timeout_s = timeout_s

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives; raise `RemoteUnavailable` if it stops or is cut off."""
        original: Any = self._raw._original_response
        try:
            if original.chunked:
                yield from contents(original, _PIECE_BYTES)
            else:
                while piece := self._raw.read1(_PIECE_BYTES):
                    yield piece
        except (*_BROKEN, ValueError) as exc:
            raise self._failure(exc) from exc

    def fill(self, view: memoryview) -> None:
        """Fill `view` with the next bytes of the body.

        Without a copy on the way: from the connection into `view`.

        Raises:
            IntegrityError: the body ends before.
            RemoteUnavailable: it stops, or is cut off.
        """
        at = 0
        while at < len(view):
            got = self._readinto(view[at:])
            if not got:
                raise IntegrityError(f"{at} bytes instead of {len(view)}")
            at += got

    def end(self) -> None:
        """Raise `IntegrityError` if there is more of the body, after `fill`."""
        if self._readinto(memoryview(bytearray(1))):
            raise IntegrityError("more bytes came than were asked for")

    def _readinto(self, view: memoryview) -> int:
        original: Any = self._raw._original_response
        try:
            got: int = original.readinto(view)
            if not got and original.length:
                raise http.client.IncompleteRead(b"", original.length)
            return got
        except (*_BROKEN, ValueError) as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: Exception) -> OxenfsError:
        if isinstance(exc, _BROKEN):
            return failures.no_answer(exc, self._host, self._where, self._timeout_s)
        # A closed file: somebody ended the transport.
        return failures.no_answer(OSError(str(exc)), self._host, self._where, 0)

    def read(self, limit: int) -> bytes:
        """Return the whole body; raise `IntegrityError` if it has more than `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > limit:
                raise IntegrityError(f"an answer of more than {limit} bytes")
            parts.append(piece)
        return b"".join(parts)

    def read_exactly(self, size: int) -> bytes:
        """Return the body, which must have `size` bytes; raise `IntegrityError`."""
        data = self.read(size)
        if len(data) != size:
            raise IntegrityError(f"{len(data)} bytes instead of {size}")
        return data
