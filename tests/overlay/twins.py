"""The same operations on a mount and on a plain folder, and what both look like then."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Look = dict[bytes, tuple[Any, ...]]


def look(folder: Path, *, links: bool = True) -> Look:
    """Return everything below a folder by path: kind and permissions, bytes, link count."""
    found: Look = {}
    top = os.fsencode(folder)
    for place, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(place, name)
            facts = os.lstat(path)
            about: tuple[Any, ...] = (stat.filemode(facts.st_mode),)
            if stat.S_ISREG(facts.st_mode):
                with open(path, "rb") as file:
                    data = file.read()
                assert len(data) == facts.st_size, path
                about += (data, facts.st_nlink if links else None)
            elif stat.S_ISLNK(facts.st_mode):
                about += (os.readlink(path),)
            found[os.path.relpath(path, top)] = about
    return found


def outcome(action: Callable[[], object]) -> object:
    """Return what an action gives: its result, or the errno."""
    try:
        return action()
    except OSError as exc:
        return f"errno {exc.errno}"


class Twins:
    """A mount and a plain folder that get the same operations.

    Attributes:
        broken: link counts are not to be compared: a commit has made files of links.
    """

    def __init__(self, mount: Path, plain: Path) -> None:
        self.mount = mount
        self.plain = plain
        self.broken = False
        self._open: dict[str, tuple[int, int]] = {}

    def both(self, action: Callable[[Path], object]) -> object:
        """Do it in the mount and in the plain folder; the outcomes must be the same."""
        ours, theirs = (
            outcome(lambda: action(self.mount)),
            outcome(lambda: action(self.plain)),
        )
        assert ours == theirs
        return ours

    def write(self, path: str, offset: int, data: bytes, *, create: bool) -> None:
        def action(top: Path) -> None:
            flags = os.O_WRONLY | (os.O_CREAT if create else 0)
            with descriptor(top / path, flags) as fd:
                os.pwrite(fd, data, offset)

        self.both(action)

    def append(self, path: str, data: bytes) -> None:
        def action(top: Path) -> None:
            with descriptor(top / path, os.O_WRONLY | os.O_APPEND) as fd:
                os.write(fd, data)

        self.both(action)

    def replace(self, path: str, data: bytes) -> None:
        def action(top: Path) -> None:
            with descriptor(top / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
                os.write(fd, data)

        self.both(action)

    def truncate(self, path: str, size: int) -> None:
        self.both(lambda top: os.truncate(top / path, size))

    def open(self, handle: str, path: str) -> None:
        """Open a file for reading and writing, and keep it open."""
        if handle in self._open:
            return
        fds = []
        for top in (self.mount, self.plain):
            try:
                fds.append(os.open(top / path, os.O_RDWR))
            except OSError as exc:
                fds.append(-(exc.errno or 1))
        assert (fds[0] < 0, fds[1] < 0) in ((True, True), (False, False)), fds
        if fds[0] >= 0:
            self._open[handle] = (fds[0], fds[1])
        else:
            assert fds[0] == fds[1]

    def write_open(self, handle: str, offset: int, data: bytes) -> None:
        for fd in self._open.get(handle, ()):
            os.pwrite(fd, data, offset)

    def check_open(self, *, links: bool = True) -> None:
        for ours, theirs in self._open.values():
            size = os.fstat(theirs).st_size
            assert os.fstat(ours).st_size == size
            assert os.pread(ours, size + 1, 0) == os.pread(theirs, size + 1, 0)
            if links and not self.broken:
                assert os.fstat(ours).st_nlink == os.fstat(theirs).st_nlink

    def close(self, handle: str) -> None:
        for fd in self._open.pop(handle, ()):
            os.close(fd)

    def close_all(self) -> None:
        for handle in list(self._open):
            self.close(handle)

    def break_links(self) -> None:
        """Make files of their own of hard links in the plain folder, as a commit does."""
        self.broken = True
        for place, _, files in os.walk(self.plain):
            for name in files:
                path = Path(place, name)
                if not path.is_symlink() and path.stat().st_nlink > 1:
                    copy = path.with_name(f"{name}.copy")
                    shutil.copy2(path, copy)
                    copy.rename(path)

    def compare(self) -> None:
        links = not self.broken
        assert look(self.mount, links=links) == look(self.plain, links=links)
        self.check_open()


@contextlib.contextmanager
def descriptor(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)
