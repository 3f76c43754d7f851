"""Printing: names and messages that cannot play tricks on a terminal, tables, JSON, dates."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from oxenfs.names import printable as printable
from oxenfs.names import text_of as text_of
from oxenfs_cli.streams import told

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def print_text(line: str) -> None:
    """Print one line; characters that the output's encoding lacks are written as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def print_json(value: Any) -> None:
    """Print `value` as JSON, one document.

    Strings are as they are, in JSON's own ASCII escapes: equal when parsed, harmless on a
    terminal, independent of the locale.
    """
    import json

    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Print rows as columns under a header; nothing at all where there are no rows.

    Cells are escaped. The last column is not padded.
    """
    if not rows:
        return
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_text("  ".join(padded).rstrip())


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are, after what was printed before."""
    sys.stdout.flush()
    with told():
        sys.stdout.buffer.write(data)


def date_text(timestamp_ns: int, *, exact: bool = False) -> str:
    """Return a moment as RFC 3339 in UTC, to the second; `exact`: to the nanosecond."""
    import time

    seconds, rest = divmod(timestamp_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    date = f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}"
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    fraction = f".{rest:09}" if exact and rest else ""
    return f"{date}T{clock}{fraction}Z"


def size_text(size: int) -> str:
    """Return a number of bytes in the unit that leaves one to three digits before the point."""
    if size < 1024:
        return f"{size} bytes"
    value, unit = size / 1024, 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"


def is_terminal(fd: int) -> bool:
    """Return whether `fd` is open and a terminal."""
    try:
        return os.isatty(fd)
    except OSError:
        return False
