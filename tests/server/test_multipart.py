"""Forms, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oxenfs.errors import UsageError
from oxenfs.server.bodies import Body
from oxenfs.server.multipart import parts_of

NAMES = b'name="file[]"; filename="d/we \\"ird\\" \\\\ %41;x=1.txt"'
FORM = (
    b"--b\r\nContent-Disposition: form-data; " + NAMES + b"\r\n"
    b"Content-Type: application/gzip\r\n\r\nfirst\r\n--not the end\r\n"
    b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\n\xc3\xbcn\xc3\xaf\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="\xf0\x9f\x90\x82"\r\n\r\n\r\n'
    b"--b--\r\n"
)


class Given(Body):
    def __init__(
        self, data: bytes, step: int, kind: str = "multipart/form-data; boundary=b"
    ) -> None:
        self._type = kind
        self._data = data
        self._step = step

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, len(self._data), self._step):
            yield self._data[at : at + self._step]


@pytest.mark.parametrize("step", [1, 2, 7, 64, 10_000])
def test_parts_come_whole_however_they_are_cut(step: int) -> None:
    found = [
        (part.name, part.filename, part.content_type, b"".join(part.pieces()))
        for part in parts_of(Given(FORM, step))
    ]
    assert found == [
        ("file[]", 'd/we "ird" \\ %41;x=1.txt', "application/gzip", b"first\r\n--not the end"),
        ("message", None, "", "ünï".encode()),
        ("f", "🐂", "", b""),
    ]


def test_parts_that_nobody_reads_are_passed_over() -> None:
    assert [part.name for part in parts_of(Given(FORM, 5))] == ["file[]", "message", "f"]


@pytest.mark.parametrize("length", [0, 10, 100, 180, len(FORM) - 5])
def test_a_form_that_is_cut_off_is_noticed(length: int) -> None:
    parts = parts_of(Given(FORM[:length], 50))
    with pytest.raises(UsageError):
        [b"".join(part.pieces()) for part in parts]


def test_what_is_no_form_is_refused() -> None:
    with pytest.raises(UsageError, match="multipart"):
        next(parts_of(Given(FORM, 50, "text/plain")))
