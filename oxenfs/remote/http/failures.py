"""What goes wrong on the way to a server, and what its bad answers mean, as our errors."""

from __future__ import annotations

import email.utils
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import requests
import urllib3

from oxenfs import config
from oxenfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    IntegrityError,
    NoServer,
    NotFound,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
)
from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobsMissing

_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{1,32}\Z")
_SAID_MAX = 300
_WAIT_S = 1.0
# What is shorter may be a part of any word.
_SECRET_MIN = 6
_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Leave `secret` out of all that servers say, from now on: some repeat what they were sent."""
    if len(secret) >= _SECRET_MIN:
        _secrets.add(secret)


def without_secrets(text: str) -> str:
    """Return `text` with what `hide` was told replaced, in whatever case."""
    for secret in _secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text


def no_answer(exc: Exception, host: str, where: str, timeout_s: float) -> OxenfsError:
    """Return the error for a request that got no answer, or half of one; names the host."""
    if isinstance(exc, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return RemoteRefused(f"the certificate of {host} is not accepted: {_reason(exc)} ({where})")
    chain = list(_chain(exc))
    if any(isinstance(each, socket.gaierror) for each in chain):
        text = f"there is no host {host} ({_reason(exc)}): is the address right?"
        return NoServer(f"{text} ({where})")
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        text = f"{host} refused the connection: is a server running there?"
        return NoServer(f"{text} ({where})")
    if any(isinstance(each, requests.ConnectTimeout) for each in chain):
        text = f"{host} took no connection within {timeout_s:g} s: can it be reached from here?"
    elif any(isinstance(each, requests.Timeout | TimeoutError) for each in chain):
        text = f"{host} answered nothing, or too slowly, for {timeout_s:g} s"
    elif any(isinstance(each, http.client.IncompleteRead) for each in chain):
        text = f"the answer of {host} is cut off: {_reason(exc)}"
    else:
        text = f"the connection to {host} broke: {_reason(exc)}"
    return RemoteUnavailable(f"{text} ({where})")


def bad_status(
    response: requests.Response, raw: bytes, host: str, where: str, *, token: bool
) -> OxenfsError:
    """Return the error for an answer that is not 2xx.

    Args:
        response: for its status and headers.
        raw: the beginning of its body.
        host: whom the token belongs to.
        where: method and URL.
        token: whether one was sent.
    """
    status = response.status_code
    value = _envelope(raw)
    said = _page_title(raw) if value is None else message_of(value)
    text = f"{where}: {status}" + (f" {said}" if said else "")
    if status in (401, 403):
        if token:
            hint = config.token_hint(host)
            return AccessDenied(f"{text}; the token for {host} is refused: {hint}")
        return AccessDenied(f"{text}; no token was sent to {host}: oxen config --auth {host} TOKEN")
    if status == 404:
        missing = _missing(value or {})
        if _type(value or {}) == "resource_damaged":
            # Our server's word for bytes that it has, and that are not right.
            return IntegrityError(text)
        return BlobsMissing(text, missing) if missing else NotFound(text)
    if status == 409:
        return Conflict(text)
    if status == 426:
        return RemoteRefused(f"{text}; the server wants a newer client: update oxenfs")
    retry_after = response.headers.get("Retry-After")
    if status == 429 or (status == 503 and retry_after is not None):
        return Busy(text, retry_after_s(retry_after))
    if status >= 500 or status in (408, 425):
        return RemoteUnavailable(text)
    return RemoteRefused(text)


def not_oxen(raw: bytes, where: str) -> RemoteRefused:
    """Return the error for an answer that no Oxen server gives."""
    said = _page_title(raw)
    page = f" but with a web page ({said})" if said else ""
    return RemoteRefused(
        f"{where} is not answered as an Oxen server does{page}: is the address right?"
    )


def message_of(value: Mapping[str, Any]) -> str:
    """Return what an error envelope says, in any of its three shapes, as one short line."""
    error = value.get("error")
    if isinstance(error, dict):
        parts = [str(error[key]) for key in ("title", "detail") if error.get(key)]
        if parts:
            return _line(": ".join(parts))
    return _line(str(value.get("status_description") or value.get("status_message") or ""))


def retry_after_s(value: str | None) -> float:
    """Return how long a `Retry-After` says to wait, in seconds; one if it says nothing."""
    value = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return _WAIT_S
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())


def parsed(raw: bytes) -> Any:
    """Return JSON as a value; raise `ValueError` for whatever is none, or is nested too deeply."""
    try:
        return json.loads(raw)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _envelope(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a bad answer has, None if it has none."""
    try:
        value = parsed(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _missing(value: Mapping[str, Any]) -> frozenset[ObjectHash]:
    error = value.get("error")
    hashes = error.get("missing_hashes") if isinstance(error, dict) else None
    if not isinstance(hashes, list):
        return frozenset()
    return frozenset(
        ObjectHash(int(each, 16)) for each in hashes if isinstance(each, str) and _HASH.match(each)
    )


def _type(value: Mapping[str, Any]) -> object:
    error = value.get("error")
    return error.get("type") if isinstance(error, dict) else None


def _page_title(raw: bytes) -> str:
    match = _TITLE.search(raw[:4096])
    return _line(match[1].decode("utf-8", "replace")) if match else ""


def _line(text: str) -> str:
    # It may be anything, and goes into one line of a terminal or a log.
    text = without_secrets(" ".join(text.encode("utf-8", "replace").decode().split()))
    if len(text) > _SAID_MAX:
        text = text[:_SAID_MAX] + "..."
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield `exc` and what caused it; libraries keep causes in three different places."""
    waiting, seen = [exc], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        waiting += [below for below in inner if isinstance(below, BaseException)]


def _reason(exc: BaseException) -> str:
    """Return the text of the innermost cause."""
    found = list(_chain(exc))
    for each in found:
        if isinstance(each, OSError) and not isinstance(each, requests.RequestException):
            text = each.strerror or str(each)
            if text:
                return _line(text)
    return _line(str(found[-1]) or type(found[-1]).__name__)
