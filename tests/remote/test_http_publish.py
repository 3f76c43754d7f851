"""A publish to a server that fails on the way: nothing twice, nothing lost, nothing left lying."""

from __future__ import annotations

import gzip
import http.client
import json
from typing import Any
from urllib.parse import unquote

import pytest
from repositories import AUTHOR, MIB, noise

from oxenfs.address import Hosted
from oxenfs.errors import (
    Busy,
    Conflict,
    NotFound,
    NothingToPublish,
    OxenfsError,
    RemoteRefused,
    RemoteUnavailable,
    Unsupported,
)
from oxenfs.model import Change, MakeDirectory, ObjectHash, Published, Remove, hash_text
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.http.remote import HttpRemote
from oxenfs.remote.http.workspace import PerhapsPublished

from .http.misbehaving import Misbehaving, Reply, Request, bad, reply, success
from .publish_suite import put
from .test_http_damage import BUCKET, ROOT, commit, directory, tree, vnode

__all__ = ["bad"]

BASE, NEW = ObjectHash(0xBA5E), ObjectHash(0x4E3)
LOST = Reply(b"", then="reset")


def described(id: ObjectHash) -> dict[str, Any]:
    return {
        "id": hash_text(id),
        "parent_ids": [],
        "author": "Ada",
        "email": "ada@x",
        "message": "m",
        "timestamp": "2026-11-20T21:46:37Z",
    }


class Scripted:
    """A server with one empty commit on `main`, whose answers can be replaced.

    Attributes:
        instead: answers by what the method and path begin with, used up one after the other.
        base: what its workspace stands on.
        pauses: how long the client waited.
    """

    def __init__(self, server: Misbehaving) -> None:
        self.server = server
        server.answering = self.answer
        self.instead: dict[str, list[Reply]] = {}
        self.base = BASE
        self.branches = {"main": BASE}
        self.staged: list[str] = []
        self.stored: set[str] = set()
        self.pauses: list[float] = []

    def publish(self, *changes: Change, branch: str = "main") -> Published:
        hosted = Hosted("http", self.server.host, "ns", "name")
        remote = HttpRemote(hosted, None, 5.0, sleep=self.pauses.append)
        try:
            return remote.publish(branch, BASE, changes or [put(b"a", b"1")], "m", AUTHOR)
        finally:
            remote.close()

    def asked(self, beginning: str) -> list[Request]:
        return [r for r in self.server.requests if f"{r.method} {r.path}".startswith(beginning)]

    def answer(self, request: Request) -> Reply:
        what = f"{request.method} {request.path}"
        for beginning, replies in self.instead.items():
            if what.startswith(beginning) and replies:
                return replies.pop(0)
        if "/branches" in what:
            return self._branch(request)
        if what.startswith("GET /tree/download/"):
            return tree(commit(BASE, ROOT), directory(ROOT, BUCKET), vnode(BUCKET))
        if what.startswith(("PUT /workspaces", "GET /workspaces")):
            # A new one stands where the branch is: nobody moves it here.
            self.base = BASE if request.method == "PUT" else self.base
            return success(workspace={"commit": described(self.base)})
        if what.startswith("QUERY /versions"):
            return self._stored(request)
        if what.startswith("POST /versions/uploads"):
            return success(file="already_stored")
        if "/files/" in what:
            names = [
                part.split(b'filename="')[1].split(b'"')[0].decode()
                for part in request.body.split(b"\r\n")
                if b'filename="' in part
            ]
            self.staged += names
            return success(paths=names)
        if "/merge/" in what or "/commit/" in what:
            self.base = NEW
            return success(commit=described(NEW))
        return success()

    def _branch(self, request: Request) -> Reply:
        name = unquote(request.path.removeprefix("/branches/"))
        if request.method == "POST":
            fields = json.loads(request.body)
            self.branches[fields["new_name"]] = ObjectHash(int(fields["commit_id"], 16))
            return success()
        if name not in self.branches:
            return reply(404)
        if request.method == "DELETE":
            del self.branches[name]
            return success()
        id = hash_text(self.branches[name])
        return success(branch={"name": name, "commit_id": id})

    def _stored(self, request: Request) -> Reply:
        wanted = gzip.decompress(request.body).decode().split()
        missing = [each for each in wanted if each not in self.stored]
        if not missing:
            return reply(200, b"an archive that nobody reads")
        error = {"type": "version_blobs_missing", "title": "t", "missing_hashes": missing}
        return reply(404, {"status": "error", "status_message": "m", "error": error})


@pytest.fixture
def server(bad: Misbehaving) -> Scripted:
    return Scripted(bad)


def busy(seconds: int) -> Reply:
    return reply(429, headers={"Retry-After": str(seconds)})


