"""What an overlay knows about one file or folder, and how that is packed into the index.

Things have a number (`Nid`) and no path: an entry (folder's number, name) leads to one. So a folder
is renamed by moving one entry, and a file can have several names.
"""

from __future__ import annotations

import stat
from typing import NamedTuple, TypeAlias

import msgpack
import xxhash

Nid: TypeAlias = int
"""The number of a node, or of a file of bytes. Never given twice in one overlay."""

ROOT: Nid = 1
WHITEOUT: Nid = 0
"""In an entry: what the commit has there is gone."""

FILE_MODE = stat.S_IFREG | 0o644
DIRECTORY_MODE = stat.S_IFDIR | 0o755


class Node(NamedTuple):
    """A file, folder, symlink or special file that differs from the commit, or has something new.

    Attributes:
        mode: type and permissions, as `st_mode`.
        nlink: names; of a folder: 2 and one for each folder in it.
        size, atime_ns, mtime_ns: of a file without a file of bytes of its own; else those of that
            file count.
        ctime_ns: when anything of it changed last, but for bytes.
        origin: where the commit has it: its bytes, or the entries that shine through. None if the
            commit has nothing to do with it; `b""` is the root.
        data: number of its file of bytes; 0 if it has none.
        limit: bytes from here on are not the origin's, whatever is missing; None if the file of
            bytes is all there is.
        rdev: of a device.
        target: of a symlink.
        parent, name: where a folder is. Of anything else only where it was first.
    """

    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    origin: bytes | None = None
    data: Nid = 0
    limit: int | None = None
    rdev: int = 0
    target: bytes = b""
    parent: Nid = 0
    name: bytes = b""

    @property
    def is_directory(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


class Entry(NamedTuple):
    """A name in a folder.

    Attributes:
        nid: what it leads to; `WHITEOUT` for nothing.
        covers: whether the folder's origin has an entry of that name too.
        plain: whether it leads to a regular file that the commit has nothing to do with; a file of
            which that is not said may be one too. Saves a look at the node.
    """

    nid: Nid
    covers: bool
    plain: bool = False

    @property
    def is_whiteout(self) -> bool:
        """Whether the entry says that there is nothing."""
        return self.nid == WHITEOUT


def pack_node(node: Node) -> bytes:
    """Return the value of a node."""
    packed: bytes = msgpack.packb(tuple(node))
    return packed


def unpack_node(value: bytes) -> Node:
    """Return the node of a value."""
    return Node(*msgpack.unpackb(value))


def pack_entry(entry: Entry) -> bytes:
    """Return the value of an entry."""
    return (entry.nid << 2 | entry.plain << 1 | entry.covers).to_bytes(9, "big")


def unpack_entry(value: bytes) -> Entry:
    """Return the entry of a value."""
    number = int.from_bytes(value, "big")
    return Entry(number >> 2, number & 1 == 1, number & 2 == 2)


def node_key(nid: Nid) -> bytes:
    """Return the key of a node; also what keys of its entries and xattrs begin with."""
    return nid.to_bytes(8, "big")


def origin_key(path: bytes) -> bytes:
    """Return the key under which the node is found that came from `path` of the commit."""
    return xxhash.xxh3_128_digest(path)


def joined(folder: bytes, name: bytes) -> bytes:
    """Return the path of a name in a folder; `b""` is the root."""
    return folder + b"/" + name if folder else name
