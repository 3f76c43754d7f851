"""Yardstick for listings: constant names and attributes, no content, nothing looked up.

The fastest that pyfuse3 can list: the names are made once and shared by all folders, inode numbers
are computed from the position, and one `EntryAttributes` is filled again and again
(`readdir_reply` copies it). What a real file system needs beyond this is its own cost.

    python benchmarks/yardsticks/constant.py DIR --dirs 1000 --files 1000
    python benchmarks/yardsticks/constant.py DIR --dirs 0 --files 200000     # one folder
    umount DIR
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import stat
import time
from collections.abc import Sequence

import pyfuse3
from serving import serve

FOLDER = stat.S_IFDIR | 0o555
FILE = stat.S_IFREG | 0o444


class ConstantTree(pyfuse3.Operations):
    """`dirs` folders of `files` files each; with `dirs` 0 the files lie in the root.

    Inodes: 1 is the root, then the folders, then the files, folder by folder.
    """

    supports_dot_lookup = False

    def __init__(self, dirs: int, files: int, dir_name: str, file_name: str, size: int) -> None:
        """Make the names.

        Args:
            dirs: number of folders.
            files: number of files in each of them.
            dir_name: printf template of a folder's name, filled with its number.
            file_name: the same for a file.
            size: of every file, in bytes.
        """
        super().__init__()
        self.dirs, self.files = dirs, files
        self.first_file = 2 + dirs
        self.dir_names = [os.fsencode(dir_name % i) for i in range(dirs)]
        self.file_names = [os.fsencode(file_name % i) for i in range(files)]
        self.positions = {name: i for i, name in enumerate(self.file_names)}
        self.dir_positions = {name: i for i, name in enumerate(self.dir_names)}
        now = time.time_ns()
        self.folder = self._template(FOLDER, 0, now)
        self.file = self._template(FILE, size, now)

    def _template(self, mode: int, size: int, now: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_mode = pyfuse3.ModeT(mode)
        entry.st_nlink = 1
        entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
        entry.st_size = size
        entry.st_blocks = -(-size // 512)
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = now
        entry.entry_timeout = entry.attr_timeout = math.inf
        return entry

    def _children(self, inode: int) -> tuple[Sequence[bytes], int, pyfuse3.EntryAttributes]:
        """Return names, the first one's inode, and the attributes of the children of `inode`."""
        if inode == 1 and self.dirs:
            return self.dir_names, 2, self.folder
        folder = 0 if inode == 1 else inode - 2
        return self.file_names, self.first_file + folder * self.files, self.file

    def forget(self, inode_list: object) -> None:  # type: ignore[override]
        """Do nothing: inodes are computed. A plain function, as pyfuse3 awaits only coroutines."""

    async def lookup(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Answer by dictionary; a listing makes these unnecessary."""
        _, first, entry = self._children(parent_inode)
        positions = self.positions if entry is self.file else self.dir_positions
        position = positions.get(name)
        if position is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        entry.st_ino = pyfuse3.InodeT(first + position)
        return entry

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Answer from the kind of the inode."""
        entry = self.folder if inode < self.first_file else self.file
        entry.st_ino = inode
        return entry

    async def opendir(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileHandleT:
        """Use the inode as handle."""
        return pyfuse3.FileHandleT(inode)

    async def readdir(
        self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        """Fill the reply from `start_id` on until it is full."""
        names, first, entry = self._children(fh)
        reply = pyfuse3.readdir_reply
        for i in range(start_id, len(names)):
            entry.st_ino = first + i
            if not reply(token, names[i], entry, i + 1):
                return


def main() -> None:
    """Mount what the arguments describe."""
    parser = argparse.ArgumentParser(description="a file system of constant listings")
    parser.add_argument("mountpoint")
    parser.add_argument("--dirs", type=int, default=1000, help="0: files lie in the root")
    parser.add_argument("--files", type=int, default=1000, help="in each folder")
    parser.add_argument("--dir-name", default="folder-%06d")
    parser.add_argument("--file-name", default="file%06d.txt")
    parser.add_argument("--size", type=int, default=8, help="of every file, in bytes")
    args = parser.parse_args()
    tree = ConstantTree(args.dirs, args.files, args.dir_name, args.file_name, args.size)
    serve(tree, args.mountpoint, "constant")


if __name__ == "__main__":
    main()