def test_a_publish_stages_commits_and_clears_away(server: Scripted) -> None:
    done = server.publish(put(b"a", b"1"), put(b"b/c", b"22"), put(b"e", b""))
    assert done == Published(NEW, "main", 3, 3, 3)
    assert server.staged == ["a", "b/c", "e"]
    assert len(server.asked("POST /workspaces")) == 2
    assert len(server.asked("DELETE /workspaces")) == 1
    assert server.pauses == []


def test_busy_is_waited_for_as_told_wherever_it_comes(server: Scripted) -> None:
    server.instead = {
        "PUT /workspaces": [busy(3)],
        "POST /workspaces": [busy(2), busy(60)],
        "DELETE /workspaces": [],
    }
    assert server.publish().commit == NEW
    assert server.pauses == [3.0, 2.0, 10.0]


def test_busy_for_ever_is_told_and_cleared_away(server: Scripted) -> None:
    server.instead = {"POST /workspaces": [success(paths=["a"]), *[busy(1)] * 50]}
    with pytest.raises(Busy):
        server.publish()
    assert len(server.pauses) == 7
    assert len(server.asked("DELETE /workspaces")) == 1


def test_a_commit_whose_answer_got_lost_is_found_and_not_repeated(server: Scripted) -> None:
    def lost(request: Request) -> Reply:
        if "/merge/" in request.path:
            server.base = NEW
            return LOST
        return server.answer(request)

    server.server.answering = lost
    assert server.publish().commit == NEW
    assert sum("/merge/" in path for path in server.server.paths) == 1


def test_a_commit_that_may_have_happened_is_not_repeated_nor_cleared_away(
    server: Scripted,
) -> None:
    server.instead = {"POST /workspaces": [success(paths=["a"]), LOST]}
    with pytest.raises(PerhapsPublished, match="may have happened") as caught:
        server.publish(branch="new")
    assert "branch new" in str(caught.value)
    assert sum("/merge/" in path for path in server.server.paths) == 1
    assert server.asked("DELETE") == []
    assert "new" in server.branches


def test_what_cannot_be_cleared_away_does_not_undo_the_commit(server: Scripted) -> None:
    server.instead = {"DELETE /workspaces": [reply(500)]}
    assert server.publish().commit == NEW


def test_what_cannot_be_cleared_away_does_not_hide_the_reason(server: Scripted) -> None:
    server.instead = {
        "POST /workspaces": [success(paths=["a"]), reply(409)],
        "DELETE": [LOST, LOST],
    }
    with pytest.raises(Conflict):
        server.publish(branch="new")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (reply(409), Conflict),
        (reply(422, {"status": "error", "status_message": "NoChanges"}), NothingToPublish),
        (reply(400), RemoteRefused),
        (reply(404), NotFound),
    ],
)
def test_a_branch_made_for_a_publish_that_failed_is_removed(
    server: Scripted, said: Reply, error: type[OxenfsError]
) -> None:
    server.instead = {"POST /workspaces": [success(paths=["a"]), said, said]}
    with pytest.raises(error):
        server.publish(branch="a+b/ünï")
    assert len(server.asked("DELETE /branches/a+b/%C3%BCn%C3%AF")) == 1
    assert len(server.asked("DELETE /workspaces")) == 1


def test_a_new_branch_that_somebody_committed_to_stays(server: Scripted) -> None:
    def moving(request: Request) -> Reply:
        if "/merge/" in request.path:
            server.branches["new"] = NEW
            return reply(409)
        return server.answer(request)

    server.server.answering = moving
    with pytest.raises(Conflict):
        server.publish(branch="new")
    assert server.branches["new"] == NEW
    assert server.asked("DELETE /branches") == []


def test_a_branch_that_somebody_made_meanwhile_is_used(server: Scripted) -> None:
    def racing(request: Request) -> Reply:
        if request.method == "POST" and request.path == "/branches":
            server.branches["new"] = BASE
            return reply(500)
        return server.answer(request)

    server.server.answering = racing
    assert server.publish(branch="new").commit == NEW


def test_an_older_server_is_asked_by_the_older_name(server: Scripted) -> None:
    server.instead = {"POST /workspaces": [success(paths=["a"]), reply(404)]}
    assert server.publish().commit == NEW
    assert ["/merge/" in r.path for r in server.asked("POST /workspaces")] == [False, True, False]


def test_a_file_that_the_server_left_out_is_named(server: Scripted) -> None:
    server.instead = {"POST /workspaces": [success(paths=["a"])]}
    with pytest.raises(RemoteRefused, match="did not take 'b'"):
        server.publish(put(b"a", b"1"), put(b"b", b"2"))


