"""Questions to a repository without mounting it: what is at a path, who changed it when."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import xxhash

from oxenfs.errors import IntegrityError, IsADirectory, NotADirectory, NotFound
from oxenfs.model import Commit, Kind, ObjectHash
from oxenfs.names import quoted
from oxenfs.remote.base import BlobPlace, Remote, TreePlace
from oxenfs.remote.rows import Row, find_row, row_named, rows_of

_PIECE_BYTES = 4 << 20
_ENTRIES_KEPT = 100_000


def read_file(remote: Remote, commit: Commit, path: bytes) -> Iterator[bytes]:
    """Yield the bytes of the file at `path`, in pieces of up to 4 MiB; the whole is verified.

    Raises:
        NotFound: there is nothing at `path`.
        IsADirectory: `names_at` is for those.
        IntegrityError: after the last piece at the latest, if they are not the right ones.
    """
    row = find_row(remote, commit.id, path)
    if row is None or row.kind == Kind.DIRECTORY:
        raise IsADirectory(f"{quoted(path)} is a directory")
    return _pieces(remote, row, BlobPlace(commit.id, path, row.size))


def names_at(remote: Remote, commit: Commit, path: bytes) -> Iterator[bytes]:
    """Yield the names in the directory at `path`, sorted, those of directories with a `/` behind.

    Raises:
        NotFound: there is nothing at `path`.
        NotADirectory: it is a file.
    """
    row = find_row(remote, commit.id, path)
    if row is not None and row.kind != Kind.DIRECTORY:
        raise NotADirectory(f"{quoted(path)} is a file")
    id = remote.root(commit.id) if row is None else row.id
    for entry in rows_of(remote.directory(id, TreePlace(commit.id, path))):
        yield entry.name + (b"/" if entry.kind == Kind.DIRECTORY else b"")


def commits_of(remote: Remote, head: Commit, paths: Sequence[bytes]) -> Iterator[Commit]:
    """Yield the commits up to `head` that changed one of `paths`, newest first.

    Of each folder on the way only the one entry is decoded, and only if its node id is a new one. A
    commit counts when one of the paths differs from what it is in every parent (a merge that
    only takes over one side's version does not). No paths: every commit.

    Raises:
        NotFound: one of the paths is in none of the commits.
    """
    if not paths:
        yield from remote.history(head.id)
        return
    unseen = set(paths)
    ids = _PathIds(remote)
    states: dict[ObjectHash, tuple[ObjectHash | None, ...]] = {}

    def state(commit: ObjectHash) -> tuple[ObjectHash | None, ...]:
        if commit not in states:
            root = remote.root(commit)
            states[commit] = tuple(ids.id_at(commit, root, path) for path in paths)
        return states[commit]

    for commit in remote.history(head.id):
        here = state(commit.id)
        unseen.difference_update(p for p, id in zip(paths, here, strict=True) if id is not None)
        parents = [state(parent) for parent in commit.parents]
        states.pop(commit.id, None)
        befores = zip(*parents, strict=True) if parents else ((None,) for _ in paths)
        if any(id not in before for id, before in zip(here, befores, strict=True)):
            yield commit
    if unseen:
        names = ", ".join(sorted(map(quoted, unseen)))
        raise NotFound(f"no commit has {names}")


class _PathIds:
    """What is at paths in many commits; nothing is looked up in one directory twice."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._found: OrderedDict[tuple[ObjectHash, bytes], tuple[int, ObjectHash] | None] = (
            OrderedDict()
        )

    def id_at(self, commit: ObjectHash, root: ObjectHash, path: bytes) -> ObjectHash | None:
        """Return the id of what is at `path`; None if there is nothing."""
        id, kind, walked = root, int(Kind.DIRECTORY), b""
        for name in filter(None, path.split(b"/")):
            if kind != Kind.DIRECTORY:
                return None
            found = self._entry(id, name, TreePlace(commit, walked))
            if found is None:
                return None
            kind, id = found
            walked = walked + b"/" + name if walked else name
        return id

    def _entry(
        self, directory: ObjectHash, name: bytes, place: TreePlace
    ) -> tuple[int, ObjectHash] | None:
        key = (directory, name)
        if key not in self._found:
            row = row_named(self._remote.directory(directory, place), name)
            self._found[key] = None if row is None else (row.kind, row.id)
            if len(self._found) > _ENTRIES_KEPT:
                self._found.popitem(last=False)
        return self._found[key]


def _pieces(remote: Remote, row: Row, place: BlobPlace) -> Iterator[bytes]:
    state = xxhash.xxh3_128()
    for offset in range(0, row.size, _PIECE_BYTES):
        piece = remote.read(row.id, offset, min(_PIECE_BYTES, row.size - offset), place)
        state.update(piece)
        yield piece
    if state.intdigest() != row.id:
        raise IntegrityError(
            f"what came for {quoted(place.path)} does not have its hash: do not use it"
        )
