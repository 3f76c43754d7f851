"""What is being fetched: one flight per small blob or chunk, however many wait for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxenfs.model import ObjectHash
from oxenfs.remote.base import BlobPlace

if TYPE_CHECKING:
    import trio

Data = bytes | bytearray

FlightKey = tuple[ObjectHash, int, int]
"""Blob, size, number of the chunk; the number is -1 for a small blob as a whole.

The size is part of it: two files may claim one hash, and only one of them be right.
"""

WHOLE = -1


@dataclass(slots=True, eq=False)
class Flight:
    """Bytes on their way. Changed only under the lock of `Transfers`.

    Attributes:
        data: when they have come.
        error: why they do not come.
        asked: whether somebody waits, or waited, for them; otherwise they are read ahead.
        tag: what whoever is told of what came ahead calls it; 0: nobody is told.
        waiting: how many wait now.
        alone: whether it is fetched here, whoever else is about to.
        deadline_s: no new try begins after it, on the clock of `time.monotonic`.
    """

    key: FlightKey
    place: BlobPlace | None
    deadline_s: float
    asked: bool = False
    tag: int = 0
    data: Data | None = None
    error: Exception | None = None
    started: bool = False
    strikes: int = 0
    waiting: int = 0
    alone: bool = False
    events: list[trio.Event] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.data is not None or self.error is not None

    @property
    def size(self) -> int:
        """Of the blob, in bytes."""
        return self.key[1]


class Recent:
    """The last bytes that came, in memory, up to a number of bytes.

    Who reads them does not make them stay: a file that is read in order needs what came ahead of
    it, not what it is done with. Changes need a lock, looking does not.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Keep up to `limit_bytes`."""
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Hashable, Data] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Data | None:
        """Return bytes, None if they came too long ago, or never."""
        return self._kept.get(key)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def put(self, key: Hashable, data: Data) -> None:
        """Keep bytes; those that came first go."""
        self.drop(key)
        self._kept[key] = data
        self._bytes += len(data)
        while self._bytes > self._limit_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def drop(self, key: Hashable) -> None:
        """Forget bytes."""
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= len(old)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0
