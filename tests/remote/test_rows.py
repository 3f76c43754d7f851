"""Names in trees that no file system can show."""

from __future__ import annotations

import msgpack
import pytest

from oxenfs.model import Kind, ObjectHash
from oxenfs.remote.payloads import FILE, VERSION, FilePayload, encode_payload
from oxenfs.remote.rows import rows_of
from oxenfs.remote.wire import Child

from .test_damaged_nodes import directory_of

BAD_NAMES = [b"", b".", b"..", b"a/b", b"/", b"a\0b", b"x" * 256, b"y" * 300]


def entry_called(name: bytes, hash: int) -> Child:
    file = FilePayload(
        "?", None, ObjectHash(hash), ObjectHash(hash), 1, ObjectHash(1), 0, "text", None, "t", ""
    )
    fields = msgpack.unpackb(encode_payload(file))[0][VERSION]
    fields[1] = name.decode("utf-8", "surrogateescape")
    payload = msgpack.packb([{VERSION: fields}], unicode_errors="surrogateescape")
    return Child(FILE, ObjectHash(hash), payload)


def test_names_that_no_file_system_takes_are_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = [b"a", b"...", b"x" * 255, b"\xff not utf-8", b"b\n"]
    entries = [entry_called(name, at) for at, name in enumerate([*BAD_NAMES, *good], 1)]
    rows = rows_of(directory_of(entries))
    assert [row.name for row in rows] == sorted(good)
    assert len(caplog.records) == len(BAD_NAMES)
    for name in BAD_NAMES:
        assert any(repr(name)[:80] in record.getMessage() for record in caplog.records)


def test_of_two_entries_with_one_name_always_the_same_one_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = [entry_called(b"same", at) for at in (9, 3, 5)]
    for order in (entries, entries[::-1], entries[1:] + entries[:1]):
        caplog.clear()
        (row,) = rows_of(directory_of(order))
        assert row.id == 3
        assert len(caplog.records) == 2
        assert "twice" in caplog.text


@pytest.mark.parametrize("data_type", ["", "directory", "TEXT", "model"])
def test_a_file_of_an_unknown_type_is_binary(data_type: str) -> None:
    blob = ObjectHash(7)
    file = FilePayload("f", None, blob, blob, 1, ObjectHash(1), 0, data_type, None, "t", "")
    (row,) = rows_of(directory_of([Child(FILE, blob, encode_payload(file))]))
    assert row.kind == Kind.BINARY
