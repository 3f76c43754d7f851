"""A change set becomes a commit on a server: through a workspace, so nobody's commit is lost.

The server itself tells conflicts only for what changes after the workspace was made; what changed
between the base and that moment is compared here, path by path.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import xxhash

from oxenfs.errors import NotFound, NothingToPublish, Unsupported
from oxenfs.model import (
    Author,
    Change,
    Content,
    MakeDirectory,
    ObjectHash,
    Published,
    Put,
    Remove,
)
from oxenfs.remote.changes import checked, refuse_conflicts
from oxenfs.remote.cursor import Found, TreeCursor
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.http.workspace import Workspace, sendable
from oxenfs.remote.wire import DIRECTORY, FILE

if TYPE_CHECKING:
    from oxenfs.remote.http.remote import HttpRemote

# Larger ones go in sessions, which ask first whether the server has the blob.
_SMALL_BYTES_MAX = 4 << 20
_BATCH_BYTES = 8 << 20
_BATCH_FILES = 500
_REMOVALS = 1000
_AT_ONCE = 4
_PIECE_BYTES = 1 << 20


class HttpPublisher:
    """Publishes to one repository. Memory: a few batches of 8 MiB."""

    def __init__(self, remote: HttpRemote, transport: Transport) -> None:
        """Publish through `transport`; `remote` reads what is there."""
        self._remote = remote
        self._transport = transport

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """See `oxenfs.remote.base.Remote.publish`."""
        made = self._make_branch(branch, base)
        done = False
        workspace = Workspace(self._transport, branch)
        try:
            with _Stage(workspace, self._remote, base) as stage:
                for change in checked(changes):
                    stage.add(change)
            refuse_conflicts(branch, stage.conflicts)
            if not stage.files:
                raise NothingToPublish(f"branch {branch} has all of this already")
            commit = workspace.commit(branch, message, author)
            done = True
        finally:
            workspace.delete()
            if made and not done:
                self._transport.json("DELETE", f"/branches/{branch}")
        return Published(commit, branch, stage.files, stage.sent_files, stage.sent_bytes)

    def _make_branch(self, branch: str, base: ObjectHash) -> bool:
        try:
            self._remote.branch(branch)
        except NotFound:
            self._remote.make_branch(branch, base)
            return True
        return False


class _Stage:
    """Takes changes in tree order and stages those that change something.

    Attributes:
        files: paths staged.
        conflicts: paths that somebody else changed between the base and the workspace's.
    """

    def __init__(self, workspace: Workspace, remote: HttpRemote, base: ObjectHash) -> None:
        self._workspace = workspace
        self._now = _cursor(remote, workspace.base)
        self._before = self._now if workspace.base == base else _cursor(remote, base)
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = 0
        self._removals: list[str] = []
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._running: set[Future[None]] = set()
        self.files = self.sent_files = self.sent_bytes = 0
        self.conflicts: list[bytes] = []

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self.conflicts:
                self._flush()
                self._wait_for(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def add(self, change: Change) -> None:
        """Stage one change; after the first conflict nothing is sent any more."""
        there = self._now.entry(change.path)
        if isinstance(change, Remove):
            self._check(change.path, there, wanted=there is None)
            if there is not None:
                self.files += 1
                self._remove(change.path.decode())
        elif isinstance(change, MakeDirectory):
            wanted = there is not None and there[0] == DIRECTORY
            if not wanted:
                raise Unsupported(
                    f"the folder {change.path.decode()!r} is empty, which a server cannot store; "
                    "--skip-unsupported leaves it out"
                )
        else:
            self._put(change, there)

    def _put(self, change: Put, there: Found) -> None:
        content = change.content
        path = change.path.decode()
        if content.size <= _SMALL_BYTES_MAX:
            with content.open() as source:
                data = source.read(_SMALL_BYTES_MAX + 1)
            blob = ObjectHash(xxhash.xxh3_128_intdigest(data))
        else:
            data = b""
            blob = _hash(content)
        same = there == (FILE, blob)
        self._check(change.path, there, wanted=same)
        if same or self.conflicts:
            return
        self.files += 1
        if content.size > _SMALL_BYTES_MAX or (data and not sendable(path)):
            self._flush()
            with content.open() as source:
                sent = self._workspace.stage_large(path, blob, content.size, source)
            self.sent_files += sent
            self.sent_bytes += sent * content.size
            return
        if not sendable(path):
            raise Unsupported(f"an empty file with the name {path!r} cannot be sent to a server")
        self._batch.append((path, data))
        self._batch_bytes += len(data)
        self.sent_files += 1
        self.sent_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._flush()

    def _check(self, path: bytes, there: Found, *, wanted: bool) -> None:
        if self._before is self._now or wanted or there == self._before.entry(path):
            return
        self.conflicts.append(path)

    def _remove(self, path: str) -> None:
        self._removals.append(path)
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
            self._running.add(self._pool.submit(self._workspace.stage_small, self._batch))
            self._batch = []
            self._batch_bytes = 0

    def _wait_for(self, still: int) -> None:
        while len(self._running) > still:
            done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()


def _cursor(remote: HttpRemote, commit: ObjectHash) -> TreeCursor:
    return TreeCursor(remote.directory, commit, remote.root(commit))


def _hash(content: Content) -> ObjectHash:
    state = xxhash.xxh3_128()
    with content.open() as source:
        while data := source.read(_PIECE_BYTES):
            state.update(data)
    return ObjectHash(state.intdigest())
