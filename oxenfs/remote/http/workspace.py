"""A workspace: the server-side staging area of one publish.

Facts (oxen-server 0.65): a workspace found by name answers with the id that was asked with, so a
fresh name is used as the id too; a named one survives its commit, with the new commit as its base;
paths in URLs arrive with `%25` and `%2B` not undone, so paths travel in bodies and in multipart
file names only; a file missing from `paths` was not staged, although the answer is 200.
"""

from __future__ import annotations

import gzip
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from oxenfs.errors import (
    Busy,
    Conflict,
    NotFound,
    NothingToPublish,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
)
from oxenfs.model import Author, ObjectHash, hash_text
from oxenfs.names import quoted
from oxenfs.remote.base import BlobsMissing
from oxenfs.remote.http.answers import base_of, commit_of, paths_of, read, text
from oxenfs.remote.http.sending import multipart, read_exactly
from oxenfs.remote.http.transport import Transport

T = TypeVar("T")

_BUSY_TRIES = 8
_BUSY_WAIT_MAX_S = 10.0
_BROKEN_TRIES = 3
# What a server may take for its work: one that does nothing else is ten times as fast.
_COMMITTED_PER_S = 500
_STORED_BYTES_PER_S = 50 << 20
# 10 MiB but for files of more than 100 GB. A part is held in memory.
_PART_BYTES_MAX = 256 << 20


class PerhapsPublished(RemoteUnavailable):
    """The commit was asked for, and the answer got lost."""


