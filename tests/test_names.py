"""Names of files in messages and in the headers of diffs."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.errors import Unsupported
from oxenfs.model import check_name
from oxenfs.names import header_name, printable, quoted
from oxenfs.overlay.changeset import Left
from oxenfs.overlay.publishing import refuse_leftovers
from oxenfs.source.walk import refuse_unsupported, walk

BAD = b"\xff\xfe"


def test_every_message_spells_a_name_that_is_not_utf8_the_same(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(BAD)).write_bytes(b"x")
    said = []
    left = Left([(BAD, "a name that is not UTF-8")])
    for call in (
        lambda: refuse_leftovers(left, 1, skip=False),
        lambda: refuse_unsupported(tmp_path, b""),
        lambda: list(walk(tmp_path, b"", skip_unsupported=False)),
        lambda: check_name(BAD),
    ):
        with pytest.raises(Unsupported) as caught:
            call()
        said.append(str(caught.value))
    for text in said:
        assert r"'\xff\xfe'" in printable(text)
        assert printable(text) == text


def test_a_message_is_one_line_whatever_the_name() -> None:
    assert quoted(b"a\nb\x1b\xe2\x80\xae") == r"'a\nb\x1b\u202e'"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a/plain name.txt", "a/plain name.txt"),
        ("a/Lövelace 日本 🐂".encode(), "a/Lövelace 日本 🐂"),
        (b"a/new\nline\t\x1b[1m", r'"a/new\nline\t\033[1m"'),
        (b'a/"q" \\ \x7f', r'"a/\"q\" \\ \177"'),
        ("a/é\u202e".encode(), '"a/é\\342\\200\\256"'),
        (b"a/\xff", r'"a/\377"'),
    ],
)
def test_names_in_headers_are_quoted_where_they_need_it(name: bytes, shown: str) -> None:
    assert header_name(name) == shown


@given(st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, 0x2F}))
def test_a_header_holds_its_name_on_one_line(name: bytes) -> None:
    shown = header_name(name)
    assert len((shown + "x").splitlines()) == 1
    shown.encode()
    if shown.startswith('"'):
        assert codecs.escape_decode(shown[1:-1].encode())[0] == name
    else:
        assert shown.encode() == name
