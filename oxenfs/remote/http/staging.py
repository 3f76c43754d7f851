"""The changes of one publish on their way into a workspace: each compared, batched, sent."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from io import BytesIO
from typing import NamedTuple

import xxhash

from oxenfs.errors import SourceChanged, Unsupported
from oxenfs.model import (
    DEPTH_MAX,
    Change,
    Content,
    MakeDirectory,
    ObjectHash,
    Put,
    Remove,
)
from oxenfs.names import quoted
from oxenfs.remote.cursor import Found, TreeCursor
from oxenfs.remote.http.sending import read_exactly, sendable
from oxenfs.remote.http.workspace import Workspace
from oxenfs.remote.payloads import DIRECTORY, FILE

# Larger ones go by themselves, and are hashed first.
_SMALL_BYTES_MAX = 4 << 20
_BATCH_BYTES = 8 << 20
_BATCH_FILES = 1000
_REMOVALS = 1000
_AT_ONCE = 4
_PIECE_BYTES = 1 << 20


class _Small(NamedTuple):
    path: str
    blob: ObjectHash
    data: bytes


class Stage:
    """Takes changes in tree order and stages those that change something.

    Memory: a few batches of 8 MiB.

    Attributes:
        files: paths staged.
        sent_files, sent_bytes: what the server did not have.
        conflicts: paths that somebody else changed between the base and the workspace's.
    """

    def __init__(
        self, workspace: Workspace, now: TreeCursor, before: TreeCursor, *, exact: bool
    ) -> None:
        """Stage into `workspace`.

        Args:
            workspace: where to.
            now: of the commit that it stands on.
            before: of the commit that the changes were made against.
            exact: whether the server commits whatever is staged; else what oxen-server 0.65.2
                would lose is refused.
        """
        self._workspace = workspace
        self._now = now
        self._before = before
        self._exact = exact
        self._held: Put | MakeDirectory | None = None
        self._gone: bytes | None = None
        self._batch: list[_Small] = []
        self._batch_bytes = 0
        self._removals: list[str] = []
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._running: set[Future[tuple[int, int]]] = set()
        self.files = self.sent_files = self.sent_bytes = 0
        self.conflicts: list[bytes] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
                self._flush()
                self._wait_for(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def add(self, change: Change) -> None:
        """Stage one change; after the first conflict nothing is sent any more."""
        if change.path.count(b"/") > DEPTH_MAX:
            raise Unsupported(
                f"folders nested more than {DEPTH_MAX} deep: {quoted(change.path[:60])}..."
            )
        if self._held is not None and _replaces(change, self._held):
            # Never staged: of two requests at once nobody knows which comes last.
            self._held = None
        self._settle()
        if isinstance(change, Remove):
            self._remove(change.path)
        else:
            self._held = change

    def _settle(self) -> None:
        held, self._held = self._held, None
        if isinstance(held, Put):
            self._put(held)
        elif held is not None:
            self._make_directory(held.path)

    def _remove(self, path: bytes) -> None:
        there = self._now.entry(path)
        self._check(path, there, wanted=there is None)
        self._gone = path
        if there is not None and there[0] in (FILE, DIRECTORY):
            self.files += 1
            self._stage_removal(path)

    def _make_directory(self, path: bytes) -> None:
        there = self._now.entry(path)
        self._check(path, there, wanted=there is not None and there[0] == DIRECTORY)
        left = self._left(path, there)
        if not self.conflicts and (left is None or left[0] != DIRECTORY):
            raise Unsupported(
                f"the folder {quoted(path)} is empty, which a server cannot store; "
                "put a file into it, or leave it out"
            )

    def _put(self, change: Put) -> None:
        content = change.content
        path = change.path.decode()
        # What the repository has is staged by its hash, without reading it.
        small = content.size <= _SMALL_BYTES_MAX and (content.stored is None or not content.size)
        data = _read(content, path) if small else b""
        if content.stored is not None:
            blob = content.stored
        else:
            blob = ObjectHash(xxhash.xxh3_128_intdigest(data)) if small else _hash(content, path)
        there = self._now.entry(change.path)
        self._check(change.path, there, wanted=there == (FILE, blob))
        left = self._left(change.path, there)
        if left == (FILE, blob) or self.conflicts:
            return
        if not self._exact:
            _refuse_what_gets_lost(path, there)
        if not content.size and not sendable(path):
            raise Unsupported(
                f"an empty file with the name {quoted(path)} cannot be sent to a server"
            )
        self.files += 1
        if left is not None and left[0] == DIRECTORY:
            self._stage_removal(change.path)
        if small:
            self._batch.append(_Small(path, blob, data))
            self._batch_bytes += len(data)
            if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
                self._flush()
        else:
            self._flush()
            sent = self._workspace.stage(path, blob, content.size, content.open)
            self.sent_files += sent
            self.sent_bytes += sent * content.size

    def _left(self, path: bytes, there: Found) -> Found:
        """Return what is at `path` after the removals of this change set."""
        gone = self._gone
        removed = gone is not None and (path == gone or path.startswith(gone + b"/"))
        return None if removed else there

    def _check(self, path: bytes, there: Found, *, wanted: bool) -> None:
        if self._before is self._now or wanted or there == self._before.entry(path):
            return
        self.conflicts.append(path)

    def _stage_removal(self, path: bytes) -> None:
        self._removals.append(path.decode())
        if len(self._removals) >= _REMOVALS:
            self._flush()

    def _flush(self) -> None:
        """Send removals, then files: what takes a removed folder's place comes after it."""
        if self.conflicts:
            return
        if self._removals:
            self._wait_for(0)
            self._workspace.remove(self._removals)
            self._removals = []
        if self._batch:
            self._wait_for(_AT_ONCE - 1)
            self._running.add(self._pool.submit(_send, self._workspace, self._batch))
            self._batch = []
            self._batch_bytes = 0

    def _wait_for(self, still: int) -> None:
        while len(self._running) > still:
            done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                files, size = future.result()
                self.sent_files += files
                self.sent_bytes += size


