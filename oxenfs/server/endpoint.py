"""What all endpoints have in common: a thread, a lease of the repository, errors as answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oxenfs.errors import OxenfsError, UsageError
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.server import answers
from oxenfs.server.bodies import Body
from oxenfs.server.hosting import Hosted, Hosting

log = logging.getLogger(__name__)

# An upload holds its thread as long as the client takes to send it.
_THREADS = 64


class Call:
    """One request, for a handler in a thread.

    Attributes:
        hosting: all repositories.
        hosted: the repository that is asked; None for what is about the server.
        body: of the request.
    """

    def __init__(self, request: Request, hosting: Hosting, hosted: Hosted | None) -> None:
        """Wrap `request`."""
        self._request = request
        self.hosting = hosting
        self._hosted = hosted
        self.body = Body(request)
        self.head = request.method == "HEAD"

    @property
    def hosted(self) -> Hosted:
        """The repository that is asked."""
        assert self._hosted is not None
        return self._hosted

    @property
    def remote(self) -> LocalRemote:
        """The repository that is asked, as a remote."""
        return self.hosted.remote

    def word(self, name: str) -> str:
        """Return a part of the path, decoded."""
        return str(self._request.path_params.get(name, ""))

    def query(self, name: str) -> str | None:
        """Return a value of the query string."""
        return self._request.query_params.get(name)

    def number(self, name: str, default: int) -> int:
        """Return a number of the query string; raise `UsageError`."""
        value = self.query(name)
        if value is None or value == "":
            return default
        try:
            return int(value)
        except ValueError as exc:
            raise UsageError(f"{name} must be a number") from exc

    def paging(self) -> tuple[int, int]:
        """Return number and size of the page that is asked for."""
        page, size = self.number("page", 1), self.number("page_size", 100)
        return max(page, 1), min(max(size, 1), 100_000)


Handler = Callable[[Call], Response]


class Endpoint:
    """An ASGI application for one route."""

    def __init__(self, handler: Handler, hosting: Hosting, *, repository: bool = True) -> None:
        """Answer with what `handler` returns; it is called in a thread.

        Args:
            handler: makes the answer.
            hosting: where repositories are.
            repository: whether the route is about one.
        """
        self._handler = handler
        self._hosting = hosting
        self._repository = repository

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the lease lasts until everything is sent."""
        request = Request(scope, receive)
        hosted: Hosted | None = None
        try:
            try:
                if self._repository:
                    hosted = await self._take(request)
                call = Call(request, self._hosting, hosted)
                await call.body.begin()
                response = await anyio.to_thread.run_sync(self._handler, call, limiter=_limiter())
            except OxenfsError as exc:
                response = answers.error(exc)
            except ClientDisconnect:
                return
            except Exception as exc:
                log.exception("%s %s", request.method, request.url.path)
                response = answers.error(OxenfsError(f"internal error: {type(exc).__name__}"))
            await response(scope, receive, send)
        finally:
            if hosted is not None and not self._hosting.give_back_now(hosted):
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._hosting.give_back, hosted)

    async def _take(self, request: Request) -> Hosted:
        words = (request.path_params["namespace"], request.path_params["name"])
        # Each trip to a thread costs as much as a small answer.
        found = self._hosting.take_now(*words)
        if found is not None:
            return found
        return await anyio.to_thread.run_sync(self._hosting.take, *words, limiter=_limiter())


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("limiter of handlers")


def _limiter() -> anyio.CapacityLimiter:
    # A limiter belongs to the loop it was made in.
    try:
        return _limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_THREADS)
        _limiters.set(limiter)
        return limiter
