"""`commits/`: every commit of a repository as a directory, by its id or how that begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice

import trio

from oxenfs.errors import NotFound
from oxenfs.model import Commit, Kind, ObjectHash, hash_text
from oxenfs.remote.revision import PREFIX_DIGITS_MIN
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Directory, Node
from oxenfs.views.revision import RevisionDirectory, Source
from oxenfs.views.together import together

COMMITS_LISTED = 1000
"""How many commits of each branch are in the listing of `commits/`."""

_ID = re.compile(rb"[0-9a-fA-F]{1,32}\Z")
_FULL_DIGITS = 32


class CommitsDirectory(Directory):
    """All commits by id. Never changes but for its listing, which names the newest."""

    def __init__(self, source: Source) -> None:
        """Show the commits of `source`; `heads` is to be set."""
        self._source = source
        self._heads: tuple[ObjectHash, ...] = ()
        self._listed: tuple[tuple[ObjectHash, ...], Listing] | None = None

    def set_heads(self, heads: Iterable[ObjectHash]) -> None:
        """Let listings begin at these commits."""
        self._heads = tuple(sorted(set(heads)))

    @property
    def key(self) -> str:
        """Always the same."""
        return "commits"

    @property
    def by_name(self) -> bool:
        """A commit is found without listing others."""
        return True

    async def stat(self) -> Attributes:
        """Return the attributes; the time says nothing."""
        return Attributes(directory=True, size=0, mtime_ns=0)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def listing(self) -> Listing:
        """Return the newest commits of each branch; their history is read, several at once."""
        heads = self._heads
        if self._listed is None or self._listed[0] != heads:
            read = [partial(trio.to_thread.run_sync, self._newest, head) for head in heads]
            found = {commit.id: commit for some in await together(read) for commit in some}
            rows = [
                Row(
                    hash_text(commit.id).encode(),
                    Kind.DIRECTORY,
                    commit.id.to_bytes(16, "big"),
                    0,
                    commit.timestamp_ns,
                    commit.id.to_bytes(16, "big"),
                )
                for commit in found.values()
            ]
            self._listed = (heads, Listing(columns_of(sorted(rows))))
        return self._listed[1]

    def child(self, listing: Listing, index: int) -> Node:
        """Return the root of the commit in row `index`."""
        return self._revision(listing.name(index), listing.hash(index))

    async def unlisted(self, name: bytes) -> Node:
        """Return the root of the commit whose id is `name`, or the only one that begins like that.

        Prefixes have at least six digits, as in addresses.
        """
        if not _ID.match(name):
            raise NotFound(f"{name!r} is no commit id")
        digits = name.decode().lower()
        if len(digits) == _FULL_DIGITS:
            digits = digits.lstrip("0") or "0"
        found = await trio.to_thread.run_sync(self._find, digits, abandon_on_cancel=True)
        return self._revision(name, found)

    def _find(self, digits: str) -> ObjectHash:
        found = self._source.remote.commits_with_prefix(digits, 2)
        exact = [id for id in found if hash_text(id) == digits]
        if exact:
            return exact[0]
        if len(found) != 1 or len(digits) < PREFIX_DIGITS_MIN:
            why = "several commits begin" if found else "no commit begins"
            raise NotFound(f"{why} with {digits}")
        return found[0]

    def _newest(self, head: ObjectHash) -> list[Commit]:
        try:
            return list(islice(self._source.remote.history(head), COMMITS_LISTED))
        except NotFound:
            return []  # the branch has moved and its commit was pruned

    def _revision(self, name: bytes, commit: ObjectHash) -> Directory:
        where = f"commits/{name.decode()}"
        return self._source.wrap(RevisionDirectory(self._source, where, commit))
