"""Calls handlers as pyfuse3 does, without a mount."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

import pyfuse3
import pytest

from oxenfs.mount.blocks import ROOT, Inode
from oxenfs.mount.operations import Operations


class Entry(NamedTuple):
    inode: int
    mode: int
    size: int
    mtime_ns: int


def entry_of(reply: pyfuse3.EntryAttributes) -> Entry:
    """Copy what a handler replied, as pyfuse3 does at once: the object is used again."""
    return Entry(reply.st_ino, reply.st_mode, reply.st_size, reply.st_mtime_ns)


class Lister:
    """Stands in for the kernel's buffer of directory entries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._room = 0
        self._found: list[tuple[bytes, Entry, int]] = []
        monkeypatch.setattr(pyfuse3, "readdir_reply", self._reply)

    def _reply(
        self, token: object, name: bytes, entry: pyfuse3.EntryAttributes, next_id: int
    ) -> bool:
        if len(self._found) == self._room:
            return False
        self._found.append((name, entry_of(entry), next_id))
        return True

    async def all(
        self, handlers: Operations, inode: Inode, room: int = 7
    ) -> list[tuple[bytes, Entry]]:
        """List a directory with replies of up to `room` entries."""
        fh = await handlers.opendir(inode)
        listed: list[tuple[bytes, Entry]] = []
        start = 0
        while True:
            self._found, self._room = [], room
            await handlers.readdir(fh, start, None)
            if not self._found:
                break
            listed += [(name, entry) for name, entry, _ in self._found]
            start = self._found[-1][2]
        await handlers.releasedir(fh)
        return listed


async def find(handlers: Operations, path: bytes) -> Inode:
    inode = ROOT
    for name in filter(None, path.split(b"/")):
        inode = Inode((await handlers.lookup(inode, name)).st_ino)
    return inode


async def code_of(call: Awaitable[object]) -> int:
    """Return the errno that a handler answers."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await call
    return caught.value.errno
