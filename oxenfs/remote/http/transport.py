"""Requests to one Oxen server: connections, deadlines, tokens, and what answers mean.

Facts it is built on (oxen-server 0.65): file and batch answers leave in two small writes, which
costs 40 ms on a kept connection unless the client asks for prompt acknowledgements after each
request; a User-Agent with "oxen" and a low version is refused; error bodies come in three shapes.
`requests` reads `.content` in 10 KiB pieces, so bodies are always read from the raw stream.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import urllib3

from oxenfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    IntegrityError,
    NotFound,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
)

_USER_AGENT = "dataset-mount/1.0"
_REDIRECTS_MAX = 5
_JSON_BYTES_MAX = 256 << 20
_ERROR_BYTES_MAX = 64 << 10
_PIECE_BYTES = 256 << 10
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)

Body = bytes | Iterator[bytes] | None


class _PromptConnection(urllib3.connection.HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _acknowledge_promptly(self.sock)
        return super().getresponse()


class _PromptTlsConnection(urllib3.connection.HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        _acknowledge_promptly(self.sock)
        return super().getresponse()


class _PromptPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PromptConnection


class _PromptTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PromptTlsConnection


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PromptPool, "https": _PromptTlsPool}


class Answer:
    """The body of a good answer, to be read once.

    Attributes:
        length: what the server said it sends, None if it did not.
        headers: lower-case names.
    """

    def __init__(self, response: requests.Response, stall_s: float, where: str) -> None:
        self._raw = response.raw
        self._where = where
        self._stall_s = stall_s
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        length = self.headers.get("content-length", "")
        self.length = int(length) if length.isdigit() else None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives; raise `RemoteUnavailable` if it stops or is cut off."""
        received = 0
        try:
            while piece := self._raw.read1(_PIECE_BYTES):
                received += len(piece)
                yield piece
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise RemoteUnavailable(f"{self._where}: the answer broke off: {exc}") from exc
        if self.length is not None and received != self.length:
            raise RemoteUnavailable(
                f"{self._where}: {received} of {self.length} bytes came, then nothing"
            )

    def read(self, limit: int) -> bytes:
        """Return the whole body; raise `IntegrityError` if it has more than `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > limit:
                raise IntegrityError(f"{self._where}: an answer of more than {limit} bytes")
            parts.append(piece)
        return b"".join(parts)

    def read_exactly(self, size: int) -> bytes:
        """Return the body, which must have `size` bytes; raise `IntegrityError`."""
        data = self.read(size)
        if len(data) != size:
            raise IntegrityError(f"{self._where}: {len(data)} bytes instead of {size}")
        return data


class Transport:
    """Speaks to one repository of one server. Safe to use from several threads.

    Attributes:
        base: `scheme://host/api/repos/ns/name`.
        bytes_received, requests: counters for `stats`.
    """

    def __init__(self, origin: str, path: str, token: str | None, timeout_s: float) -> None:
        """Speak to `origin` (`scheme://host[:port]`), below `path`.

        Args:
            origin: where the token may be sent to, and nowhere else.
            path: `/api/repos/ns/name`.
            token: for `Authorization: Bearer`; None sends none.
            timeout_s: for connecting, and the longest silence in an answer.
        """
        self.origin = origin
        self.base = origin + path
        self._token = token
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
    ) -> dict[str, Any]:
        """Return the JSON object of an answer, whose status says success."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if sent is None else {"Content-Type": "application/json"}
        return self.json_of(method, path, sent, headers, params)

    def json_of(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object of the answer to a request with any body."""
        with self.open(method, path, params=params, body=body, headers=headers) as answer:
            raw = answer.read(_JSON_BYTES_MAX)
        try:
            # Heartbeat newlines may come before it.
            value = json.loads(raw)
        except ValueError as exc:
            raise RemoteRefused(
                f"{self.base}{path} does not answer like an Oxen server{_page_title(raw)}"
            ) from exc
        if not isinstance(value, dict):
            raise RemoteRefused(f"{self.base}{path}: the answer is not a JSON object")
        if value.get("status") == "error":
            raise RemoteRefused(f"{self.base}{path}: {_message(value)}")
        return value

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:
        """Give the answer to a request; the connection is kept only if it was read to the end.

        Raises:
            AccessDenied: 401, 403.
            NotFound: 404.
            Conflict: 409.
            Busy: 429; says how long to wait.
            RemoteUnavailable: 5xx, no connection, silence.
            RemoteRefused: any other answer that is not 2xx; 426 says that this client is too old.
        """
        where = f"{method} {self.base}{path}"
        response = self._send(method, self.base + path, params, body, dict(headers or {}), where)
        try:
            if not 200 <= response.status_code < 300:
                raise self._error(response, where)
            yield Answer(response, self._timeout_s, where)
        finally:
            _release(response)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str | int] | None,
        body: Body,
        headers: dict[str, str],
        where: str,
    ) -> requests.Response:
        for _ in range(_REDIRECTS_MAX):
            sent = {"User-Agent": _USER_AGENT, "Accept": "*/*", **headers}
            if self._token is not None and url.startswith(self.origin + "/"):
                sent["Authorization"] = f"Bearer {self._token}"
            try:
                response = self._session().request(
                    method,
                    url,
                    params=params,
                    data=body,
                    headers=sent,
                    stream=True,
                    timeout=(self._timeout_s, self._timeout_s),
                    allow_redirects=False,
                )
            except requests.RequestException as exc:
                raise RemoteUnavailable(f"{where}: no answer: {_short(exc)}") from exc
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            url = self._redirected(url, response, where)
            params = None
            if not isinstance(body, bytes | None):
                raise RemoteRefused(f"{where}: redirected in the middle of an upload")
        raise RemoteRefused(f"{where}: too many redirects")

    def _redirected(self, url: str, response: requests.Response, where: str) -> str:
        target = urljoin(url, response.headers.get("Location", ""))
        response.close()
        old, new = urlsplit(url), urlsplit(target)
        if new.scheme == "https" or (new.scheme == old.scheme and new.netloc == old.netloc):
            return target
        raise RemoteRefused(f"{where}: redirected to {new.scheme}://{new.netloc}: not safe")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.headers.clear()
            adapter = _Adapter(pool_connections=2, pool_maxsize=1, max_retries=0)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def _error(self, response: requests.Response, where: str) -> OxenfsError:
        try:
            raw = response.raw.read(_ERROR_BYTES_MAX) or b""
        except (urllib3.exceptions.HTTPError, OSError):
            raw = b""
        try:
            value = json.loads(raw)
            said = _message(value) if isinstance(value, dict) else ""
        except ValueError:
            said = _page_title(raw).strip(" :()")
        status = response.status_code
        text = f"{where}: {status}" + (f" {said}" if said else "")
        if status in (401, 403):
            return AccessDenied(
                f"{text}; the token for {urlsplit(self.origin).netloc} is missing or refused: "
                "oxen config --auth HOST TOKEN"
            )
        if status == 404:
            return NotFound(text)
        if status == 409:
            return Conflict(text)
        if status == 426:
            return RemoteRefused(f"{text}: the server wants a newer client")
        if status == 429:
            return Busy(text, _retry_after(response.headers.get("Retry-After")))
        if status >= 500:
            return RemoteUnavailable(text)
        return RemoteRefused(text)


def _acknowledge_promptly(sock: object) -> None:
    # Does not stick: it has to be said again after each request.
    if isinstance(sock, socket.socket) and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _release(response: requests.Response) -> None:
    # A body that was not read to its end would be taken for the next answer.
    if response.raw._original_response is None or response.raw._original_response.isclosed():
        response.raw.release_conn()
    else:
        response.close()


def _message(value: Mapping[str, Any]) -> str:
    error = value.get("error")
    if isinstance(error, dict):
        parts = [str(error[key]) for key in ("title", "detail") if error.get(key)]
        if parts:
            return ": ".join(parts)
    return str(value.get("status_description") or value.get("status_message") or "")


def _page_title(raw: bytes) -> str:
    match = _TITLE.search(raw[:4096])
    return f": a web page ({match[1].decode('utf-8', 'replace').strip()})" if match else ""


def _short(exc: BaseException) -> str:
    text = str(exc)
    inner = re.search(r"\[Errno [^\]]*\] [^'\")]*", text)
    return inner[0] if inner else text[:200]


def _retry_after(value: str | None) -> float:
    if value is None:
        return 1.0
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 1.0
    return max(0.0, moment.timestamp() - time.time())
