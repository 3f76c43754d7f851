"""A workspace: the server-side staging area of one publish.

Facts (oxen-server 0.65): a workspace found by name answers with the id that was asked with, so a
fresh name is used as the id too; paths in URLs arrive with `%25` and `%2B` not undone, so paths
travel in bodies and in multipart file names only; a file missing from `paths` was not staged,
although the answer is 200.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO
from urllib.parse import quote

from oxenfs.errors import (
    Busy,
    Conflict,
    NotFound,
    NothingToPublish,
    RemoteRefused,
    RemoteUnavailable,
)
from oxenfs.model import Author, ObjectHash, hash_text
from oxenfs.remote.http.answers import commit_of, hash_of, items, mapping, text
from oxenfs.remote.http.transport import Transport

_TRIES = 8
_PIECE_BYTES = 1 << 20


class Workspace:
    """One workspace. Safe to stage into from several threads.

    Attributes:
        base: the commit that it is pinned to.
    """

    def __init__(self, transport: Transport, branch: str) -> None:
        """Make a workspace with a name of its own on the head of `branch`."""
        self._transport = transport
        self.name = f"publish-{secrets.token_hex(12)}"
        body = {
            "workspace_id": self.name,
            "branch_name": branch,
            "resource_path": "/",
            "entity_type": "user",
            "name": self.name,
            "force": True,
        }
        answer = transport.json("PUT", "/workspaces", body=body)
        made = mapping(answer.get("workspace"), "a workspace")
        self.base = hash_of(mapping(made.get("commit"), "a commit").get("id"))
        self._path = f"/workspaces/{quote(self.name)}"

    def stage_small(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Stage whole files, some MB in one request.

        Raises:
            RemoteRefused: the server left one of them out.
        """
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        body = b"".join(_multipart(files, boundary.encode()))
        staged = self._json("POST", f"{self._path}/files/", body, headers)
        missing = {path for path, _ in files} - set(items(staged.get("paths"), "paths"))
        if missing:
            raise RemoteRefused(f"the server did not take {sorted(missing)[0]!r}")

    def stage_large(self, path: str, blob: ObjectHash, size: int, source: BinaryIO) -> bool:
        """Stage a file of known hash in parts; return whether its bytes had to be sent.

        Raises:
            RemoteRefused: the bytes of `source` do not have the hash, or are not as many.
        """
        destination = {"workspace_id": self.name, "path": path}
        wanted = {"hash": hash_text(blob), "size": size, "destination": destination}
        answer = self._transport.json("POST", "/versions/uploads", body=wanted)
        if answer.get("file") == "already_stored":
            return False
        upload = quote(text(answer.get("upload_id"), "an upload id"))
        part_size = int(answer.get("part_size") or 0)
        if part_size <= 0:
            raise RemoteRefused("the server does not say how large the parts of an upload are")
        for number, start in enumerate(range(0, size, part_size), 1):
            part = _read_exactly(source, min(part_size, size - start))
            done = self._send_part(f"/versions/uploads/{upload}/parts/{number}", part)
            if done.get("completed") is True:
                return True
        raise RemoteRefused(f"the server did not complete the upload of {path!r}")

    def remove(self, paths: Sequence[str]) -> None:
        """Stage removals of files or whole folders; raise `RemoteRefused` if one was refused."""
        answer = self._transport.json("DELETE", f"{self._path}/files", body=list(paths))
        if answer.get("status") != "success":
            raise RemoteRefused(f"the server did not remove {answer.get('paths')!r:.200}")

    def commit(self, branch: str, message: str, author: Author) -> ObjectHash:
        """Commit what is staged on top of the branch's head; return the new commit's id.

        Raises:
            Conflict: the branch has other changes of the same paths.
            NothingToPublish: nothing staged differs from the head.
        """
        body = {"message": message, "author": author.name, "email": author.email}
        where = "/".join(quote(part, safe="") for part in branch.split("/"))
        verb = "merge"
        for attempt in range(_TRIES):
            try:
                answer = self._transport.json("POST", f"{self._path}/{verb}/{where}", body=body)
                return commit_of(answer.get("commit")).id
            except Busy as exc:
                # Two commits in one second may get one id, or the branch moved meanwhile.
                if attempt == _TRIES - 1:
                    raise
                time.sleep(min(max(exc.retry_after_s, 1.0), 10.0))
            except NotFound:
                # Servers before 0.65 know the older name only.
                if verb == "commit":
                    raise
                verb = "commit"
            except RemoteRefused as exc:
                if "NoChanges" in str(exc):
                    raise NothingToPublish(f"branch {branch} has all of this already") from exc
                raise
            except Conflict as exc:
                raise Conflict(f"branch {branch} moved, and in the same paths: {exc}") from exc
        raise RemoteUnavailable(f"branch {branch} kept moving; try again")

    def delete(self) -> None:
        """Remove the workspace with all that is staged."""
        self._transport.json("DELETE", self._path)

    def _send_part(self, path: str, part: bytes) -> dict[str, object]:
        headers = {"Content-Type": "application/octet-stream"}
        for _ in range(_TRIES):
            try:
                return self._json("PUT", path, part, headers)
            except Busy as exc:
                time.sleep(min(exc.retry_after_s, 10.0))
        raise RemoteUnavailable(f"{path}: the server stays busy")

    def _json(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> dict[str, object]:
        return self._transport.json_of(method, path, body, headers)


def sendable(path: str) -> bool:
    """Return whether `path` can be a multipart file name without being changed on the way."""
    return path.isprintable() and '"' not in path and "\\" not in path


def _multipart(files: Sequence[tuple[str, bytes]], boundary: bytes) -> Iterator[bytes]:
    for path, content in files:
        yield b"--" + boundary + b"\r\n"
        yield f'Content-Disposition: form-data; name="file[]"; filename="{path}"\r\n'.encode()
        yield b"Content-Type: application/octet-stream\r\n\r\n"
        yield content
        yield b"\r\n"
    yield b"--" + boundary + b"--\r\n"


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    parts = []
    while size > 0:
        data = source.read(min(size, _PIECE_BYTES))
        if not data:
            raise RemoteRefused("a file became shorter while it was sent")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
