"""JSON of an Oxen server to model values; what does not fit is an error that says where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from oxenfs.errors import RemoteRefused
from oxenfs.model import Author, Branch, Commit, ObjectHash

_HASH = re.compile(r"[0-9a-f]{1,32}\Z")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))\Z"
)


def commit_of(value: Any) -> Commit:
    """Return the commit in a `Commit` object; raise `RemoteRefused`."""
    fields = mapping(value, "a commit")
    return Commit(
        hash_of(fields.get("id")),
        tuple(hash_of(parent) for parent in items(fields.get("parent_ids"), "parents")),
        Author(text(fields.get("author"), "author"), text(fields.get("email"), "email")),
        text(fields.get("message"), "message"),
        time_of(fields.get("timestamp")),
    )


def branch_of(value: Any) -> Branch:
    """Return the branch in a `Branch` object; raise `RemoteRefused`."""
    fields = mapping(value, "a branch")
    return Branch(text(fields.get("name"), "name"), hash_of(fields.get("commit_id")))


def hash_of(value: Any) -> ObjectHash:
    """Return a hash; padded ones are the same hashes. Raise `RemoteRefused`."""
    if not isinstance(value, str) or not _HASH.match(value):
        raise RemoteRefused(f"the server sent {value!r:.60} for a hash")
    return ObjectHash(int(value, 16))


def time_of(value: Any) -> int:
    """Return RFC 3339 with up to nine digits as Unix nanoseconds; raise `RemoteRefused`."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        raise RemoteRefused(f"the server sent {value!r:.60} for a time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError as exc:
        raise RemoteRefused(f"the server sent {value!r:.60} for a time") from exc
    seconds = int(moment.timestamp())
    if sign:
        offset = (int(hours) * 60 + int(minutes)) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object; raise `RemoteRefused`."""
    if not isinstance(value, dict):
        raise RemoteRefused(f"the server sent {value!r:.60} for {what}")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return `value` if it is a JSON array; raise `RemoteRefused`."""
    if not isinstance(value, list):
        raise RemoteRefused(f"the server sent {value!r:.60} for {what}")
    return value


def text(value: Any, what: str) -> str:
    """Return `value` if it is a string; raise `RemoteRefused`."""
    if not isinstance(value, str):
        raise RemoteRefused(f"the server sent {value!r:.60} for {what}")
    return value
