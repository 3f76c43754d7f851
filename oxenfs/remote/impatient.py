"""A remote that is asked only as long as it answers: for answers that are not worth waiting for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from oxenfs.errors import RemoteUnavailable
from oxenfs.remote.asking import Asking
from oxenfs.remote.base import Remote

T = TypeVar("T")

SILENCE_S = 1.5
"""How long a server may be silent before it is taken for one that does not answer now: a connection
takes up to three trips to the other end of the world, and few listings take a second to be made."""


class Impatient(Asking):
    """Asks no more after the first question that got no answer. For one command, and one thread."""

    def __init__(self, inner: Remote) -> None:
        """Ask `inner`, whose own deadline should be `SILENCE_S`."""
        super().__init__(inner)
        self._missed: RemoteUnavailable | None = None

    def ask(self, call: Callable[[], T]) -> T:
        """Call, unless a question got no answer before; raise `RemoteUnavailable` then."""
        if self._missed is not None:
            raise self._missed
        try:
            return call()
        except RemoteUnavailable as exc:
            self._missed = exc
            raise
