"""Yardstick for writing: shows a backing folder, and does what it is asked for there.

The least that an honest pyfuse3 file system does to make and write files: one system call of the
backing file system for each request, and one `fstat` for attributes. Nothing is noted anywhere, so
that the distance to it is what a journal and an index cost. No `flush` handler and no extended
attributes: the kernel asks for neither after the first time.

    python benchmarks/yardsticks/writable.py BACKING DIR
    umount DIR
"""

from __future__ import annotations

import argparse
import os
import stat
from pathlib import Path

import pyfuse3
from passthrough import PassThrough
from serving import serve


class WritableThrough(PassThrough):
    """The tree below one folder of one backing file system, for reading and writing."""

    def _made(self, path: bytes) -> pyfuse3.EntryAttributes:
        return self._child(path, os.lstat(path))

    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make and open the backing file; its descriptor is the handle."""
        path = self.paths[parent_inode] + b"/" + name
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IMODE(mode))
        entry = self._child(path, os.fstat(fd))
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(fd), keep_cache=True), entry

    async def mkdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make the backing folder."""
        path = self.paths[parent_inode] + b"/" + name
        os.mkdir(path, stat.S_IMODE(mode))  # noqa: PTH102
        return self._made(path)

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open the backing file; its descriptor is the handle."""
        fd = os.open(self.paths[inode], flags & ~os.O_CREAT | os.O_CLOEXEC)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(fd), keep_cache=True)

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        """Write to the backing file."""
        return os.pwrite(fh, buf, off)

    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Flush the backing file."""
        os.fsync(fh)

    async def unlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Remove the backing file."""
        os.unlink(self.paths[parent_inode] + b"/" + name)  # noqa: PTH108


def main() -> None:
    """Mount what the arguments describe."""
    parser = argparse.ArgumentParser(description="a pass-through of a folder that takes writes")
    parser.add_argument("backing", type=Path)
    parser.add_argument("mountpoint")
    args = parser.parse_args()
    if not stat.S_ISDIR(args.backing.stat().st_mode):
        parser.error(f"{args.backing} is not a folder")
    serve(WritableThrough(args.backing.resolve()), args.mountpoint, "writable", writable=True)


if __name__ == "__main__":
    main()
