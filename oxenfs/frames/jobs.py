"""What decoding children are given to do."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from oxenfs.frames.wire import Buffer, Head

if TYPE_CHECKING:
    from oxenfs.frames.child import Child


class Bytes(Protocol):
    """An open video. `oxenfs.views.base.Reader` is one."""

    async def read(self, offset: int, size: int) -> Buffer:
        """Return the bytes from `offset` on; the buffer may be reused after the next await."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video as the view knows it.

    Attributes:
        key: the same for the same bytes, in every mount and for ever.
        size: in bytes.
        open: opens it for reading.
        label: for messages.
        unfinished: why there is nothing to see of it yet; None: it is complete.
    """

    key: str
    size: int
    open: Callable[[], Awaitable[Bytes]] = field(compare=False)
    label: str = field(compare=False, default="")
    unfinished: str | None = None


class Job(abc.ABC):
    """Something for a child to do, and what comes of it. Methods are called on the trio loop.

    Attributes:
        video: what it is about.
        urgent: somebody waits for it.
        awaited: the frames that somebody waits for.
        place: the frame it is about, -1 for all.
        child: who has it; None between two.
        given: when that one got it.
    """

    def __init__(self, video: Video, *, urgent: bool, place: int = -1) -> None:
        """Describe the job; `Pool.give` starts it."""
        self.id = 0
        self.video = video
        self.urgent = urgent
        self.awaited = {place} if urgent else set()
        self.place = place
        self.child: Child | None = None
        self.given = 0.0
        self.attempts = 0

    @abc.abstractmethod
    def message(self) -> tuple[Head, bytes]:
        """Return what the child is told, less the id and the video."""

    @abc.abstractmethod
    def take(self, head: Head, body: bytes) -> None:
        """Take a message about this job."""

    @abc.abstractmethod
    def fail(self, exc: Exception) -> None:
        """The job is over, without a result."""

    @abc.abstractmethod
    def end(self) -> None:
        """The job is over."""
