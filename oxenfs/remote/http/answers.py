"""JSON of an Oxen server to model values; what does not fit is an error that says where."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from oxenfs.errors import RemoteRefused
from oxenfs.model import Author, Branch, Commit, ObjectHash

_SHOWN_MAX = 60
_HASH = re.compile(r"[0-9a-f]{1,32}\Z")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))\Z",
    re.ASCII,
)


T = TypeVar("T")


def read(parse: Callable[[Any], T], value: Any, where: str) -> T:
    """Return `parse(value)`; its error gets `where` in front."""
    try:
        return parse(value)
    except RemoteRefused as exc:
        raise RemoteRefused(f"{where}: {exc}") from exc


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


def commits_of(answer: Any) -> list[Commit]:
    """Return the commits of a page; raise `RemoteRefused`."""
    return [commit_of(value) for value in items(answer.get("commits"), "commits")]


def branches_of(answer: Any) -> list[Branch]:
    """Return all branches of a list; raise `RemoteRefused`."""
    return [branch_of(value) for value in items(answer.get("branches"), "branches")]


def default_branch_of(answer: Any) -> Branch | None:
    """Return the branch that a repository's description names; raise `RemoteRefused`."""
    resource = mapping(answer.get("repository"), "a repository").get("default_resource")
    branch = resource.get("branch") if isinstance(resource, dict) else None
    return None if branch is None else branch_of(branch)


def base_of(answer: Any) -> ObjectHash:
    """Return the commit that a workspace stands on; raise `RemoteRefused`."""
    made = mapping(answer.get("workspace"), "a workspace")
    return hash_of(mapping(made.get("commit"), "a commit").get("id"))


def paths_of(answer: Any) -> list[str]:
    """Return the paths that a request staged; raise `RemoteRefused`."""
    return [text(path, "a path") for path in items(answer.get("paths"), "paths")]


def branch_of(value: Any) -> Branch:
    """Return the branch in a `Branch` object; raise `RemoteRefused`."""
    fields = mapping(value, "a branch")
    return Branch(text(fields.get("name"), "name"), hash_of(fields.get("commit_id")))


def hash_of(value: Any) -> ObjectHash:
    """Return a hash; padded ones are the same hashes. Raise `RemoteRefused`."""
    if not isinstance(value, str) or not _HASH.match(value):
        raise RemoteRefused(f"the server sent {_shown(value)} for a hash")
    return ObjectHash(int(value, 16))


def time_of(value: Any) -> int:
    """Return RFC 3339 with up to nine digits as Unix nanoseconds; raise `RemoteRefused`."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        raise RemoteRefused(f"the server sent {_shown(value)} for a time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError as exc:
        raise RemoteRefused(f"the server sent {_shown(value)} for a time") from exc
    seconds = int(moment.timestamp())
    if sign:
        offset = (int(hours) * 60 + int(minutes)) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object; raise `RemoteRefused`."""
    if not isinstance(value, dict):
        raise RemoteRefused(f"the server sent {_shown(value)} for {what}")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return `value` if it is a JSON array; raise `RemoteRefused`."""
    if not isinstance(value, list):
        raise RemoteRefused(f"the server sent {_shown(value)} for {what}")
    return value


def text(value: Any, what: str) -> str:
    """Return `value` if it is a string; raise `RemoteRefused`.

    JSON can say half of a surrogate pair, which no UTF-8 has: `?` takes its place.
    """
    if not isinstance(value, str):
        raise RemoteRefused(f"the server sent {_shown(value)} for {what}")
    return value.encode("utf-8", "replace").decode()


def _shown(value: object) -> str:
    # Not `repr`: that of a million things takes as many seconds and megabytes as they do.
    text = reprlib.repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
