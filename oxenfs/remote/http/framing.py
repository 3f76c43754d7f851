"""Bodies in frames (`Transfer-Encoding: chunked`), taken apart many frames at a time.

An oxen-server sends frames of 4 KiB, so a batch of small files is thousands of them. The standard
library makes three calls into the connection for each: 8 us, as much as everything else that a
small file takes in a transfer. Source: RFC 9112, 7.1.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

from oxenfs.remote.http.heads import LINE_BYTES_MAX, TRAILERS_MAX

# Not `int` alone: it takes signs, underscores and `0x`, too.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\Z", re.DOTALL)


class Frames:
    """Takes the content out of a body in frames.

    Attributes:
        ended: whether its end has come.
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self.ended = False
        self._waiting = b""
        self._left = 0
        self._behind_content = self._in_trailers = False
        self._trailers = 0

    def content(self, data: bytes) -> bytes:
        """Return the content in what came next, however many frames that is.

        Raises:
            HTTPException: they are no frames, or something follows the last one.
        """
        data = self._waiting + data if self._waiting else data
        at, parts = 0, []
        while True:
            if self._left:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                self._behind_content = True
            end = data.find(b"\n", at)
            if self._left or end < 0 or self.ended:
                break
            self._line(data[at:end])
            at = end + 1
        self._waiting = data[at:]
        if len(self._waiting) > (0 if self.ended else LINE_BYTES_MAX):
            raise http.client.HTTPException("a body in frames goes on where it should not")
        return b"".join(parts)

    def _line(self, line: bytes) -> None:
        if self._behind_content:
            self._behind_content = False
            if line not in (b"\r", b""):
                raise http.client.HTTPException("a frame is longer than it says")
            return
        if self._in_trailers:
            self._trailers += 1
            if self._trailers > TRAILERS_MAX:
                raise http.client.HTTPException(f"more than {TRAILERS_MAX} trailers")
            self.ended = line in (b"\r", b"")
            return
        match = _SIZE.match(line)
        if match is None:
            raise http.client.HTTPException(f"a frame of {line[:40]!r} bytes")
        self._left = int(match[1], 16)
        self._in_trailers = not self._left


def contents(response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """Yield the content of a body in frames as it arrives; the response is closed at its end.

    Args:
        response: of which nothing was read but the head.
        most: how many bytes to take from the connection at a time.

    Raises:
        HTTPException: its end is missing, or as of `Frames.content`.
        OSError: of the connection.
    """
    frames = Frames()
    while not frames.ended:
        data = response.fp.read1(most)
        if not data:
            raise http.client.IncompleteRead(b"")
        content = frames.content(data)
        if content:
            yield content
    response.close()
