"""Questions to a repository without mounting it: what is at a path, who changed it when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import xxhash

from oxenfs.errors import IntegrityError, IsADirectory, NotADirectory, NotFound
from oxenfs.model import Commit, Kind
from oxenfs.remote.base import BlobPlace, Remote, TreePlace
from oxenfs.remote.rows import Row, find_row, rows_of

_PIECE_BYTES = 4 << 20


def read_file(remote: Remote, commit: Commit, path: bytes) -> Iterator[bytes]:
    """Yield the bytes of the file at `path`, in pieces of up to 4 MiB; the whole is verified.

    Raises:
        NotFound: there is nothing at `path`.
        IsADirectory: `names_at` is for those.
        IntegrityError: after the last piece at the latest, if they are not the right ones.
    """
    row = find_row(remote, commit.id, path)
    if row is None or row.kind == Kind.DIRECTORY:
        raise IsADirectory(f"{path.decode('utf-8', 'replace')!r} is a directory")
    return _pieces(remote, row, BlobPlace(commit.id, path, row.size))


def names_at(remote: Remote, commit: Commit, path: bytes) -> Iterator[bytes]:
    """Yield the names in the directory at `path`, sorted, those of directories with a `/` behind.

    Raises:
        NotFound: there is nothing at `path`.
        NotADirectory: it is a file.
    """
    row = find_row(remote, commit.id, path)
    if row is not None and row.kind != Kind.DIRECTORY:
        raise NotADirectory(f"{path.decode('utf-8', 'replace')!r} is a file")
    id = remote.root(commit.id) if row is None else row.id
    for entry in rows_of(remote.directory(id, TreePlace(commit.id, path))):
        yield entry.name + (b"/" if entry.kind == Kind.DIRECTORY else b"")


def commits_of(remote: Remote, head: Commit, paths: Sequence[bytes]) -> Iterator[Commit]:
    """Yield the commits up to `head` that changed one of `paths`, newest first.

    A commit counts when one of the paths differs from what it is in every parent (a merge that
    only takes over one side's version does not). No paths: every commit.

    Raises:
        NotFound: one of the paths is in none of the commits.
    """
    if not paths:
        yield from remote.history(head.id)
        return
    unseen = set(paths)
    states: dict[int, tuple[int | None, ...]] = {}

    def state(commit: int) -> tuple[int | None, ...]:
        if commit not in states:
            states[commit] = tuple(_id_at(remote, commit, path) for path in paths)
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
        names = ", ".join(sorted(repr(path.decode("utf-8", "replace")) for path in unseen))
        raise NotFound(f"no commit has {names}")


def _id_at(remote: Remote, commit: int, path: bytes) -> int | None:
    try:
        row = find_row(remote, commit, path)  # type: ignore[arg-type]
    except (NotFound, NotADirectory):
        return None
    return remote.root(commit) if row is None else row.id  # type: ignore[arg-type]


def _pieces(remote: Remote, row: Row, place: BlobPlace) -> Iterator[bytes]:
    state = xxhash.xxh3_128()
    for offset in range(0, row.size, _PIECE_BYTES):
        piece = remote.read(row.id, offset, min(_PIECE_BYTES, row.size - offset), place)
        state.update(piece)
        yield piece
    if state.intdigest() != row.id:
        name = place.path.decode("utf-8", "replace")
        raise IntegrityError(f"what came for {name!r} does not have its hash: do not use it")
