"""Yardstick for reading: shows a backing folder, read-only, and does nothing else.

The least that an honest pyfuse3 file system does per read: `os.open`, `os.preadv` into one buffer
that is kept, `os.close`. Nothing is checked, looked up or cached, so that the distance to it is
what verification and storage cost. No `flush` handler, infinite validity, `keep_cache`, `ro`:
each of these saves requests, and a yardstick must not be slow for want of them.

    python benchmarks/yardsticks/passthrough.py BACKING DIR --read-ahead-kb 1024
    umount DIR
"""

from __future__ import annotations

import argparse
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pyfuse3
from serving import serve

# The kernel asks for 1 MiB at most (fs.fuse.max_pages_limit is 256 pages).
BUFFER_BYTES = 2 << 20


class PassThrough(pyfuse3.Operations):
    """The tree below one folder of one backing file system, by its own inode numbers."""

    supports_dot_lookup = False

    def __init__(self, backing: Path) -> None:
        """Start with the root; other inodes become known when they are looked up or listed."""
        super().__init__()
        self.root = os.stat(backing).st_ino  # noqa: PTH116
        self.paths: dict[int, bytes] = {1: os.fsencode(backing)}
        self.listings: dict[int, list[tuple[bytes, os.stat_result]]] = {}
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def _attributes(self, inode: int, found: os.stat_result) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = pyfuse3.ModeT(found.st_mode)
        entry.st_nlink = found.st_nlink
        entry.st_uid, entry.st_gid = found.st_uid, found.st_gid
        entry.st_size, entry.st_blocks = found.st_size, found.st_blocks
        entry.st_atime_ns = found.st_atime_ns
        entry.st_mtime_ns = found.st_mtime_ns
        entry.st_ctime_ns = found.st_ctime_ns
        entry.entry_timeout = entry.attr_timeout = math.inf
        return entry

    def _child(self, path: bytes, found: os.stat_result) -> pyfuse3.EntryAttributes:
        inode = 1 if found.st_ino == self.root else found.st_ino
        self.paths[inode] = path
        return self._attributes(inode, found)

    def forget(self, inode_list: Iterable[object]) -> None:  # type: ignore[override]
        """Do nothing: the paths are few and kept. A plain function costs no coroutine."""

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Answer with `lstat` of the backing path."""
        path = self.paths[parent_inode] + b"/" + name
        try:
            return self._child(path, os.lstat(path))
        except OSError as exc:
            raise pyfuse3.FUSEError(exc.errno or 5) from exc

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Answer with `lstat` of the backing path."""
        return self._attributes(inode, os.lstat(self.paths[inode]))

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Read the backing folder once; the handle keeps what it found."""
        with os.scandir(self.paths[inode]) as found:
            entries = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in found)
        self.listings[inode] = entries
        return pyfuse3.FileHandleT(inode)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Fill the reply from `start_id` on until it is full."""
        folder, entries = self.paths[fh], self.listings[fh]
        for i in range(start_id, len(entries)):
            name, found = entries[i]
            entry = self._child(folder + b"/" + name, found)
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), entry, i + 1):
                return

    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        """Keep the listing: another handle of the same folder may still use it."""

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open the backing file; its descriptor is the handle."""
        fd = os.open(self.paths[inode], os.O_RDONLY | os.O_CLOEXEC)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(fd), keep_cache=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        """Read into the kept buffer; pyfuse3 copies it out before the next request."""
        view = self.buffer[:size]
        count = os.preadv(fh, [view], off)
        return cast("bytes", view if count == size else view[:count])

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        """Close the backing file."""
        os.close(fh)


def main() -> None:
    """Mount what the arguments describe."""
    parser = argparse.ArgumentParser(description="a read-only pass-through of a folder")
    parser.add_argument("backing", type=Path)
    parser.add_argument("mountpoint")
    parser.add_argument("--read-ahead-kb", type=int, help="1024 gives 1 MiB requests; needs root")
    args = parser.parse_args()
    if not stat.S_ISDIR(args.backing.stat().st_mode):
        parser.error(f"{args.backing} is not a folder")
    serve(PassThrough(args.backing.resolve()), args.mountpoint, "passthrough", args.read_ahead_kb)


if __name__ == "__main__":
    main()
