"""Two texts as a unified diff. What is equal at both ends is read, but neither kept nor compared.

So one changed line of a large table is found in the time that reading it takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from oxenfs.names import header_name

NO_FILE = b"/dev/null"
"""What a side is called that is not there."""

_PIECE_BYTES = 1 << 20
_CONTEXT_LINES = 3
_CONTEXT_BYTES = 64 << 10
_SNIFFED_BYTES = 8192
# Comparing takes the square of what differs.
_MIDDLE_BYTES_MAX = 4 << 20
_MIDDLE_LINES_MAX = 50_000


class Text(Protocol):
    """Bytes of known length."""

    @property
    def size(self) -> int:
        """How many."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` of them from `offset` on, fewer only at the end."""


class Whole(NamedTuple):
    """A text in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """Return a range."""
        return self.data[offset : offset + size]


def unified(one: bytes, other: bytes, old: Text, new: Text) -> Iterator[str] | None:
    """Return the lines of a unified diff, without line ends, as `patch` takes them.

    Args:
        one: what the old side is called, such as `b"a/path"`; quoted where it needs that.
        other: what the new side is called.
        old: a text.
        new: a text.

    Returns:
        None if one of them is no UTF-8 text, or more differs than anybody waits for.
    """
    if any(b"\0" in text.read(0, _SNIFFED_BYTES) for text in (old, new)):
        return None
    middle = _middle(old, new)
    if middle is None:
        return None
    try:
        parts = [part.decode() for part in middle[:4]]
    except UnicodeDecodeError:
        return None
    if any("\0" in part for part in parts):
        return None
    before, befores, afters, after = map(_lines, parts)
    if max(len(befores), len(afters)) > _MIDDLE_LINES_MAX:
        return None
    # What is equal around it is put back behind the comparison: in it, lines that are equal to
    # some of these could be matched with them, and a hunk would lack lines at its end.
    around = len(before), len(after)
    matcher = difflib.SequenceMatcher(None, befores, afters, autojunk=len(befores) > 2000)
    return _printed(
        one,
        other,
        [*before, *befores, *after],
        [*before, *afters, *after],
        _with_context(matcher, *around),
        middle.lines_before,
    )


class _Middle(NamedTuple):
    """The lines in which two texts differ, and some around them.

    Attributes:
        before: equal lines.
        old: what they have each.
        new: what they have each.
        after: equal lines.
        lines_before: how many more there are in front.
    """

    before: bytes
    old: bytes
    new: bytes
    after: bytes
    lines_before: int


def _middle(old: Text, new: Text) -> _Middle | None:
    start, lines = _equal_start(old, new)
    end = _equal_end(old, new, start)
    starts = _back(old, start, 0), _back(old, start, _CONTEXT_LINES)
    tail = old.size - end
    ends = _forth(old, tail, 0), _forth(old, tail, _CONTEXT_LINES)
    first, last = starts[0], ends[0]
    if first is None or last is None or starts[1] is None or ends[1] is None:
        return None
    if max(old.size, new.size) - end + last - first > _MIDDLE_BYTES_MAX:
        return None
    return _Middle(
        old.read(starts[1], first - starts[1]),
        old.read(first, tail + last - first),
        new.read(first, new.size - end + last - first),
        old.read(tail + last, ends[1] - last),
        lines - old.read(starts[1], start - starts[1]).count(b"\n"),
    )


def _equal_start(old: Text, new: Text) -> tuple[int, int]:
    """Return how many bytes are equal at the start, and how many lines end in them."""
    at = lines = 0
    while True:
        one, other = old.read(at, _PIECE_BYTES), new.read(at, _PIECE_BYTES)
        if one != other:
            equal = _common(one, other)
            return at + equal, lines + one[:equal].count(b"\n")
        if not one:
            return at, lines
        at += len(one)
        lines += one.count(b"\n")


def _equal_end(old: Text, new: Text, start: int) -> int:
    """Return how many bytes behind `start` are equal at the end."""
    most = min(old.size, new.size) - start
    end = 0
    while end < most:
        size = min(_PIECE_BYTES, most - end)
        one = old.read(old.size - end - size, size)
        other = new.read(new.size - end - size, size)
        if one != other:
            return end + _common(one[::-1], other[::-1])
        end += size
    return most


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes are equal at the start."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        half = (low + high) // 2
        if one[low:half] == other[low:half]:
            low = half
        else:
            high = half
    return low


def _back(text: Text, at: int, lines: int) -> int | None:
    """Return the start of the line `lines` before the one at `at`; None: lines are too long."""
    first = max(at - _CONTEXT_BYTES, 0)
    window = text.read(first, at - first)
    place = len(window)
    for _ in range(lines + 1):
        place = window.rfind(b"\n", 0, place)
        if place < 0:
            return None if first else 0
    return first + place + 1


def _forth(text: Text, at: int, lines: int) -> int | None:
    """Return how many bytes from `at` on belong to its line and to `lines` after it."""
    window = text.read(at, _CONTEXT_BYTES)
    place = 0
    for _ in range(lines + 1):
        place = window.find(b"\n", place) + 1
        if not place:
            return None if at + len(window) < text.size else len(window)
    return place


_Opcode = tuple[str, int, int, int, int]


def _with_context(
    matcher: difflib.SequenceMatcher[str], before: int, after: int
) -> list[list[_Opcode]]:
    """Return the groups of a comparison between `before` and `after` equal lines."""
    codes: list[_Opcode] = [("equal", 0, before, 0, before)] if before else []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        codes.append((tag, i1 + before, i2 + before, j1 + before, j2 + before))
    if after:
        _, _, i, _, j = codes[-1] if codes else ("", 0, 0, 0, 0)
        codes.append(("equal", i, i + after, j, j + after))
    matcher.opcodes = codes  # type: ignore[attr-defined]  # what it groups
    return [list(group) for group in matcher.get_grouped_opcodes(_CONTEXT_LINES)]


def _printed(
    one: bytes,
    other: bytes,
    befores: list[str],
    afters: list[str],
    groups: list[list[_Opcode]],
    lines_before: int,
) -> Iterator[str]:
    yield f"--- {_header(one)}"
    yield f"+++ {_header(other)}"
    for group in groups:
        first, last = group[0], group[-1]
        ranges = (first[1], last[2]), (first[3], last[4])
        old, new = (_range(start + lines_before, stop - start) for start, stop in ranges)
        yield f"@@ -{old} +{new} @@"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from _marked(" ", befores[i1:i2])
            else:
                yield from _marked("-", befores[i1:i2])
                yield from _marked("+", afters[j1:j2])


def _header(name: bytes) -> str:
    shown = header_name(name)
    # As git does: without a tab, `patch` takes what is behind a space for a date.
    return f"{shown}\t" if " " in shown else shown


def _range(start: int, count: int) -> str:
    if count == 1:
        return f"{start + 1}"
    # Of nothing, the line in front of it is named.
    return f"{start + bool(count)},{count}"


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def _lines(text: str) -> list[str]:
    # Only at "\n": other characters that Python takes for line ends are text to `patch`.
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
