"""Who may ask: names of this host, no browser pages, the token; and too old official clients.

A page in somebody's browser can reach a server on loopback. It sends `Origin`, or comes under a
name that its owner points to 127.0.0.1; both are refused. With a token any name will do.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import oxenfs
from oxenfs.server.answers import OXEN_VERSION, Refusal, error, plain_error

_CLIENT_VERSION = re.compile(r"[^/]*/(\d+)\.(\d+)\.(\d+)")
_CLIENT_MIN = (0, 36, 0)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class Guard:
    """Wraps the application; answers what must not get to it."""

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        """Guard `app`, which listens on `host`."""
        self._app = app
        self._host = host.lower()
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on one request; every answer gets the server's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get("x-oxen-request-id", "")
        request_id = asked if _REQUEST_ID.match(asked) else str(uuid.uuid4())

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                _mark(message, request_id)
            await send(message)

        refusal = self._refusal(headers)
        await (refusal or self._app)(scope, receive, marked)

    def _refusal(self, headers: Headers) -> Response | None:
        if "origin" in headers:
            return plain_error(403, "forbidden", "requests of web pages are refused")
        if not self._is_our_name(headers.get("host", "")):
            return plain_error(403, "forbidden", "this server is not called by that name")
        if self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # The comparison takes as long wherever they differ.
            fits = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
            if scheme.lower() != "bearer" or not fits:
                return plain_error(401, "unauthenticated", "a token is needed")
        if _is_too_old(headers.get("user-agent", "")):
            detail = "Oxen CLI out of date. Pushing to OxenHub requires version >= 0.36.0."
            return error(Refusal(426, "update_required", "Update Required", detail))
        return None

    def _is_our_name(self, host: str) -> bool:
        if self._token is not None:
            return True
        name = host_name(host)
        if name == self._host or is_loopback(name):
            return True
        # Listening on all addresses: any of them, but no name that somebody else controls.
        return self._host in ("0.0.0.0", "::") and _is_address(name)


def host_name(header: str) -> str:
    """Return the name or address in a `Host` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def is_loopback(name: str) -> bool:
    """Return whether a name or address is this machine's own."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_too_old(agent: str) -> bool:
    if "oxen" not in agent.lower() or "Postman" in agent:
        return False
    match = _CLIENT_VERSION.match(agent)
    return match is None or tuple(int(part[:9]) for part in match.groups()) < _CLIENT_MIN


def _mark(message: MutableMapping[str, Any], request_id: str) -> None:
    headers = MutableHeaders(raw=message["headers"])
    headers["oxen-version"] = OXEN_VERSION
    headers["oxenfs-version"] = oxenfs.__version__
    headers["x-oxen-request-id"] = request_id
    message["headers"] = headers.raw
