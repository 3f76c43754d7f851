"""A service and videos for tests of the decoding children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from oxenfs.frames.jobs import Video


class Bytes:
    """A video in memory, or one that never answers."""

    def __init__(self, data: bytes, before: Callable[[int], Awaitable[None]] | None = None) -> None:
        self._data = data
        self._before = before
        self.reads = 0

    async def read(self, offset: int, size: int) -> bytes:
        self.reads += 1
        if self._before is not None:
            await self._before(self.reads)
        else:
            await trio.lowlevel.checkpoint()
        return self._data[offset : offset + size]

    def close(self) -> None:
        pass


def video(name: str, data: bytes, before: Callable[[int], Awaitable[None]] | None = None) -> Video:
    async def open() -> Bytes:
        return Bytes(data, before)

    return Video(name, len(data), open, name)