class Workspace:
    """One workspace. Safe to stage into from several threads.

    What was refused as busy is asked again when the server says so; staging, which may happen
    twice, also when the answer got lost.

    Attributes:
        base: the commit that it is pinned to.
    """

    def __init__(
        self,
        transport: Transport,
        branch: str,
        sleep: Callable[[float], None] = time.sleep,
        name: str | None = None,
    ) -> None:
        """Make a workspace on the head of `branch`, with a name of its own unless one is given."""
        self._transport = transport
        self._sleep = sleep
        self.name = name or f"publish-{secrets.token_hex(12)}"
        self._path = f"/workspaces/{self.name}"
        body = {
            "workspace_id": self.name,
            "branch_name": branch,
            "resource_path": "/",
            "entity_type": "user",
            "name": self.name,
            "force": True,
        }
        self.base = self._again(
            lambda: self._base(transport.json("PUT", "/workspaces", body=body)), twice=True
        )

    def stored(self, blobs: Collection[ObjectHash]) -> set[ObjectHash]:
        """Return which of `blobs` the server has already; none if it cannot tell."""
        lines = "".join(f"{hash_text(blob)}\n" for blob in blobs)
        body = gzip.compress(lines.encode(), 1)
        try:
            # Either it says what is missing, or it begins to send, and is stopped.
            with self._transport.open("QUERY", "/versions", body=body):
                return set(blobs)
        except BlobsMissing as exc:
            return set(blobs) - exc.hashes
        except OxenfsError:
            return set()

    def stage_small(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Stage whole files, some MB in one request; the names must be `sendable`.

        Raises:
            RemoteRefused: the server left one of them out.
        """
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        body = b"".join(multipart(files, boundary.encode()))
        path = f"{self._path}/files/"
        staged = self._again(
            lambda: self._transport.json_of("POST", path, body, headers), twice=True
        )
        names = read(paths_of, staged, self._transport.base)
        missing = {path for path, _ in files}.difference(names)
        if missing:
            raise RemoteRefused(f"{self._transport.base} did not take {quoted(min(missing))}")

    def stage(self, path: str, blob: ObjectHash, size: int, source: Callable[[], BinaryIO]) -> bool:
        """Stage one file of known hash, of at least one byte; return whether it had to be sent.

        Raises:
            RemoteRefused: the bytes of `source` do not have the hash.
            SourceChanged: they are not as many.
        """
        destination = {"workspace_id": self.name, "path": path}
        wanted = {"hash": hash_text(blob), "size": size, "destination": destination}
        for _ in range(_BROKEN_TRIES):
            answer = self._again(
                lambda: self._transport.json(
                    "POST", "/versions/uploads", body=wanted, work_s=size / _STORED_BYTES_PER_S
                ),
                twice=True,
            )
            if answer.get("file") == "already_stored":
                return False
            try:
                with source() as file:
                    self._send_parts(answer, path, size, file)
                return True
            except NotFound:
                # The session has gone: with the last part done, or after a minute of silence.
                continue
        raise RemoteUnavailable(
            f"{self._transport.base} gave up the upload of {quoted(path)} again and again"
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Stage removals of files or whole folders; raise `RemoteRefused` if one was refused."""
        path = f"{self._path}/files"
        self._again(lambda: self._transport.json("DELETE", path, body=list(paths)), twice=False)

    def commit(self, branch: str, message: str, author: Author, files: int = 0) -> ObjectHash:
        """Commit what is staged on top of the branch's head; return the new commit's id.

        Args:
            branch: where to.
            message: of the commit.
            author: of the commit.
            files: how many are staged; a server may be silent longer for many.

        Raises:
            Conflict: the branch has other changes of the same paths.
            NothingToPublish: nothing staged differs from the head.
            PerhapsPublished: no answer came, and the workspace does not tell either.
        """
        body = {"message": message, "author": author.name, "email": author.email}
        where = branch_path(branch)

        def ask(verb: str) -> ObjectHash:
            # Two commits in one second may get one id, or the branch moves meanwhile: then the
            # server is busy.
            answer = self._again(
                lambda: self._transport.json(
                    "POST",
                    f"{self._path}/{verb}/{where}",
                    body=body,
                    work_s=files / _COMMITTED_PER_S,
                ),
                twice=False,
            )
            return read(commit_of, answer.get("commit"), self._transport.base).id

        try:
            try:
                return ask("merge")
            except NotFound:
                # Servers before 0.65 know the older name only.
                return ask("commit")
        except Busy:
            raise
        except RemoteUnavailable as exc:
            return self._committed(branch, exc)
        except RemoteRefused as exc:
            if "NoChanges" in str(exc):
                raise NothingToPublish(f"branch {branch} has all of this already") from exc
            raise
        except Conflict as exc:
            raise Conflict(f"branch {branch} moved, and in the same paths: {exc}") from exc

    def delete(self) -> None:
        """Remove the workspace with all that is staged."""
        self._transport.json("DELETE", self._path)

    def _committed(self, branch: str, lost: RemoteUnavailable) -> ObjectHash:
        """Return the commit whose answer got lost: the workspace stands on it now."""
        try:
            now = self._again(
                lambda: self._base(self._transport.json("GET", self._path)), twice=True
            )
        except OxenfsError:
            now = self.base
        if now != self.base:
            return now
        raise PerhapsPublished(
            f"no answer to the commit, which may have happened: look at the log of branch {branch} "
            f"before trying again; {lost}"
        ) from lost

    def _base(self, answer: dict[str, Any]) -> ObjectHash:
        return read(base_of, answer, self._transport.base)

    def _send_parts(self, session: dict[str, Any], path: str, size: int, source: BinaryIO) -> None:
        part_size = session.get("part_size")
        if not isinstance(part_size, int) or not 0 < part_size <= _PART_BYTES_MAX:
            raise RemoteRefused(
                f"{self._transport.base} wants an upload in parts of {part_size!r:.60} bytes"
            )
        upload = quote(
            read(lambda id: text(id, "an upload"), session.get("upload_id"), self._transport.base),
            safe="",
        )
        headers = {"Content-Type": "application/octet-stream"}
        done: dict[str, Any] = {}
        for number, start in enumerate(range(0, size, part_size), 1):
            # With the last part it checks and keeps all of it.
            work_s = size / _STORED_BYTES_PER_S if start + part_size >= size else 0.0
            part = read_exactly(source, min(part_size, size - start), path)
            where = f"/versions/uploads/{upload}/parts/{number}"
            done = self._again(
                lambda: self._transport.json_of(
                    "PUT",
                    where,  # noqa: B023
                    part,  # noqa: B023
                    headers,
                    work_s=work_s,  # noqa: B023
                ),
                twice=True,
            )
        if done.get("completed") is not True:
            raise RemoteRefused(
                f"{self._transport.base} did not complete the upload of {quoted(path)}"
            )

    def _again(self, call: Callable[[], T], *, twice: bool) -> T:
        """Call until the server is not busy; `twice`: also if what was asked may have happened."""
        busy = broken = 0
        while True:
            try:
                return call()
            except Busy as exc:
                busy += 1
                if busy == _BUSY_TRIES:
                    raise
                wait_s = min(max(exc.retry_after_s, 0.1), _BUSY_WAIT_MAX_S)
            except RemoteUnavailable:
                broken += 1
                if not twice or broken == _BROKEN_TRIES:
                    raise
                wait_s = 0.5 * broken
            self._sleep(wait_s)


def workspace_base(transport: Transport, name: str) -> ObjectHash | None:
    """Return the commit that a workspace is pinned to, None if there is none of that name."""
    try:
        answer = transport.json("GET", f"/workspaces/{quote(name, safe='')}")
    except NotFound:
        return None
    return read(base_of, answer, transport.base)


def branch_path(name: str) -> str:
    """Return a branch's name as it goes into a URL, where servers do not undo `%2B`."""
    return "/".join(quote(part, safe="+") for part in name.split("/"))
