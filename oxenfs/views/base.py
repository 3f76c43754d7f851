"""What a mount is made of: nodes. A view is a `Directory`; features wrap one in another.

Nodes hold no kernel state and may be shared by tasks.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from oxenfs.store.columns import Listing

Buffer = bytes | bytearray | memoryview

FOREVER = math.inf
"""For `Attributes.valid_for`: what is inside a commit never changes."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` shows of a node.

    Attributes:
        directory: whether it is one.
        size: in bytes; of a directory: 0.
        mtime_ns: Unix time.
        valid_for: how long the kernel may keep this, in seconds; `FOREVER` inside a commit.
    """

    directory: bool
    size: int
    mtime_ns: int
    valid_for: float = FOREVER


class Reader(Protocol):
    """An open file. Reads its file's bytes as they were when it was opened."""

    async def read(self, offset: int, size: int) -> Buffer:
        """Return the bytes from `offset` on, fewer than `size` only at the end of the file.

        The buffer may be reused by the next call of any reader: use it up before the next await.

        Raises:
            IntegrityError: the bytes that are there are not the right ones.
            RemoteUnavailable: they did not come within the deadline.
        """

    def close(self) -> None:
        """Let go of what the reader holds."""


class Node(abc.ABC):
    """Something with a name in a directory.

    A class and not a protocol: handlers ask `isinstance` at every open, which is a hundred times
    slower for a protocol.
    """

    __slots__ = ()

    @property
    @abc.abstractmethod
    def key(self) -> Hashable:
        """The same for the same thing as long as the mount lives."""

    @abc.abstractmethod
    async def stat(self) -> Attributes:
        """Return the attributes."""

    @abc.abstractmethod
    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the extended attributes by full name, in listing order."""


class File(Node):
    """A regular file."""

    __slots__ = ()

    @abc.abstractmethod
    async def open(self) -> Reader:
        """Return a new reader; costs nothing on the network."""


class Identity(NamedTuple):
    """What makes a file's bytes these bytes and no others.

    Attributes:
        where: what the other values are of.
        opened: how often it was opened for writing while somebody looked.
        unfinished: somebody may be writing to it.
    """

    where: tuple[Hashable, ...]
    size: int
    mtime_ns: int
    ctime_ns: int
    opened: int
    unfinished: bool


class ChangingFile(File):
    """A file that is not of a commit, as it was at one moment."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def identity(self) -> Identity:
        """What it was then; with other bytes it is never the same again."""


class Directory(Node):
    """A directory.

    When a mount moves, a directory whose `key` is the same as before is the same, with all below.
    """

    __slots__ = ()

    @property
    def rows_tell_content(self) -> bool:
        """Whether equal rows in two versions of this directory are the same things.

        A file then keeps its inode, and its pages in the kernel, when the mount moves; a folder is
        not looked into. Otherwise every file of a directory that changed is taken for a new one.
        """
        return False

    @property
    def shares(self) -> Hashable | None:
        """The same in directories whose files may be one: files of equal rows share an inode.

        Equal rows of two such directories must be the same things. None: there is no other.
        """
        return None

    @property
    def passes(self) -> bool:
        """Whether it is of one moment only: a later one has another in its place."""
        return False

    @property
    def by_name(self) -> bool:
        """Whether children are looked up by `unlisted`, and the listing is only for show."""
        return False

    def expect(self, name: bytes) -> None:  # a hint; few take it
        """Note that a child called `name` is about to be looked up."""

    @abc.abstractmethod
    async def listing(self) -> Listing:
        """Return the children, sorted by name, as immutable columns; the snapshot never changes."""

    @abc.abstractmethod
    def child(self, listing: Listing, index: int) -> Node:
        """Return the node in row `index` of `listing`, which came from this directory. No I/O."""

    @abc.abstractmethod
    async def unlisted(self, name: bytes) -> Node:
        """Return a child that no listing shows; raise `NotFound` if there is none of that name."""


async def lookup(directory: Directory, name: bytes) -> Node:
    """Return the child called `name`, listed or not; raise `NotFound` if there is none."""
    listing = await directory.listing()
    index = listing.find(name)
    if index >= 0:
        return directory.child(listing, index)
    return await directory.unlisted(name)
