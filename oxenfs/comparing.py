"""What differs between two commits, by Merkle ids: equal subtrees are not even asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import Commit, Kind, ObjectHash, tree_order
from oxenfs.names import quoted
from oxenfs.remote.base import BlobPlace, DirectoryNodes, Remote, TreePlace
from oxenfs.remote.rows import Row, payload_of, row_named, rows_of
from oxenfs.textdiff import NO_FILE, Text, Whole, unified

TEXT_BYTES_MAX = 256 << 20
"""Larger files are compared by their facts."""


@dataclass(frozen=True, slots=True)
class Side:
    """A file in one of the two commits."""

    commit: Commit
    row: Row
    nodes: DirectoryNodes


@dataclass(frozen=True, slots=True)
class Changed:
    """A file that differs.

    Attributes:
        old: None where it was added.
        new: None where it was removed.
    """

    path: bytes
    old: Side | None
    new: Side | None

    @property
    def op(self) -> str:
        """`A`, `M` or `D`."""
        return "A" if self.old is None else "D" if self.new is None else "M"


def changes_between(
    remote: Remote, old: Commit, new: Commit, paths: Sequence[bytes] = ()
) -> Iterator[Changed]:
    """Yield the files that differ, in tree order.

    A folder that is there in both is only read if its node ids differ, and of that only the parts
    (vnodes) whose ids differ. Removed and added folders are files removed and added.

    Args:
        remote: where.
        old: the commit before.
        new: the commit after.
        paths: files and folders to look at; none: everything.

    Raises:
        NotFound: a path is in neither of the commits.
    """
    comparison = _Comparison(remote, old, new)
    roots = remote.root(old.id), remote.root(new.id)
    if not paths or b"" in paths:
        yield from comparison.folders(b"", *roots)
        return
    chosen: list[bytes] = []
    for path in sorted(set(paths), key=tree_order):
        if not (chosen and (path + b"/").startswith(chosen[-1] + b"/")):
            chosen.append(path)
    for path in chosen:
        before, after = comparison.at(old, roots[0], path), comparison.at(new, roots[1], path)
        if before is None and after is None:
            raise NotFound(f"no {quoted(path)} in either commit")
        yield from comparison.entries(path, before, after)


class _Comparison:
    """The way down two trees."""

    def __init__(self, remote: Remote, old: Commit, new: Commit) -> None:
        self._remote = remote
        self._old = old
        self._new = new

    def at(self, commit: Commit, root: ObjectHash, path: bytes) -> Side | None:
        id, walked = root, b""
        side: Side | None = None
        for name in path.split(b"/"):
            if side is not None and side.row.kind != Kind.DIRECTORY:
                return None
            nodes = self._remote.directory(id, TreePlace(commit.id, walked))
            row = row_named(nodes, name)
            if row is None:
                return None
            side = Side(commit, row, nodes)
            id, walked = row.id, walked + b"/" + name if walked else name
        return side

    def entries(self, path: bytes, old: Side | None, new: Side | None) -> Iterator[Changed]:
        """Yield what differs at `path`: files, folders, or one of each."""
        before = old is not None and old.row.kind == Kind.DIRECTORY
        after = new is not None and new.row.kind == Kind.DIRECTORY
        one = None if before else old
        other = None if after else new
        if (one or other) and (one is None or other is None or one.row.hash != other.row.hash):
            yield Changed(path, one, other)
        if before or after:
            yield from self.folders(
                path,
                old.row.id if before and old is not None else None,
                new.row.id if after and new is not None else None,
            )

    def folders(
        self, path: bytes, old: ObjectHash | None, new: ObjectHash | None
    ) -> Iterator[Changed]:
        """Yield what differs below `path` between two directories, or one and nothing."""
        if old == new:
            return
        befores = self._nodes(old, TreePlace(self._old.id, path))
        afters = self._nodes(new, TreePlace(self._new.id, path))
        common = {vnode.id for vnode in befores.vnodes} & {vnode.id for vnode in afters.vnodes}
        theirs = _sides(self._old, befores, common)
        ours = _sides(self._new, afters, common)
        for name in sorted(theirs.keys() | ours.keys()):
            before, after = theirs.get(name), ours.get(name)
            yield from self.entries(path + b"/" + name if path else name, before, after)

    def _nodes(self, id: ObjectHash | None, place: TreePlace) -> DirectoryNodes:
        return _NOTHING if id is None else self._remote.directory(id, place)


_NOTHING = DirectoryNodes(None, ())  # type: ignore[arg-type]
"""Stands for a directory that is not there; has no vnodes, and nobody looks at its node."""


def _sides(commit: Commit, nodes: DirectoryNodes, without: set[ObjectHash]) -> dict[bytes, Side]:
    vnodes = tuple(vnode for vnode in nodes.vnodes if vnode.id not in without)
    if not vnodes:
        return {}
    some = DirectoryNodes(nodes.directory, vnodes)
    return {row.name: Side(commit, row, some) for row in rows_of(some)}


@dataclass(frozen=True, slots=True)
class StoredText:
    """A file of a commit as a text."""

    remote: Remote
    blob: ObjectHash
    place: BlobPlace

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.place.size

    def read(self, offset: int, size: int) -> bytes:
        """Return a range."""
        size = min(size, self.size - offset)
        return self.remote.read(self.blob, offset, size, self.place) if size > 0 else b""


def text_at(remote: Remote, commit: ObjectHash, row: Row, path: bytes) -> Text | None:
    """Return a file of a commit as a text, None if it is none or too long."""
    if row.kind not in (Kind.TEXT, Kind.TABULAR) or row.size > TEXT_BYTES_MAX:
        return None
    return StoredText(remote, row.id, BlobPlace(commit, path, row.size))


def lines_of(remote: Remote, change: Changed) -> Iterator[str] | None:
    """Return a change as a unified diff, None if a side is no text; see `textdiff.unified`."""
    texts = [
        Whole(b"") if side is None else text_at(remote, side.commit.id, side.row, change.path)
        for side in (change.old, change.new)
    ]
    old, new = texts
    if old is None or new is None:
        return None
    one = b"a/" + change.path if change.old is not None else NO_FILE
    other = b"b/" + change.path if change.new is not None else NO_FILE
    return unified(one, other, old, new)


def facts_of(side: Side) -> list[str]:
    """Return what can be said of a file without its bytes: `640x480`, `12.5 s`; may be nothing."""
    try:
        payload = payload_of(side.nodes, side.row.name)
    except IntegrityError:
        return []
    try:
        numbers = payload.metadata[0]
        if side.row.kind == Kind.IMAGE:
            return [f"{numbers[0]}x{numbers[1]}"]
        if side.row.kind == Kind.VIDEO:
            return [f"{numbers[1]}x{numbers[2]}", f"{numbers[0]:g} s"]
        if side.row.kind == Kind.AUDIO:
            return [f"{numbers[0]:g} s"]
        if side.row.kind == Kind.TABULAR:
            return [f"{numbers[1]} rows, {numbers[0]} columns"]
    except (IndexError, TypeError, ValueError):
        return []
    return []
