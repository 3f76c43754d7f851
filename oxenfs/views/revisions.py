"""Many revisions side by side: `branches/`, `commits/` and `HEAD` as directories.

A root is a snapshot of where the branches are; when they move, the mount moves to the next snapshot
(`oxenfs.mount.moving`). Only what a branch is at is in a snapshot: trees and dates are asked for
when somebody looks. `commits/` is in no snapshot, as a commit never changes.

Branches are folders, a slash in a name is one more folder. What cannot be shown like that stands in
`branches/` itself, percent-encoded: `a/b` where there is a branch `a` (whose folder is its tree,
and nothing else), names with `.` or `..` or nothing between slashes, with `%` and two hex digits,
too long ones. A branch `a/b` beside `a` can also be entered as `a/b` if the tree of `a` has no `b`,
which is how servers resolve it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from urllib.parse import quote

import trio

from oxenfs.errors import NotFound, StaleRevision
from oxenfs.model import NAME_BYTES_MAX, Branch, Commit, Kind, ObjectHash, hash_text
from oxenfs.remote.base import Remote
from oxenfs.remote.revision import PREFIX_DIGITS_MIN
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.store.metadata import Metadata
from oxenfs.views.base import Attributes, Directory, Node
from oxenfs.views.commit import Blobs, CommitDirectory, Tree
from oxenfs.views.together import together

COMMITS_LISTED = 1000
"""How many commits of each branch are in the listing of `commits/`."""

BRANCHES, COMMITS, HEAD = b"branches", b"commits", b"HEAD"

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_ID = re.compile(rb"[0-9a-fA-F]{1,32}\Z")
_FULL_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Source:
    """Where all revisions of a repository come from.

    Attributes:
        wrap: what goes around the folder of each revision, such as its frames.
    """

    remote: Remote
    metadata: Metadata
    blobs: Blobs
    wrap: Callable[[Directory], Directory] = lambda directory: directory


class RevisionDirectory(Directory):
    """The root of one commit, somewhere in a mount; nothing is asked before it is looked into."""

    def __init__(
        self,
        source: Source,
        where: str,
        commit: ObjectHash,
        below: Mapping[bytes, Directory] | None = None,
    ) -> None:
        """Stand for `commit`.

        Args:
            source: where it comes from.
            where: a name for this place, its own in the mount.
            commit: its id.
            below: more children, by name only; what the tree has goes before.
        """
        self._source = source
        self._where = where
        self._commit = commit
        self._below = below or {}
        self._root: CommitDirectory | None = None

    @property
    def key(self) -> Hashable:
        """The place, the commit, and what is there by name only."""
        below = tuple((name, child.key) for name, child in sorted(self._below.items()))
        return (self._where, self._commit, below)

    @property
    def rows_tell_content(self) -> bool:
        """Rows have the hashes of blobs and node ids."""
        return True

    @property
    def shares(self) -> bytes:
        """The root has the same path in all revisions."""
        return b""

    async def stat(self) -> Attributes:
        """Return the attributes; the time is the commit's, 0 if the commit is gone."""
        try:
            date = (await self._source.metadata.commit(self._commit)).timestamp_ns
        except NotFound:
            date = 0
        return Attributes(directory=True, size=0, mtime_ns=date)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return what the root of the tree has."""
        return await (await self._opened()).xattrs()

    async def listing(self) -> Listing:
        """Return the children; raise `StaleRevision` if the commit is gone."""
        return await (await self._opened()).listing()

    def child(self, listing: Listing, index: int) -> Node:
        """Return the node in row `index`."""
        assert self._root is not None, "a listing came from here"
        return self._root.child(listing, index)

    async def unlisted(self, name: bytes) -> Node:
        """Return one of the children that are there by name only."""
        found = self._below.get(name)
        if found is None:
            raise NotFound(f"no {name!r} in {self._where}")
        return found

    async def _opened(self) -> CommitDirectory:
        if self._root is None:
            metadata = self._source.metadata
            try:
                commit = await metadata.commit(self._commit)
                root = await metadata.root(self._commit)
            except NotFound as exc:
                gone = f"commit {hash_text(self._commit)} is gone from the remote: {exc}"
                raise StaleRevision(gone) from exc
            tree = Tree(commit, metadata, self._source.blobs, self._where)
            self._root = CommitDirectory(tree, b"", root, commit.timestamp_ns, commit.id)
        return self._root


class FolderOfFolders(Directory):
    """A directory of other directories."""

    def __init__(
        self,
        where: str,
        children: Mapping[bytes, Directory],
        otherwise: Callable[[bytes], Directory | None] = lambda _: None,
    ) -> None:
        """Show `children` by name.

        Args:
            where: a name for this place, its own in the mount.
            children: what is listed.
            otherwise: gives what is there by name only.
        """
        self._where = where
        self._children = dict(sorted(children.items()))
        self._otherwise = otherwise
        self._listing: Listing | None = None
        state = hashlib.blake2s(digest_size=16)
        for name, child in self._children.items():
            state.update(repr((name, child.key)).encode())
        self._version = state.digest()

    @property
    def key(self) -> tuple[str, bytes]:
        """The place, and a digest of all that is below."""
        return (self._where, self._version)

    async def stat(self) -> Attributes:
        """Return the attributes; the time says nothing."""
        return Attributes(directory=True, size=0, mtime_ns=0)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    async def listing(self) -> Listing:
        """Return the children; their times are asked for, several at once."""
        if self._listing is None:
            times = await together([child.stat for child in self._children.values()])
            self._listing = Listing(
                columns_of(
                    [
                        Row(name, Kind.DIRECTORY, bytes(16), 0, said.mtime_ns, bytes(16))
                        for name, said in zip(self._children, times, strict=True)
                    ]
                )
            )
        return self._listing

    def child(self, listing: Listing, index: int) -> Node:
        """Return the directory in row `index`."""
        return self._children[listing.name(index)]

    async def unlisted(self, name: bytes) -> Node:
        """Return a child that is there by name only."""
        found = self._otherwise(name)
        if found is None:
            raise NotFound(f"no {name!r} in {self._where or 'the mount'}")
        return found


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


class Revisions:
    """Makes roots: snapshots of where the branches of a repository are."""

    def __init__(self, source: Source) -> None:
        """Show all of `source`."""
        self._source = source
        self._commits = CommitsDirectory(source)

    def snapshot(self, branches: Iterable[Branch], default: Branch | None) -> Directory:
        """Return the root for these branches; no I/O."""
        known = {branch.name: branch.commit for branch in branches}
        self._commits.set_heads(known.values())
        children: dict[bytes, Directory] = {
            BRANCHES: self._folder("branches", _nested(known), known),
            COMMITS: self._commits,
        }
        if default is not None:
            children[HEAD] = self._revision("HEAD", default.commit, {})
        return FolderOfFolders("", children)

    def _folder(self, where: str, tree: _Names, known: Mapping[str, ObjectHash]) -> Directory:
        """Return the folder `where` of a tree of names."""
        children: dict[bytes, Directory] = {}
        for name, below in tree.items():
            path = f"{where}/{name.decode('utf-8', 'surrogateescape')}"
            if isinstance(below, str):
                clashing = self._clashing(path, below, known)
                children[name] = self._revision(path, known[below], clashing)
            else:
                children[name] = self._folder(path, below, known)
        if where != "branches":
            return FolderOfFolders(where, children)

        def encoded(name: bytes) -> Directory | None:
            """Return a branch by its percent-encoded name, also where it is shown otherwise."""
            for branch, commit in known.items():
                if _encode(branch) == name or branch.encode("utf-8", "surrogateescape") == name:
                    text = name.decode("utf-8", "surrogateescape")
                    return self._revision(f"branches/{text}", commit, {})
            return None

        return FolderOfFolders(where, children, encoded)

    def _clashing(
        self, where: str, branch: str, known: Mapping[str, ObjectHash]
    ) -> dict[bytes, Directory]:
        """Return what is below a branch by name: the branches whose names go on behind its own."""
        longer = {
            name.removeprefix(f"{branch}/"): commit
            for name, commit in known.items()
            if name.startswith(f"{branch}/") and _fits(name)
        }
        if not longer:
            return {}
        found: dict[bytes, Directory] = {}
        for name, below in _nested(longer, encode=False).items():
            path = f"{where}/{name.decode()}"
            if isinstance(below, str):
                inner = self._clashing(path, below, longer)
                found[name] = self._revision(path, longer[below], inner)
            else:
                found[name] = self._folder(path, below, longer)
        return found

    def _revision(
        self, where: str, commit: ObjectHash, below: Mapping[bytes, Directory]
    ) -> Directory:
        return self._source.wrap(RevisionDirectory(self._source, where, commit, below))


_Names = dict[bytes, "_Names | str"]
"""A folder of names: folders, or the branch that is there."""


def _nested(branches: Mapping[str, ObjectHash], *, encode: bool = True) -> _Names:
    """Return where each branch is shown; those without a place of their own are encoded, or not."""
    root: _Names = {}
    for name in sorted(branches):
        parts = name.split("/")
        prefixes = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if not _fits(name) or any(prefix in branches for prefix in prefixes):
            if encode:
                root[_encode(name)] = name
            continue
        folder = root
        for part in parts[:-1]:
            below = folder.setdefault(part.encode(), {})
            assert isinstance(below, dict), "no prefix is a branch"
            folder = below
        folder[parts[-1].encode()] = name
    return root


def _fits(branch: str) -> bool:
    """Return whether a branch can be shown as a path, and no encoded name looks like it."""
    try:
        parts = branch.encode().split(b"/")
    except UnicodeEncodeError:
        return False
    if _ENCODED.search(branch) or "\0" in branch:
        return False
    return all(part not in (b"", b".", b"..") and len(part) <= NAME_BYTES_MAX for part in parts)


def _encode(branch: str) -> bytes:
    """Return a name for a branch that no other branch has, and that always holds a `%`."""
    encoded = quote(branch, safe=" ", errors="surrogateescape")
    if branch in (".", ".."):
        encoded = branch.replace(".", "%2E")
    if "%" not in encoded or len(encoded) > NAME_BYTES_MAX:
        digest = hashlib.blake2s(branch.encode("utf-8", "surrogateescape"), digest_size=16)
        encoded = f"{encoded[:200]}%7E{digest.hexdigest()}"
    return encoded.encode()
