"""What comes out of a gzip stream, piece by piece, as long as it stays within measure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from oxenfs.errors import IntegrityError

_STEP_BYTES = 1 << 20
_GZIP = 31
_RATIO_FREE_BYTES = 64 << 20


class Inflated:
    """What comes out of a gzip stream.

    Attributes:
        waiting: that nobody has taken yet.
    """

    def __init__(self, pieces: Iterable[bytes], ratio: int) -> None:
        """Inflate `pieces`, to `ratio` times their bytes at the most beyond the first 64 MiB."""
        self._pieces = iter(pieces)
        self._ratio = ratio
        self._inflate = zlib.decompressobj(_GZIP)
        self._input = b""
        self.waiting = bytearray()
        self._sent = 0
        self._out = 0
        self._begun = False

    def drop(self, size: int) -> None:
        """Let go of the first bytes of what waits."""
        if size == len(self.waiting):
            self.waiting = bytearray()
        elif size:
            del self.waiting[:size]

    def more(self, wanted: int) -> bool:
        """Have more bytes wait, `wanted` if they come; return False if there are no more."""
        before = len(self.waiting)
        while len(self.waiting) == before or len(self.waiting) < wanted:
            if not self._more():
                return False
        return True

    def end(self) -> None:
        """Read to the end, where only zeros may follow; raise `IntegrityError`."""
        while True:
            if self.waiting.count(0) != len(self.waiting):
                raise IntegrityError("an archive goes on behind its end")
            self.waiting.clear()
            if not self._more():
                return

    def _more(self) -> bool:
        """Inflate some more; return whether there may be more yet."""
        if not self._input:
            piece = next(self._pieces, None)
            if piece is None:
                if self._begun:
                    raise IntegrityError("an archive is cut off")
                return False
            self._input = bytes(piece)
            self._sent += len(piece)
        self._begun = self._begun or bool(self._input)
        try:
            data = self._inflate.decompress(self._input, _STEP_BYTES)
        except zlib.error as exc:
            raise IntegrityError(f"an archive is not gzip, or damaged: {exc}") from exc
        self._input = self._inflate.unconsumed_tail
        if self._inflate.eof:
            self._input = self._inflate.unused_data
            self._inflate = zlib.decompressobj(_GZIP)
            self._begun = False
        self.waiting += data
        self._out += len(data)
        if self._out > _RATIO_FREE_BYTES and self._out > self._sent * self._ratio:
            raise IntegrityError("an archive inflates beyond all measure")
        return True
