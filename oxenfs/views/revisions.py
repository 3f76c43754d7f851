"""Many revisions side by side: `branches/`, `commits/` and `HEAD` as directories.

A root is a snapshot of where the branches are; when they move, the mount moves to the next snapshot
(`oxenfs.mount.moving`). Only what a branch is at is in a snapshot: trees and dates are asked for
when somebody looks. `commits/` is in no snapshot, as a commit never changes.

A branch `a/b` beside `a`, which is shown by an encoded name (`branch_names`), can also be entered
as `a/b` if the tree of `a` has no `b`, which is how servers resolve it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from oxenfs.errors import NotFound
from oxenfs.model import Branch, Kind, ObjectHash
from oxenfs.remote.rows import Row
from oxenfs.store.columns import Listing, columns_of
from oxenfs.views.base import Attributes, Directory, Node
from oxenfs.views.branch_names import Names, encode_name, fits, nested
from oxenfs.views.commits import CommitsDirectory
from oxenfs.views.revision import RevisionDirectory, Source
from oxenfs.views.together import together

BRANCHES, COMMITS, HEAD = b"branches", b"commits", b"HEAD"


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
            BRANCHES: self._folder("branches", nested(known), known),
            COMMITS: self._commits,
        }
        if default is not None:
            children[HEAD] = self._revision("HEAD", default.commit, {})
        return FolderOfFolders("", children)

    def _folder(self, where: str, tree: Names, known: Mapping[str, ObjectHash]) -> Directory:
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
                if encode_name(branch) == name or branch.encode("utf-8", "surrogateescape") == name:
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
            if name.startswith(f"{branch}/") and fits(name)
        }
        if not longer:
            return {}
        found: dict[bytes, Directory] = {}
        for name, below in nested(longer, encode=False).items():
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
