"""What the kernel is told of an inode: its attributes, and for how long they hold."""

from __future__ import annotations

import math
import os

import pyfuse3

from oxenfs.mount.blocks import Inode
from oxenfs.store.columns import Listing
from oxenfs.views.base import Attributes

FOREVER_S = 365 * 24 * 3600.0
BLOCK_BYTES = 4096


class Replies:
    """Makes replies. Each is valid until the next one is made."""

    def __init__(self, directory_mode: int, file_mode: int) -> None:
        """Give all directories the one mode and all files the other; both belong to us."""
        self._directory_mode = pyfuse3.ModeT(directory_mode)
        self._file_mode = pyfuse3.ModeT(file_mode)
        # One object for all: pyfuse3 copies it before the handler's task goes on.
        entry = self._entry = pyfuse3.EntryAttributes()
        entry.st_uid = os.getuid()
        entry.st_gid = os.getgid()
        entry.st_nlink = 1
        entry.st_blksize = BLOCK_BYTES

    def of_node(self, inode: Inode, attributes: Attributes) -> pyfuse3.EntryAttributes:
        """Return the reply for a node with those attributes."""
        entry = self.forever()
        if attributes.valid_for != math.inf:
            entry.entry_timeout = entry.attr_timeout = attributes.valid_for
        self.set_kind(entry, directory=attributes.directory)
        self._set_facts(entry, inode, attributes.size, attributes.mtime_ns)
        return entry

    def of_row(self, inode: Inode, listing: Listing, row: int) -> pyfuse3.EntryAttributes:
        """Return the reply for a row of a listing."""
        entry = self.forever()
        self.set_kind(entry, directory=listing.is_directory(row))
        self._set_facts(entry, inode, listing.sizes[row], listing.mtimes[row])
        if listing.exact is not None and not listing.exact[row]:
            entry.attr_timeout = 0.0
        return entry

    def forever(self) -> pyfuse3.EntryAttributes:
        """Return a reply that holds for ever, and still says what the last one said."""
        entry = self._entry
        entry.entry_timeout = entry.attr_timeout = FOREVER_S
        entry.st_nlink = 1
        return entry

    def set_kind(self, entry: pyfuse3.EntryAttributes, *, directory: bool) -> None:
        """Let a reply be about a directory, or a file."""
        entry.st_mode = self._directory_mode if directory else self._file_mode

    @staticmethod
    def _set_facts(entry: pyfuse3.EntryAttributes, inode: Inode, size: int, mtime_ns: int) -> None:
        entry.st_ino = inode
        entry.st_size = size
        entry.st_blocks = (size + 511) >> 9
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = mtime_ns
