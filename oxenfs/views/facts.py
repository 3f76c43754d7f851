"""`.oxenfs/info.json` in the root of a mount: which commit this is, for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping

from oxenfs.errors import NotFound
from oxenfs.model import Kind
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Directory, File, Node, Reader

log = logging.getLogger(__name__)

FOLDER = b".oxenfs"
INFO = b"info.json"


class WithFolder(Directory):
    """A directory with one more child, there by name but in no listing.

    If the directory itself has an entry of that name, the entry wins, and the log says so once.

    Attributes:
        inner: the directory without that child.
    """

    def __init__(self, inner: Directory, name: bytes, extra: Directory) -> None:
        """Show `extra` as `name` in `inner`."""
        self.inner = inner
        self._name = name
        self._extra = extra
        self._hidden_is_told = False

    @property
    def key(self) -> tuple[object, object]:
        """The inner directory's, and that of the folder."""
        return (self.inner.key, self._extra.key)

    @property
    def rows_tell_content(self) -> bool:
        """As in the inner directory: the folder is in no listing."""
        return self.inner.rows_tell_content

    @property
    def shares(self) -> Hashable | None:
        """As in the inner directory."""
        return self.inner.shares

    @property
    def by_name(self) -> bool:
        """As in the inner directory."""
        return self.inner.by_name

    async def stat(self) -> Attributes:
        """Return the inner directory's attributes."""
        return await self.inner.stat()

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return the inner directory's xattrs."""
        return await self.inner.xattrs()

    async def listing(self) -> Listing:
        """Return the inner directory's listing: the folder is not in it."""
        listing = await self.inner.listing()
        if not self._hidden_is_told:
            self._hidden_is_told = True
            if listing.find(self._name) >= 0:
                log.warning("the repository has %r itself, which hides ours", self._name.decode())
        return listing

    def child(self, listing: Listing, index: int) -> Node:
        """Return the inner directory's child."""
        return self.inner.child(listing, index)

    async def unlisted(self, name: bytes) -> Node:
        """Return the extra folder, or whatever the inner directory has hidden."""
        if name == self._name:
            return self._extra
        return await self.inner.unlisted(name)


class BytesFolder(Directory):
    """A directory of files whose bytes are in memory."""

    def __init__(self, key: str, files: Mapping[bytes, bytes], mtime_ns: int) -> None:
        """Show `files` by name."""
        self._key = key
        self._files = dict(files)
        self._mtime_ns = mtime_ns
        rows = [
            Row(name, Kind.TEXT, bytes(16), len(content), mtime_ns, bytes(16))
            for name, content in sorted(self._files.items())
        ]
        self._listing = Listing(columns_of(rows))

    @property
    def key(self) -> str:
        """The key given."""
        return self._key

    async def stat(self) -> Attributes:
        """Return the attributes."""
        return Attributes(directory=True, size=0, mtime_ns=self._mtime_ns)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def listing(self) -> Listing:
        """Return the files."""
        return self._listing

    def child(self, listing: Listing, index: int) -> Node:
        """Return a file."""
        name = listing.name(index)
        return BytesFile(f"{self._key}/{name!r}", self._files[name], self._mtime_ns)

    async def unlisted(self, name: bytes) -> Node:
        """Raise `NotFound`."""
        raise NotFound(f"no {name!r} here")


class BytesFile(File):
    """A file whose bytes are in memory; its own reader."""

    def __init__(self, key: str, content: bytes, mtime_ns: int) -> None:
        """Show `content`."""
        self._key = key
        self._content = content
        self._mtime_ns = mtime_ns

    @property
    def key(self) -> str:
        """The key given."""
        return self._key

    async def stat(self) -> Attributes:
        """Return the attributes."""
        return Attributes(directory=False, size=len(self._content), mtime_ns=self._mtime_ns)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def open(self) -> Reader:
        """Return the file itself."""
        return self

    async def read(self, offset: int, size: int) -> bytes:
        """Return the bytes from `offset` on."""
        return self._content[offset : offset + size]

    def close(self) -> None:
        """Nothing to let go of."""


def info_folder(facts: Mapping[str, object], mtime_ns: int) -> BytesFolder:
    """Return the folder with `info.json`; its key says all that is in it."""
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    return BytesFolder(f"info {text}", {INFO: text.encode()}, mtime_ns)
