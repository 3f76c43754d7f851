"""Gives the kernel files' bytes before it asks for them, so that reading them is no request at all.

Only of files whose bytes never change: an inode of a commit means the same bytes for ever, also
when the mount moves. Bytes were checked before they get here.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Sequence

import pyfuse3

from oxenfs.store.flights import Data

log = logging.getLogger(__name__)

_CLOSE_S = 1.0


class Pages:
    """The kernel's page cache of one mount. `give` may be called from several threads."""

    def __init__(self) -> None:
        """Begin; the file system must be mounted when something is given."""
        self._giving = 0
        self._closed = False
        self._nobody = threading.Condition()

    def give(self, files: Sequence[tuple[int, Data]]) -> None:
        """Put whole files, inode and bytes, into the page cache; never fails.

        A file that is being read at this moment is waited for until that is answered: what gives
        must have told the event loop before.
        """
        with self._nobody:
            if self._closed:
                return
            self._giving += 1
        try:
            for inode, data in files:
                if self._closed:
                    return
                pyfuse3.notify_store(pyfuse3.InodeT(inode), 0, bytes(data))
        except OSError as exc:
            # ENOENT: the kernel has forgotten the file, or never knew it.
            if exc.errno != errno.ENOENT:
                self._closed = True
                log.info("the kernel takes no pages: %s", exc.strerror)
        finally:
            with self._nobody:
                self._giving -= 1
                self._nobody.notify_all()

    def close(self) -> None:
        """Give nothing any more: the session is about to end. Blocks up to a second."""
        with self._nobody:
            self._closed = True
            self._nobody.wait_for(lambda: not self._giving, _CLOSE_S)
