"""Request bodies for handlers that run in threads: as a stream, as JSON, as a form's parts."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio.from_thread
from starlette.requests import ClientDisconnect, Request

from oxenfs.errors import OxenfsError, SourceChanged, UsageError

_STEP_BYTES = 1 << 20
_SHORT_BYTES = 64 << 10
_JSON_BYTES_MAX = 64 << 20
_GZIP = 31


class Body:
    """The body of one request, read once."""

    def __init__(self, request: Request) -> None:
        """Read from `request`, within its task."""
        self._stream: AsyncIterator[bytes] = request.stream()
        self._type = request.headers.get("content-type", "")
        length = request.headers.get("content-length", "")
        self._is_short = length.isdecimal() and int(length) <= _SHORT_BYTES
        self._first: bytes | None = None

    async def begin(self) -> None:
        """Take a short body in, on the loop: for the handler's thread it costs nothing then."""
        if self._is_short:
            self._first = await self._more()

    @property
    def content_type(self) -> str:
        """The content type as it was sent; empty if none was."""
        return self._type

    def pieces(self) -> Iterator[bytes]:
        """Yield the body, about 1 MiB at a time: each costs a trip to the loop and back."""
        if self._first is not None:
            first, self._first = self._first, b""
            if first:
                yield first
            return
        while piece := anyio.from_thread.run(self._more):
            yield piece

    def whole(self, limit: int = _JSON_BYTES_MAX) -> bytes:
        """Return all of it; raise `UsageError` if it is more than `limit` bytes."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > limit:
                raise UsageError(f"a request body of more than {limit} bytes")
        return bytes(body)

    def json(self) -> Any:
        """Return the body as JSON; raise `UsageError`."""
        try:
            return json.loads(self.whole())
        except (ValueError, RecursionError) as exc:
            raise UsageError("Invalid request body") from exc

    def fields(self) -> dict[str, Any]:
        """Return the body as a JSON object; raise `UsageError`."""
        value = self.json()
        if not isinstance(value, dict):
            raise UsageError("Invalid request body")
        return value

    async def _more(self) -> bytes:
        found = bytearray()
        try:
            async for piece in self._stream:
                found += piece
                if len(found) >= _STEP_BYTES:
                    break
        except ClientDisconnect as exc:
            raise SourceChanged("the client went away in the middle of its request") from exc
        return bytes(found)


def text_field(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    """Return a field that must be text; raise `UsageError`."""
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise UsageError(f"the request needs {name!r}")
    return value


class TooLarge(OxenfsError):
    """More came out of gzip than may."""


def inflated(pieces: Iterator[bytes], limit: int) -> bytes:
    """Return gzip's content; raise `TooLarge` beyond `limit` bytes, `UsageError` if it is none."""
    inflate = zlib.decompressobj(_GZIP)
    out = bytearray()
    try:
        for piece in pieces:
            while piece:
                out += inflate.decompress(piece, limit + 1 - len(out))
                if len(out) > limit:
                    raise TooLarge(f"more than {limit} bytes in gzip")
                piece = inflate.unconsumed_tail
                if inflate.eof:
                    piece = b""
        out += inflate.flush()
    except zlib.error as exc:
        raise UsageError(f"not gzip: {exc}") from exc
    if not inflate.eof:
        raise UsageError("gzip that is cut off")
    if len(out) > limit:
        raise TooLarge(f"more than {limit} bytes in gzip")
    return bytes(out)
