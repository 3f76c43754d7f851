from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs_cli import output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("Lövelace 日本 🐂", "Lövelace 日本 🐂"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200f"),
        ("one\u2028two", "one\\u2028two"),
        ("\ud800", "\\ud800"),
        (b"caf\xe9", "caf\\xe9"),
        ("naïve".encode(), "naïve"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
    ],
)
def test_what_could_play_tricks_is_escaped(text: str | bytes, shown: str) -> None:
    assert output.printable(text) == shown


@given(st.text() | st.binary())
def test_what_is_printed_is_one_line_that_can_be_encoded(text: str | bytes) -> None:
    shown = output.printable(text)
    assert len((shown + "x").splitlines()) == 1
    shown.encode()


def test_text_is_printed_where_the_encoding_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.print_text("é")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xe9\n"


def test_json_has_strings_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "a\n\u202e\x9b é\udcff"}
    output.print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert text.isascii()


def test_a_table_aligns_and_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([["a", "long name"], ["bcd\n", "x"]], ["one", "two"])
    assert capsys.readouterr().out == "one    two\na      long name\nbcd\\n  x\n"


def test_an_empty_table_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([], ["one", "two"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("ns", "exact", "text"),
    [
        (0, False, "1970-01-01T00:00:00Z"),
        (0, True, "1970-01-01T00:00:00Z"),
        (1_763_675_197_865_952_998, False, "2025-11-20T21:46:37Z"),
        (1_763_675_197_865_952_998, True, "2025-11-20T21:46:37.865952998Z"),
        (1_763_675_197_000_000_001, True, "2025-11-20T21:46:37.000000001Z"),
        (-1, True, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_dates_are_rfc_3339_in_utc(
    ns: int, exact: bool, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert output.date_text(ns, exact=exact) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert output.size_text(size) == text
