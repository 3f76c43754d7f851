"""What was made of videos is written soon: nobody waits, and a hundred are one transaction."""

from __future__ import annotations

import trio

from oxenfs.frames.kept import Kept

_WRITE_S = 0.1
_WRITE_BYTES = 4 << 20


class Keeping:
    """What is about to be written. Used from one trio loop."""

    def __init__(self, kept: Kept) -> None:
        """Put things into `kept`."""
        self._kept = kept
        self._nursery: trio.Nursery | None = None
        self._waiting_bytes = 0
        self._writing = False

    def begin(self, nursery: trio.Nursery) -> None:
        """Write in `nursery` from now on."""
        self._nursery = nursery

    def stop(self) -> None:
        """Start no more writing: what is kept from now on, the caller writes."""
        self._nursery = None

    def keep(self, key: bytes, value: bytes) -> None:
        """Keep something, and have it written soon."""
        self._kept.put(key, value)
        self._waiting_bytes += len(value)
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._nursery.start_soon(self._write_soon)

    async def _write_soon(self) -> None:
        while self._waiting_bytes:
            if self._waiting_bytes < _WRITE_BYTES:
                await trio.sleep(_WRITE_S)
            self._waiting_bytes = 0
            await self._kept.write()
        self._writing = False
