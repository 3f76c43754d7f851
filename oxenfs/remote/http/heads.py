"""Limits to what stands around the body of an answer.

The standard library reads interim answers (`100 Continue`, `103 Early Hints`) and the trailers of a
chunked body for as long as a server sends them, and a server that sends them fast meets no timeout.
"""

from __future__ import annotations

import http.client

_INTERIM_MAX = 16
TRAILERS_MAX = 100
LINE_BYTES_MAX = 65536


class LimitedResponse(http.client.HTTPResponse):
    """An answer whose head and trailers end, or which is refused."""

    _interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._interim += 1
        if self._interim > _INTERIM_MAX:
            raise http.client.HTTPException(f"more than {_INTERIM_MAX} interim answers")
        found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        return found

    def _read_and_discard_trailer(self) -> None:
        for _ in range(TRAILERS_MAX):
            if self.fp.readline(LINE_BYTES_MAX) in (b"\r\n", b"\n", b""):
                return
        raise http.client.HTTPException(f"more than {TRAILERS_MAX} trailers")
