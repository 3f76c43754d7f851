"""Requests to one Oxen server: sessions, deadlines, tokens, redirects.

Facts it is built on (oxen-server 0.65): file and batch answers leave in two small writes, which
costs 40 ms on a kept connection unless the client asks for prompt acknowledgements after each
request; a User-Agent with "oxen" and a low version is refused; error bodies come in three shapes.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3

from oxenfs.errors import IntegrityError, OxenfsError, RemoteRefused, RemoteUnavailable, UsageError
from oxenfs.remote.http import failures
from oxenfs.remote.http.body import Answer
from oxenfs.remote.http.connections import Sockets, new_session, received_bytes, sendable_body
from oxenfs.remote.http.redirects import redirected, same_origin

_USER_AGENT = "dataset-mount/1.0"
_REDIRECTS_MAX = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_JSON_BYTES_MAX = 64 << 20
_ERROR_BYTES_MAX = 256 << 10
_SESSIONS_KEPT = 16


class Transport:
    """Speaks to one repository of one server. Safe to use from several threads.

    Attributes:
        origin: `scheme://host[:port]`.
        base: `scheme://host/api/repos/ns/name`.
        requests, received_bytes: how many were sent, redirected ones too, and came, with headers.
        is_oxenfs: whether the last good answer was one of `oxenfs serve`.
    """

    def __init__(self, origin: str, path: str, token: str | None, timeout_s: float) -> None:
        """Speak to `origin` (`scheme://host[:port]`), below `path`.

        Args:
            origin: where the token may be sent to, and nowhere else.
            path: `/api/repos/ns/name`.
            token: for `Authorization: Bearer`; None sends none.
            timeout_s: for connecting and for silence. A whole answer may take longer, by a second
                for every 4 KiB of it.
        """
        self.origin = origin
        self.base = origin + path
        self.requests = 0
        self.received_bytes = 0
        self.is_oxenfs = False
        self._host = urlsplit(origin).netloc
        if token is not None and not (token.isascii() and token.isprintable() and token):
            # A library's complaint would quote it.
            raise UsageError(f"the token for {self._host} has characters that cannot be sent")
        if token is not None:
            failures.hide(token)
        self._token = token
        self._timeout_s = timeout_s
        self._idle: list[requests.Session] = []
        self._sockets = Sockets()
        self._closed = False
        self._lock = threading.Lock()

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        limit: int = _JSON_BYTES_MAX,
        work_s: float = 0.0,
    ) -> dict[str, Any]:
        """Return the JSON object of an answer whose status says success.

        Args:
            method: as of `open`, like the others.
            path: from the server's root.
            params: the query.
            body: sent as JSON.
            limit: how many bytes the answer may have.
            work_s: as of `open`.
        """
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if sent is None else {"Content-Type": "application/json"}
        return self.json_of(method, path, sent, headers, params, limit=limit, work_s=work_s)

    def json_of(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
        *,
        limit: int = _JSON_BYTES_MAX,
        work_s: float = 0.0,
    ) -> dict[str, Any]:
        """Return the JSON object of the answer to a request with any body."""
        where = f"{method} {self.base}{path}"
        with self.open(
            method, path, params=params, body=body, headers=headers, work_s=work_s
        ) as answer:
            raw = answer.read(limit)
        if not raw:
            raise RemoteUnavailable(f"{where}: an empty answer")
        try:
            # Heartbeat newlines may come before it.
            value = failures.parsed(raw)
        except ValueError as exc:
            raise failures.not_oxen(raw, where) from exc
        if not isinstance(value, dict):
            raise failures.not_oxen(raw, where)
        if value.get("status") == "error":
            raise RemoteRefused(f"{where}: {failures.message_of(value)}")
        return value

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        pages: bool = False,
        timeout_s: float | None = None,
        work_s: float = 0.0,
    ) -> Iterator[Answer]:
        """Give the answer to a request; the connection is kept only if it was read to the end.

        An `IntegrityError` raised while it is read gets the URL in front.

        Args:
            method: GET, POST, QUERY, ...
            path: below the repository, quoted.
            params: the query string, not quoted.
            body: sent as it is.
            headers: beside our own.
            pages: whether a good answer may be of the type `text/html`.
            timeout_s: instead of the transport's own.
            work_s: how much longer than usual the server may be silent, for what it has to do.

        Raises:
            AccessDenied: 401, 403.
            NotFound: 404.
            Conflict: 409.
            Busy: 429, or 503 with a time; says how long to wait.
            RemoteUnavailable: other 5xx, no connection, silence, an answer cut off.
            RemoteRefused: any other answer that is not 2xx, a web page, a redirection that is not
                safe; 426 says that this client is too old.
        """
        where = f"{method} {self.base}{path}"
        query = "?" + urlencode(params, quote_via=quote, safe="") if params else ""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        session = self._take()
        try:
            target = path + query
            response, url = self._send(
                session, method, target, body, headers or {}, where, limit_s, limit_s + work_s
            )
            try:
                if not same_origin(url, self.origin):
                    there = failures.without_secrets(urlsplit(url).netloc)
                    where += f" (redirected to {urlsplit(url).scheme}://{there})"
                if not 200 <= response.status_code < 300:
                    raise self._error(response, url, where)
                self.is_oxenfs = "oxenfs-version" in response.headers
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
                if kind.lower() == "text/html" and not pages:
                    raise failures.not_oxen(_beginning(response), where)
                try:
                    yield Answer(response, self._host, where, limit_s)
                except IntegrityError as exc:
                    raise IntegrityError(f"{where}: {exc}") from exc
            finally:
                self._count(response)
                _release(response)
        finally:
            self._give_back(session)

    def close(self) -> None:
        """Close all connections; calls after it are errors."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self._sockets.abort()
        for session in idle:
            session.close()

    def abort(self) -> None:
        """Break all connections: requests that wait for an answer fail at once, new ones do not."""
        self._sockets.abort()

    def _count(self, response: requests.Response) -> None:
        with self._lock:
            self.received_bytes += received_bytes(response)

    def _send(
        self,
        session: requests.Session,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        where: str,
        timeout_s: float,
        silence_s: float,
    ) -> tuple[requests.Response, str]:
        """Return the answer, and from which URL it came."""
        url = self.base + target
        for _ in range(_REDIRECTS_MAX + 1):
            sent = {"User-Agent": _USER_AGENT, "Accept": "*/*", **headers}
            if self._token is not None and same_origin(url, self.origin):
                sent["Authorization"] = f"Bearer {self._token}"
            with self._lock:
                self.requests += 1
            try:
                response = session.request(
                    method,
                    url,
                    data=sendable_body(body),
                    headers=sent,
                    stream=True,
                    timeout=(timeout_s, silence_s),
                    allow_redirects=False,
                )
            except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
                raise failures.no_answer(exc, self._host, where, silence_s) from exc
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                return response, url
            self._count(response)
            response.close()
            url = redirected(url, location, method, where)
        raise RemoteRefused(f"{where}: redirected more than {_REDIRECTS_MAX} times")

    def _take(self) -> requests.Session:
        # A session is one thread's at a time. Not one per thread: threads of a pool come and go,
        # and their connections would stay.
        with self._lock:
            if self._closed:
                raise RemoteRefused(f"the connection to {self.base} was closed")
            return self._idle.pop() if self._idle else new_session(self._sockets)

    def _give_back(self, session: requests.Session) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _SESSIONS_KEPT:
                self._idle.append(session)
                return
        session.close()

    def _error(self, response: requests.Response, url: str, where: str) -> OxenfsError:
        sent = self._token is not None and same_origin(url, self.origin)
        raw = _beginning(response)
        return failures.bad_status(response, raw, self._host, where, token=sent)


def _beginning(response: requests.Response) -> bytes:
    try:
        return response.raw.read(_ERROR_BYTES_MAX) or b""
    except (urllib3.exceptions.HTTPError, OSError):
        # The status says enough.
        return b""


def _release(response: requests.Response) -> None:
    # A body that was not read to its end would be taken for the next answer.
    original = response.raw._original_response
    if original is None or original.isclosed():
        response.raw.release_conn()
    else:
        response.close()
