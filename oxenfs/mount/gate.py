"""Lets changes through, or holds them back while the layer below them is exchanged."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio


class Gate:
    """Many may be inside; whoever closes it waits until they are out. Used from one trio loop."""

    def __init__(self) -> None:
        """Begin open."""
        self._inside = 0
        self._opened: trio.Event | None = None
        self._empty: trio.Event | None = None

    async def __aenter__(self) -> None:
        """Go in, as soon as the gate is open."""
        while self._opened is not None:
            await self._opened.wait()
        self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        """Go out."""
        self._inside -= 1
        if not self._inside and self._empty is not None:
            self._empty.set()

    @contextlib.asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Keep everybody out until the end; waits for those who are inside."""
        while self._opened is not None:
            await self._opened.wait()
        self._opened = trio.Event()
        try:
            if self._inside:
                self._empty = trio.Event()
                await self._empty.wait()
            yield
        finally:
            self._empty = None
            opened, self._opened = self._opened, None
            opened.set()
