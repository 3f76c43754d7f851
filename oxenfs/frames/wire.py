"""Messages between the daemon and its decoding children: one socket, JSON heads, raw bodies.

    u32 length of the head, u32 length of the body, the head (JSON object), the body

To a child: `open` (a video it will be asked about), `plan`, `run` (frames to make), `urge` (a run
that somebody waits for now), `drop` (a run that nobody wants), `data` and `failed` (answers to
`read`). From a child: `ready`, `read` (a range of a video), `begun`, `planned`, `made`, `missing`,
`refused`, `ended`. Nothing that comes from a child is evaluated, or believed without a check: a
video may have taken it over.
"""

from __future__ import annotations

import json
import struct
from typing import Any

HEADER = struct.Struct("<II")
HEAD_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 30

Head = dict[str, Any]
Buffer = bytes | bytearray | memoryview


class BrokenWire(Exception):
    """The other side is gone, or sends what is no message."""


def pack(head: Head, body_length: int = 0) -> bytes:
    """Return what goes before the body."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return HEADER.pack(len(text), body_length) + text


def lengths(header: Buffer) -> tuple[int, int]:
    """Return the lengths of head and body; raise `BrokenWire` if no message has such."""
    head, body = HEADER.unpack(header)
    if head > HEAD_BYTES_MAX or body > BODY_BYTES_MAX:
        raise BrokenWire("a message too long")
    return head, body


def parse(text: Buffer) -> Head:
    """Return the head; raise `BrokenWire` if it is none."""
    try:
        head = json.loads(bytes(text))
    except (ValueError, RecursionError) as exc:
        raise BrokenWire("not a message") from exc
    if not isinstance(head, dict):
        raise BrokenWire("not a message")
    return head
