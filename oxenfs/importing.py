"""A folder as a change set: what `import` commits without a mount.

The walk (`oxenfs.source`) is lazy: an entry is looked at when the publisher asks for it, in tree
order, so memory holds one folder per level. A large folder is read by a process of its own, ahead
of the publisher by what a pipe holds.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from oxenfs.errors import NotADirectory, NotFound, UsageError
from oxenfs.model import (
    Author,
    Change,
    Content,
    Kind,
    MakeDirectory,
    ObjectHash,
    Published,
    Put,
    Remove,
    check_name,
)
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.rows import Row, find_row, rows_of
from oxenfs.source.ahead import walk_ahead
from oxenfs.source.stable import Facts
from oxenfs.source.walk import Found, Leave, Opener, Step, refuse_unsupported, walk

# Below that the second process would take longer to start than it saves.
_READ_AHEAD_FROM = 2_000

Progress = Callable[[int, int], None]
"""Called with the number of files and bytes read so far."""


def import_tree(
    remote: Remote,
    source: Path,
    branch: str,
    *,
    to: bytes = b"",
    delete: bool = False,
    skip_unsupported: bool = False,
    message: str,
    author: Author,
    progress: Progress | None = None,
) -> Published:
    """Commit the folder `source` to `branch`, below the path `to`.

    Adds and replaces; with `delete` the target becomes equal to the source. A branch that does not
    exist starts at the default branch's head. Blobs that got in before a failure are used again.

    Raises:
        Unsupported: names what Oxen cannot store, before anything is read.
        Conflict: the branch moved meanwhile, and in the same paths.
        NothingToPublish: the branch has all of it already.
        SourceChanged: a file was written to while it was read.
    """
    target = b"/".join(part for part in to.split(b"/") if part not in (b"", b"."))
    for name in target.split(b"/") if target else ():
        check_name(name)
    inside = Path(remote.address)
    if inside.is_absolute() and inside.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"the repository {inside} lies in {source}: import another folder")
    # Whoever skips what cannot be stored has not counted either: better a process too many.
    many = skip_unsupported or refuse_unsupported(source, target) >= _READ_AHEAD_FROM
    try:
        base = remote.branch(branch).commit
    except NotFound:
        base = remote.default_branch().commit
    steps = (walk_ahead if many else walk)(source, target, skip_unsupported=skip_unsupported)
    with contextlib.closing(steps):
        changes = _Changes(source, target, _Known(remote, base), delete, progress)
        return remote.publish(branch, base, changes.of(steps), message, author)


class _Known:
    """What the base commit has, folder by folder."""

    def __init__(self, remote: Remote, commit: ObjectHash) -> None:
        self._remote = remote
        self._commit = commit

    def at(self, path: bytes) -> dict[bytes, Row]:
        try:
            row = find_row(self._remote, self._commit, path)
        except (NotFound, NotADirectory):
            return {}
        id = self._remote.root(self._commit) if row is None else row.id
        return {} if row is not None and row.kind != Kind.DIRECTORY else self.of(id, path)

    def of(self, directory: ObjectHash, path: bytes) -> dict[bytes, Row]:
        nodes = self._remote.directory(directory, TreePlace(self._commit, path))
        return {row.name: row for row in rows_of(nodes)}


class _Changes:
    """Makes a change set of a walk, by comparing it with what the base commit has."""

    def __init__(
        self,
        source: Path,
        target: bytes,
        known: _Known,
        delete: bool,
        progress: Progress | None,
    ) -> None:
        self._opener = Opener(source)
        self._target = target
        self._known = known
        self._delete = delete
        self._progress = progress
        self._files = 0
        self._bytes = 0
        self._shown = 0

    def of(self, steps: Iterator[Step]) -> Iterator[Change]:
        """Yield the change set in tree order."""
        yield from self._folder(steps, self._target, self._known.at(self._target))

    def _folder(
        self, steps: Iterator[Step], path: bytes, there: dict[bytes, Row]
    ) -> Iterator[Change]:
        prefix = path + b"/" if path else b""
        # The largest last: names go out of it as the walk passes them.
        gone = sorted(there, reverse=True) if self._delete else []
        empty = True
        for step in steps:
            if isinstance(step, Leave):
                break
            empty = False
            name = step.name
            while gone and gone[-1] <= name:
                if (old := gone.pop()) != name:
                    yield Remove(prefix + old)
            row = there.get(name)
            if isinstance(step, Found):
                yield self._put(prefix + name, step, row)
            else:
                yield from self._enter(steps, prefix + name, row)
        if empty and path and not there:
            yield MakeDirectory(path)
        for name in reversed(gone):
            yield Remove(prefix + name)

    def _enter(self, steps: Iterator[Step], path: bytes, row: Row | None) -> Iterator[Change]:
        if row is not None and row.kind == Kind.DIRECTORY:
            below = self._known.of(row.id, path)
        else:
            below = {}
            if row is not None:
                yield Remove(path)
        yield from self._folder(steps, path, below)

    def _put(self, path: bytes, found: Found, row: Row | None) -> Change:
        size = found.facts.size
        same_size = row is not None and row.kind != Kind.DIRECTORY and row.size == size
        known = row.id if row is not None and same_size else None
        self._files += 1
        self._bytes += size
        open_content: Callable[[], BinaryIO]
        if found.data is None:
            open_content = functools.partial(self._open_large, path, found.facts)
        else:
            open_content = functools.partial(self._open_whole, found.data)
        return Put(path, Content(size, found.facts.mtime_ns, open_content, known))

    def _open_whole(self, data: bytes) -> BinaryIO:
        self._read(0)
        return io.BytesIO(data)

    def _open_large(self, path: bytes, facts: Facts) -> BinaryIO:
        inside = path.removeprefix(self._target).removeprefix(b"/")
        # Cast: what is missing of BinaryIO is what a publisher never calls.
        return cast("BinaryIO", self._opener.open(inside, path, facts, self._read))

    def _read(self, remaining: int) -> None:
        # A large file may be read twice, but what is shown only grows.
        self._shown = max(self._shown, self._bytes - remaining)
        if self._progress is not None:
            self._progress(self._files, self._shown)
