"""What goes back: the server's JSON envelopes, errors as codes, streams of bytes.

The official client sends a request again after any 5xx, so whatever would fail again is a 4xx.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from oxenfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    IntegrityError,
    IsADirectory,
    NotADirectory,
    NotFound,
    NothingToPublish,
    OxenfsError,
    SourceChanged,
    Unsupported,
    UsageError,
)

log = logging.getLogger(__name__)

OXEN_VERSION = "0.65.2"
"""The server version whose API this is; clients look at it."""

_WHOLE_BYTES_MAX = 2 << 20
_FOUND, _CREATED, _UPDATED, _DELETED = (
    f"resource_{what}" for what in ("found", "created", "updated", "deleted")
)


class Refusal(OxenfsError):
    """An answer that is an error, made where it is known best.

    Attributes:
        code: of HTTP.
        kind: the `type` in the body.
        more: further fields of the error object.
    """

    def __init__(self, code: int, kind: str, title: str, detail: str = "", **more: Any) -> None:
        """Refuse with `code`."""
        super().__init__(detail or title)
        self.code = code
        self.kind = kind
        self.title = title
        self.detail = detail
        self.more = more


def found(**fields: Any) -> Response:
    """Answer 200 with `fields`."""
    return envelope(_FOUND, **fields)


def created(**fields: Any) -> Response:
    """Answer that something was made."""
    return envelope(_CREATED, **fields)


def updated(**fields: Any) -> Response:
    """Answer that something was changed."""
    return envelope(_UPDATED, **fields)


def deleted(**fields: Any) -> Response:
    """Answer that something is gone."""
    return envelope(_DELETED, **fields)


def envelope(message: str, *, status: str = "success", code: int = 200, **fields: Any) -> Response:
    """Return the JSON that every answer is in."""
    body = {"status": status, "status_message": message, "oxen_version": OXEN_VERSION, **fields}
    return JSONResponse(body, code)


def plain_error(code: int, message: str, description: str = "") -> Response:
    """Return an error without an error object."""
    more = {"status_description": description} if description else {}
    return envelope(message, status="error", code=code, **more)


def error(exc: OxenfsError) -> Response:
    """Return the answer that an exception stands for."""
    if isinstance(exc, Refusal):
        inner = {"type": exc.kind, "title": exc.title, **exc.more}
        if exc.detail:
            inner["detail"] = exc.detail
        code = exc.code
        message = "resource_not_found" if code == 404 else exc.kind
        return JSONResponse({"status": "error", "status_message": message, "error": inner}, code)
    if isinstance(exc, Busy):
        answer = plain_error(429, "too_many_requests", str(exc))
        answer.headers["retry-after"] = str(round(exc.retry_after_s))
        return answer
    if isinstance(exc, NothingToPublish):
        return plain_error(422, "NoChanges")
    if isinstance(exc, Conflict):
        return error(Refusal(409, "conflict", "Conflict", str(exc)))
    if isinstance(exc, NotFound):
        return plain_error(404, "resource_not_found", str(exc))
    if isinstance(exc, IsADirectory | NotADirectory):
        return error(Refusal(404, "resource_not_found", "Resource not found", str(exc)))
    if isinstance(exc, UsageError | Unsupported | SourceChanged):
        return error(Refusal(400, "bad_request", "Bad Request", str(exc)))
    if isinstance(exc, IntegrityError):
        # What is damaged here stays so however often it is asked for.
        log.error("%s", exc)
        return error(Refusal(404, "resource_damaged", "Damaged on the server", str(exc)))
    if isinstance(exc, AccessDenied):
        return plain_error(403, "access_denied", str(exc))
    log.error("%s", exc)
    return error(Refusal(500, "internal_server_error", str(exc)))


def page(call_page: int, page_size: int, total: int) -> dict[str, int]:
    """Return the four fields of a paginated answer."""
    return {
        "page_size": page_size,
        "page_number": call_page,
        "total_pages": max(-(-total // page_size), 1),
        "total_entries": total,
    }


def streamed(
    pieces: Iterable[bytes],
    media_type: str | None = None,
    headers: dict[str, str] | None = None,
    length: int | None = None,
) -> Response:
    """Answer with bytes as they are made; what is up to 2 MiB goes in one piece with the head.

    Called in a thread: the first pieces are made here, so that what fails at once fails with a
    code. A later failure cuts the answer off.

    Args:
        pieces: made in threads.
        media_type: None: no content type.
        headers: to add.
        length: of everything, where it is known.
    """
    source = iter(pieces)
    first: list[bytes] = []
    size = 0
    for piece in source:
        first.append(piece)
        size += len(piece)
        if size > _WHOLE_BYTES_MAX:
            break
    else:
        return Response(b"".join(first), media_type=media_type, headers=headers)
    more = dict(headers or {})
    if length is not None:
        more["content-length"] = str(length)
    return StreamingResponse(chain(first, _told(source)), media_type=media_type, headers=more)


def _told(source: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from source
    except OxenfsError as exc:
        log.error("an answer is cut off: %s", exc)
        raise
