"""Reads that failed just now: the kernel asks once more, and gets the same answer at once.

A page that did not come with what was read ahead is asked for by itself before a program hears of
the failure. Asking the server again would make every failing read take twice its deadline.
"""

from __future__ import annotations

import errno
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import pyfuse3

from oxenfs.errors import OxenfsError, RemoteUnavailable
from oxenfs.mount.errno import errno_of

# It comes at once, unless the machine is busy. A program that tries again is answered in earnest:
# what failed is forgotten with the first question that was answered by it.
_AGAIN_S = 0.3
_KEPT = 1000


class _Failed(NamedTuple):
    offset: int
    end: int
    until_s: float
    code: int


class FailedReads:
    """What failed last, by file handle, for a moment. Used from one trio loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with none; `monotonic` is the clock."""
        self._monotonic = monotonic
        self._failed: OrderedDict[int, _Failed] = OrderedDict()

    def __len__(self) -> int:
        """Return how many handles there are of which something is known."""
        return len(self._failed)

    def error(self, handle: int, offset: int, size: int, exc: OxenfsError) -> pyfuse3.FUSEError:
        """Return what a read ends with that failed with `exc`, now and if it is asked again."""
        code = errno_of(exc) or errno.EIO
        # Others may go better the next time: what was damaged on the way is fetched again.
        if isinstance(exc, RemoteUnavailable):
            now = self._monotonic()
            end = offset + size
            before = self._failed.pop(handle, None)
            if before is not None and before.until_s > now and before.code == code:
                # One read of a program may be several of the kernel's.
                offset, end = min(offset, before.offset), max(end, before.end)
            self._failed[handle] = _Failed(offset, end, now + _AGAIN_S, code)
            if len(self._failed) > _KEPT:
                self._failed.popitem(last=False)
        return pyfuse3.FUSEError(code)

    def check(self, handle: int, offset: int) -> None:
        """Raise what a read ended with just now, if this is the kernel asking once more."""
        failed = self._failed.pop(handle, None)
        if (
            failed is not None
            and failed.offset <= offset < failed.end
            and self._monotonic() < failed.until_s
        ):
            raise pyfuse3.FUSEError(failed.code)