def _refuse_what_gets_lost(path: str, there: Found | None) -> None:
    """Raise `Unsupported` for a file that oxen-server would take, and commit as something else.

    Found by experiment with oxen-server 0.65.2: it answers that both commits succeeded.
    """
    if "\\" in path:
        raise Unsupported(
            f"an Oxen server takes the backslash in {quoted(path)} for a slash; rename it"
        )
    if there is not None and there[0] == DIRECTORY:
        raise Unsupported(
            f"{quoted(path)} was a folder and would become a file: an Oxen server loses it when "
            "both are in one commit; commit the removal of the folder first, then the file"
        )


def _replaces(change: Change, held: Put | MakeDirectory) -> bool:
    """Return whether nothing of `held` is left after `change`, or `change` implies it."""
    if change.path == held.path:
        return True
    return not isinstance(change, Remove) and change.path.startswith(held.path + b"/")


def _send(workspace: Workspace, files: Sequence[_Small]) -> tuple[int, int]:
    """Stage a batch; return the number and bytes of the blobs that had to be sent.

    What the server has is staged by its hash, one by one; the rest goes in one request.
    """
    asked = {file.blob for file in files if file.data}
    stored = workspace.stored(asked) if asked else set()
    new: list[_Small] = []
    by_hash: list[_Small] = []
    for file in files:
        if file.data and (file.blob in stored or not sendable(file.path)):
            by_hash.append(file)
        else:
            new.append(file)
            if file.data:
                stored.add(file.blob)
    if new:
        workspace.stage_small([(file.path, file.data) for file in new])
    sent = [len(file.data) for file in new]
    for file in by_hash:
        data = file.data
        if workspace.stage(file.path, file.blob, len(data), lambda: BytesIO(data)):  # noqa: B023
            sent.append(len(data))
    return len(sent), sum(sent)


def _read(content: Content, path: str) -> bytes:
    with content.open() as source:
        data = read_exactly(source, content.size, path)
        if source.read(1):
            raise _grown(path)
    return data


def _hash(content: Content, path: str) -> ObjectHash:
    state = xxhash.xxh3_128()
    left = content.size
    with content.open() as source:
        while left > 0:
            data = read_exactly(source, min(left, _PIECE_BYTES), path)
            state.update(data)
            left -= len(data)
        if source.read(1):
            raise _grown(path)
    return ObjectHash(state.intdigest())


def _grown(path: str) -> SourceChanged:
    return SourceChanged(f"{quoted(path)} became longer while it was read; nothing was committed")
