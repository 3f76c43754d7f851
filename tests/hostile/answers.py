"""Hostile answers to questions that are answered by JSON; lengths, heads and redirections."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from remote.http.misbehaving import API, Reply, reply

from oxenfs.model import hash_text

from .building import HEAD

ID = hash_text(HEAD)
COMMIT: dict[str, Any] = {
    "id": ID,
    "parent_ids": [],
    "author": "Ada",
    "email": "ada@example.com",
    "message": "m",
    "timestamp": "2026-11-20T21:46:37Z",
}
SOUND: dict[str, Any] = {"status": "success", "commit": COMMIT}
RAW = json.dumps(SOUND).encode()
MIB = 1 << 20


def bodies() -> Iterator[tuple[str, bytes]]:
    """Yield JSON in the place of a commit that must be refused."""
    for what, raw in {
        "nothing": b"",
        "blanks": b" \n" * 1000,
        "a number": b"5",
        "a string": b'"x"',
        "an array": b"[]",
        "null": b"null",
        "half": RAW[:-5],
        "more behind it": RAW + b"{}",
        "no UTF-8": b'{"status": "\xff"}',
        "a page": b"<html><title>\x1b[2J\xe2\x80\xaeSign in</title></html>",
        "gzip": gzip.compress(RAW),
        "arrays in arrays": b"[" * 1_000_000,
        "objects in objects": b'{"a":' * 1_000_000,
        "arrays in a field": b'{"commit":' + b"[" * 1_000_000,
        "a number of a million digits": b'{"commit": ' + b"9" * 1_000_000 + b"}",
        "an exponent": b'{"commit": 1e999999999}',
        "not a number": b'{"commit": NaN}',
        "very many small things": b'{"commit": [' + b"[]," * (6 * MIB) + b"[]]}",
        "a string without end": b'{"commit": "' + b"x" * (20 * MIB),
        "comments": b"/* */ {}",
        "a date as a key": b"{1: 2}",
    }.items():
        yield what, raw
    for key in ("status_message", "status_description", "error"):
        said = "\x1b[2J\u202eowned\u2066\r\n\u2028\u0000\x9b31m" + "x" * 10_000
        yield (
            f"an error that says much in {key}",
            json.dumps(
                {
                    "status": "error",
                    key: {"title": said, "detail": said} if key == "error" else said,
                }
            ).encode(),
        )
    wrong: dict[str, list[Any]] = {
        "id": [None, 5, [], {}, "", "x", "-1", "0x1", "1" * 33, "\u0661", " 1", "1\n", "\x1b[2J"],
        "parent_ids": [None, 5, "abc", {}, [5], [None], [[]], ["x"], ["1" * 40]],
        "author": [None, 5, [], {}, True],
        "email": [None, 5],
        "message": [None, 5, ["m"], {"m": 1}],
        "timestamp": [
            *[None, 5, "", "now", "2026-13-40T99:99:99Z", "0000-00-00T00:00:00Z"],
            *[
                "99999-01-01T00:00:00Z",
                "2026-11-20",
                "2026-11-20T21:46:37",
                "\u0662\u0660\u0662\u0666-11-20T21:46:37Z",
            ],
        ],
    }
    for key, values in wrong.items():
        for value in values:
            raw = json.dumps({**SOUND, "commit": {**COMMIT, key: value}}).encode()
            yield f"{key} {value!a:.30}", raw
    for value in (None, [], "x", 5, {}):
        yield f"a commit {value!r}", json.dumps({**SOUND, "commit": value}).encode()
    yield "another commit", json.dumps({**SOUND, "commit": {**COMMIT, "id": "1"}}).encode()


def framed() -> Iterator[tuple[str, Reply]]:
    """Yield answers whose head or length lies, that must be refused, or given up in time."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    for what, head, body, then in (
        ("a length too large", b"Content-Length: 100000\r\n", RAW, "close"),
        ("a length beyond all", b"Content-Length: 99999999999999999999\r\n", RAW, "close"),
        ("a length too small", b"Content-Length: 10\r\n", RAW, "close"),
        ("a length below zero", b"Content-Length: -1\r\n", RAW[:-1], "close"),
        ("a length of letters", b"Content-Length: x\r\n", RAW[:-1], "close"),
        ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n", RAW, "close"),
        ("a chunk without length", b"Transfer-Encoding: chunked\r\n", RAW, "close"),
        ("a chunk below zero", b"Transfer-Encoding: chunked\r\n", b"-5\r\n" + RAW, "close"),
        ("a chunk beyond all", b"Transfer-Encoding: chunked\r\n", b"f" * 40 + b"\r\nx", "close"),
        ("a chunk's length without end", b"Transfer-Encoding: chunked\r\n", b"0" * MIB, "close"),
        ("a chunk cut off", b"Transfer-Encoding: chunked\r\n", b"ff\r\n" + RAW[:9], "close"),
        (
            "trailers for long",
            b"Transfer-Encoding: chunked\r\n",
            b"%x\r\n%b\r\n0\r\n" % (len(RAW) - 1, RAW[:-1]) + b"a: b\r\n" * 3_000_000,
            "stall",
        ),
        ("a body that stalls", b"Content-Length: 1000\r\n", RAW[:20], "stall"),
        ("a header of a megabyte", b"X: " + b"x" * MIB + b"\r\n", b"", "close"),
        ("ten thousand headers", b"X: y\r\n" * 10_000, b"", "close"),
        ("a header without colon", b"nonsense\r\n" * 3, b"", "close"),
        ("NUL in a header", b"X: \0\r\nContent-Length: 0\r\n", b"", "close"),
    ):
        yield what, Reply(ok + head + b"\r\n", body, then)
    for what, sent in {
        "no answer": b"",
        "half a status": b"HTTP/1.",
        "another protocol": b"SSH-2.0-OpenSSH_9\r\n",
        "a status beyond all": b"HTTP/1.1 99999 OK\r\n\r\n",
        "a status of letters": b"HTTP/1.1 OK OK\r\n\r\n",
        "a status line of a megabyte": b"HTTP/1.1 200 " + b"x" * MIB + b"\r\n\r\n",
        "an old protocol": b"HTTP/0.9 200 OK\r\n\r\n",
        "binary": bytes(range(256)) * 10,
    }.items():
        yield what, Reply(sent, then="close")
    again = b"HTTP/1.1 100 Continue\r\n\r\n"
    yield "to be continued, for long", Reply(again * 1_000_000, then="stall")
    yield "hints, for long", Reply(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000_000, then="stall")


def redirections() -> Iterator[tuple[str, Reply]]:
    """Yield redirections that must not be followed, or not for ever."""
    for location in (
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:70/x",
        "javascript:alert(1)",
        "data:application/json,{}",
        "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data",
        "//127.0.0.1:1/x",
        "http://[::1]:1/x",
        "http://[bad",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:x/x",
        "http://user:word@127.0.0.1:1/x",
        "http:///x",
        "http://",
        "://",
        "",
        "?",
        "\x1b[2J",
        "http://ex\xe4mple.invalid/\x80",
        "http://127.0.0.1:1/" + "x" * 50_000,
        f"{API}/commits/{ID}",
    ):
        for status in (301, 307):
            yield f"{status} to {location!a:.40}", reply(status, headers={"Location": location})
