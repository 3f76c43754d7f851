"""What goes wrong with a disk cache: said in the log from time to time, and never to a reader."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from oxenfs.errors import IntegrityError, OxenfsError

log = logging.getLogger(__name__)

DAMAGED = "index-is-damaged"
"""A file of this name in a cache's folder: the index is not to be opened again."""

WARN_AGAIN_S = 60.0
"""How long nothing more of one kind is said."""


class Troubles:
    """The troubles of one cache folder. Safe to use from several threads.

    Attributes:
        is_broken: whether the index was found damaged: nothing is to be written to it any more.
    """

    def __init__(self, folder: Path) -> None:
        """Note what goes wrong in `folder`."""
        self.is_broken = False
        self._folder = folder
        self._warned_s = 0.0

    def note(self, exc: OxenfsError) -> None:
        """Say what went wrong, and see to it that a damaged index is not opened again."""
        if isinstance(exc, IntegrityError):
            # Nothing is written to it any more, and the next start makes a new one.
            self.is_broken = True
            with contextlib.suppress(OSError):
                (self._folder / DAMAGED).touch(mode=0o600)
        now = time.monotonic()
        if now - self._warned_s > WARN_AGAIN_S or not self._warned_s:
            self._warned_s = now
            log.warning("not cached: %s", exc)
