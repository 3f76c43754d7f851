"""Forms of any number of parts of any size, one part at a time, in flat memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from oxenfs.errors import UsageError
from oxenfs.server.bodies import Body

_BOUNDARY = re.compile(
    r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.I
)
# A quoted value in which `\"` and `\\` stand for themselves, as the official client writes names.
_PARAMETER = re.compile(r';\s*([A-Za-z*]+)=(?:"((?:\\["\\]|[^"])*)"|([^\s;]*))')
_TEXT_BYTES_MAX = 1 << 20

_BEGIN, _DATA, _END = range(3)


@dataclass
class Part:
    """One part; read it before the next one is asked for.

    Attributes:
        name: of the form's field.
        filename: None for fields that are no files.
    """

    name: str
    filename: str | None
    content_type: str
    _events: _Events = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """Yield the content as it arrives."""
        while (data := self._events.data()) is not None:
            yield data

    def text(self) -> str:
        """Return the content of a text field; raise `UsageError`."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > _TEXT_BYTES_MAX:
                raise UsageError(f"the field {self.name!r} is too long")
        try:
            return found.decode()
        except UnicodeDecodeError as exc:
            raise UsageError(f"the field {self.name!r} is not UTF-8") from exc


def parts_of(body: Body) -> Iterator[Part]:
    """Yield the parts of a form; what was not read of one is passed over.

    Raises:
        UsageError: the body is no form, or ends within one.
    """
    match = _BOUNDARY.match(body.content_type)
    if match is None:
        raise UsageError("the request is not multipart/form-data")
    events = _Events(body.pieces(), match[1] or match[2])
    while (headers := events.begin()) is not None:
        disposition = headers.get("content-disposition", "")
        values = dict(_parameters(disposition))
        yield Part(
            values.get("name", ""),
            values.get("filename"),
            headers.get("content-type", ""),
            events,
        )


class _Events:
    """What the parser finds, in order; more of the body is read when it is needed."""

    def __init__(self, pieces: Iterator[bytes], boundary: str) -> None:
        self._pieces = pieces
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._headers: dict[str, str] = {}
        self._done: deque[dict[str, str]] = deque()
        self._name = b""
        self._value = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_size=16 * 1024,
        )

    def begin(self) -> dict[str, str] | None:
        """Go to the next part and return its headers, None after the last one."""
        while True:
            while self._waiting:
                if self._waiting.popleft()[0] == _BEGIN:
                    return self._done.popleft()
            if not self._more():
                return None

    def data(self) -> bytes | None:
        """Return more of the part, None at its end."""
        while True:
            if self._waiting:
                kind, data = self._waiting[0]
                if kind != _DATA:
                    return None
                self._waiting.popleft()
                return data
            if not self._more():
                raise UsageError("the form ends within a part")

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            if not self._ended:
                raise UsageError("the form is cut off")
            return False
        try:
            self._parser.write(piece)
        except (FormParserError, UnicodeDecodeError) as exc:
            raise UsageError(f"the form cannot be read: {exc}") from exc
        return True

    def _part_begin(self) -> None:
        self._headers = {}
        self._name = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode()
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        self._done.append(self._headers)
        self._waiting.append((_BEGIN, b""))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._waiting.append((_DATA, data[start:end]))

    def _part_end(self) -> None:
        self._waiting.append((_END, b""))

    def _end(self) -> None:
        self._ended = True


def _parameters(header: str) -> Iterator[tuple[str, str]]:
    for name, quoted, bare in _PARAMETER.findall(header):
        yield name.lower(), re.sub(r'\\(["\\])', r"\1", quoted) if quoted else bare
