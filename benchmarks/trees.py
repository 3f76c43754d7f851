"""Makes the source trees of the benchmarks: the same bytes each time, kept between runs.

For example:

    python benchmarks/trees.py --work DIR tiny      # 1M files of 8 bytes in 1,000 folders
    python benchmarks/trees.py --work DIR --remove
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from work import default_folder

DIR_NAME = "folder-%06d"
FILE_NAME = "file%06d.txt"
POOL_BYTES = 4 << 20


@dataclass(frozen=True)
class Tree:
    """A shape: `dirs` folders of `files` files of `size` bytes; with `dirs` 0, one folder.

    Contents differ from file to file, so that no two folders are equal and nothing is stored once
    for all; larger ones do not compress.
    """

    dirs: int
    files: int
    size: int

    @property
    def key(self) -> str:
        """Return the name of its folder."""
        return f"{self.dirs}x{self.files}x{self.size}"

    @property
    def file_count(self) -> int:
        """Return the number of files."""
        return max(self.dirs, 1) * self.files

    @property
    def entry_count(self) -> int:
        """Return what `find` prints: files, folders and the root."""
        return self.file_count + self.dirs + 1

    def at(self, work: Path) -> Path:
        """Return the folder that holds it, made if it is not there or not complete."""
        root, complete = work / "trees" / self.key, work / "trees" / f"{self.key}.complete"
        if not complete.exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            self._write(root)
            os.sync()
            complete.touch()
        return root

    def _write(self, root: Path) -> None:
        if self.size > POOL_BYTES:
            _write_large(root / (FILE_NAME % 0), self.size)
            return
        pool = random.Random(self.size).randbytes(POOL_BYTES)
        index = 0
        for folder in range(max(self.dirs, 1)):
            path = root / (DIR_NAME % folder) if self.dirs else root
            path.mkdir(exist_ok=True)
            folder_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            for i in range(self.files):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                fd = os.open(FILE_NAME % i, flags, 0o644, dir_fd=folder_fd)
                os.write(fd, self._content(index, pool))
                os.close(fd)
                index += 1
            os.close(folder_fd)

    def _content(self, index: int, pool: bytes) -> bytes:
        head = b"%07d\n" % index
        rest = self.size - len(head)
        start = index * 4099 % (POOL_BYTES - max(rest, 0))
        return head[: self.size] + pool[start : start + max(rest, 0)]


def _write_large(path: Path, size: int) -> None:
    source = random.Random(size)
    with path.open("wb") as file:
        while size > 0:
            file.write(source.randbytes(min(size, 1 << 20)))
            size -= 1 << 20


TREES = {
    "tiny": Tree(1000, 1000, 8),
    "one-folder": Tree(0, 200_000, 8),
    "small": Tree(20, 1000, 10_000),
    "import": Tree(100, 1000, 4096),
    "large": Tree(0, 1, 1 << 30),
}


def main() -> None:
    """Make the named trees, or remove what is kept."""
    parser = argparse.ArgumentParser(description="source trees of the benchmarks")
    parser.add_argument("name", nargs="*", help=", ".join(TREES))
    parser.add_argument("--work", type=Path, default=default_folder())
    parser.add_argument("--remove", action="store_true", help="remove all trees and repositories")
    args = parser.parse_args()
    if args.remove:
        for kept in ("trees", "repositories"):
            shutil.rmtree(args.work / kept, ignore_errors=True)
    for name in args.name:
        if name not in TREES:
            parser.error(f"no tree is called {name}")
        print(TREES[name].at(args.work))


if __name__ == "__main__":
    main()
