"""What differs between two commits, by Merkle ids: equal subtrees are not even asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import Commit, Kind, ObjectHash, tree_order
from oxenfs.remote.base import BlobPlace, DirectoryNodes, Remote, TreePlace
from oxenfs.remote.rows import Row, payload_of, row_named, rows_of

TEXT_BYTES_MAX = 1 << 20
"""Larger files are compared by their facts; both are read whole into memory below it."""

_LINES_MAX = 50_000


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
            raise NotFound(f"no {path.decode('utf-8', 'replace')!r} in either commit")
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


def text_of(remote: Remote, side: Side | None, path: bytes) -> str | None:
    """Return a text file's content, None if it is no text or too long; without a side, nothing."""
    if side is None:
        return ""
    row = side.row
    if row.kind not in (Kind.TEXT, Kind.TABULAR) or row.size > TEXT_BYTES_MAX:
        return None
    content = remote.read(row.id, 0, row.size, BlobPlace(side.commit.id, path, row.size))
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def unified(change: Changed, old: str, new: str) -> Iterator[str]:
    """Yield the lines of a unified diff, without line ends, as `patch` takes them."""
    path = change.path.decode("utf-8", "surrogateescape")
    yield "--- " + (f"a/{path}" if change.old is not None else "/dev/null")
    yield "+++ " + (f"b/{path}" if change.new is not None else "/dev/null")
    # Only at "\n": other characters that Python takes for line ends are text to `patch`.
    before, after = _lines(old), _lines(new)
    lines = difflib.unified_diff(before, after)
    next(lines, None)
    next(lines, None)
    for line in lines:
        yield line.removesuffix("\n")
        if not line.endswith("\n") and not line.startswith("@@"):
            yield "\\ No newline at end of file"


def is_long(text: str) -> bool:
    """Return whether comparing a text line by line would take longer than anybody waits."""
    return text.count("\n") > _LINES_MAX


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


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
