"""Where a redirection may lead: nowhere that a token or a change could get into wrong hands."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from oxenfs.errors import RemoteRefused
from oxenfs.remote.http.failures import without_secrets

# What may be asked of another host: nothing that changes anything, or carries files.
_QUESTIONS = ("GET", "HEAD", "QUERY")
_PORTS = {"http": 80, "https": 443}


def redirected(url: str, location: str, method: str, where: str) -> str:
    """Return where a redirection leads; raise `RemoteRefused` if that is not safe to follow."""
    try:
        target = urljoin(url, location)
        same = same_origin(target, url)
        new = urlsplit(target)
    except ValueError as exc:
        raise RemoteRefused(f"{where}: redirected to something that is no address") from exc
    if same or (new.scheme == "https" and method in _QUESTIONS):
        return target
    there = f"{new.scheme}://{without_secrets(new.hostname or '')}"
    raise RemoteRefused(
        f"{where}: redirected to {there}, which is not safe to follow; "
        "if that is the right server, use its address"
    )


def same_origin(one: str, other: str) -> bool:
    """Return whether two URLs are of one server, and neither names a user."""
    a, b = urlsplit(one), urlsplit(other)
    return (a.scheme, a.hostname, a.port or _PORTS.get(a.scheme)) == (
        b.scheme,
        b.hostname,
        b.port or _PORTS.get(b.scheme),
    ) and a.username is b.username is None