def test_staging_is_tried_again_and_removing_is_not(server: Scripted) -> None:
    server.instead = {"POST /workspaces": [reply(502), reply(502)]}
    assert server.publish().commit == NEW
    assert server.pauses == [0.5, 1.0]
    server.instead = {"POST /workspaces": [reply(502)] * 3}
    with pytest.raises(RemoteUnavailable):
        server.publish()


def test_what_the_server_has_is_staged_without_its_bytes(server: Scripted) -> None:
    data = noise(1000, "stored")
    server.stored = {hash_text(xxh3(data)), hash_text(xxh3(b"new"))}
    done = server.publish(put(b"a", data), put(b"b", b"new"), put(b"c/d", data))
    assert (done.files, done.uploaded_files, done.uploaded_bytes) == (3, 0, 0)
    assert all(data not in request.body for request in server.server.requests)
    uploads = [json.loads(r.body) for r in server.asked("POST /versions/uploads")]
    assert [each["destination"]["path"] for each in uploads] == ["a", "b", "c/d"]


def test_equal_files_are_sent_once(server: Scripted) -> None:
    data = noise(1000, "equal")
    done = server.publish(*(put(b"%d" % n, data) for n in range(5)))
    assert (done.files, done.uploaded_files, done.uploaded_bytes) == (5, 1, 1000)
    assert sum(data in request.body for request in server.server.requests) == 1


@pytest.mark.parametrize("path", [b'q"uote', b"new\nline", b"\x7f"])
def test_a_name_that_a_form_cannot_have_goes_another_way(server: Scripted, path: bytes) -> None:
    assert server.publish(put(path, b"1")).files == 1
    assert server.staged == []
    (upload,) = server.asked("POST /versions/uploads")
    assert json.loads(upload.body)["destination"]["path"] == path.decode()
    with pytest.raises(Unsupported, match="an empty file"):
        server.publish(put(path, b""))


def session(part_size: object = 2 * MIB) -> Reply:
    return success(file="awaiting_parts", upload_id="u/1", part_size=part_size)


def part(*, completed: bool) -> Reply:
    return success(completed=completed)


LARGE = noise(5 * MIB, "large")


def test_a_large_file_goes_in_parts_with_waiting_and_a_new_start(server: Scripted) -> None:
    server.instead = {
        "POST /versions/uploads": [session(), session()],
        "PUT /versions/uploads": [
            part(completed=False),
            reply(404),
            part(completed=False),
            busy(1),
            reply(503),
            part(completed=False),
            part(completed=True),
        ],
    }
    done = server.publish(put(b"large", LARGE))
    assert (done.uploaded_files, done.uploaded_bytes) == (1, len(LARGE))
    sent = server.asked("PUT /versions/uploads/u%2F1/parts/")
    assert [int(request.path.rpartition("/")[2]) for request in sent] == [1, 2, 1, 2, 2, 2, 3]
    assert b"".join(sent[n].body for n in (2, 5, 6)) == LARGE
    assert server.pauses == [1.0, 0.5]


@pytest.mark.parametrize("size", [None, 0, -1, "2", 1.5, 1 << 40, [], {}])
def test_parts_of_an_impossible_size_are_refused(server: Scripted, size: object) -> None:
    server.instead = {"POST /versions/uploads": [session(size)]}
    with pytest.raises(RemoteRefused, match="in parts of"):
        server.publish(put(b"large", LARGE))
    assert len(server.asked("DELETE /workspaces")) == 1


def test_an_upload_that_is_never_complete_is_an_error(server: Scripted) -> None:
    server.instead = {
        "POST /versions/uploads": [session()],
        "PUT /versions/uploads": [part(completed=False)] * 3,
    }
    with pytest.raises(RemoteRefused, match="did not complete"):
        server.publish(put(b"large", LARGE))


def test_an_empty_folder_is_refused_and_one_that_gets_a_file_is_not(server: Scripted) -> None:
    with pytest.raises(Unsupported, match="'d/e' is empty"):
        server.publish(MakeDirectory(b"d/e"), put(b"f", b"1"))
    assert server.publish(MakeDirectory(b"d"), put(b"d/x", b"1")).files == 1


def test_removing_what_is_not_there_is_nothing_to_publish(server: Scripted) -> None:
    with pytest.raises(NothingToPublish):
        server.publish(Remove(b"none"), Remove(b"none/x"))
    assert server.asked("POST /workspaces") == []


def test_a_large_body_is_not_one_call_that_has_to_end_within_the_timeout(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = http.client.HTTPConnection.send

    def noted(self: http.client.HTTPConnection, data: Any) -> None:
        if isinstance(data, bytes):
            sizes.append(len(data))
        send(self, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", noted)
    server.publish(put(b"a", noise(3 * MIB, "body")))
    assert sum(sizes) > 3 * MIB
    assert max(sizes) <= 128 << 10
