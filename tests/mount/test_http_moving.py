"""A mount of a repository on a server that moves: what is asked for, and what is not."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_trio import in_trio
from remote.http import serving
from repositories import commit

from oxenfs.address import parse
from oxenfs.errors import NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Operations, Usage
from oxenfs.remote.base import Remote
from oxenfs.remote.http.transport import Transport
from oxenfs.views import stack
from oxenfs.views.plan import Plan

from .calling import code_of, find
from .test_moving import Notes

FILES = {
    b"%02d/%02d/%d" % (top, middle, leaf): b"%d" % leaf
    for top in range(4)
    for middle in range(5)
    for leaf in range(6)
}
CHANGED = {b"%02d/03/2" % top: b"changed" for top in range(4)} | {b"00/new/file": b"new"}


class Place:
    def __init__(self, remote: Remote, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.remote = remote
        self.first = commit(remote, FILES)
        self.asked: list[str] = []
        self.stack = stack.build(Plan(parse(remote.address), folder / "cache"))
        self.handlers = Operations(self.stack.root, Usage(0, 0))
        self.mover = Mover(self.stack, self.handlers)
        self.notes = self.mover.kernel = Notes(self.handlers)
        plain = Transport.open

        def noted(transport: Transport, method: str, path: str, **more: Any) -> Any:
            self.asked.append(f"{method} {path}")
            return plain(transport, method, path, **more)

        monkeypatch.setattr(Transport, "open", noted)

    async def content(self, path: bytes) -> bytes:
        opened = await self.handlers.open(await find(self.handlers, path), 0)
        found = bytes(await self.handlers.read(int(opened.fh), 0, 10_000))
        await self.handlers.release(int(opened.fh))
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    with serving.ours(tmp_path / "served", serving.free_port()) as server:
        remote = server.remote()
        made = Place(remote, tmp_path, monkeypatch)
        yield made
        made.handlers.close()
        made.stack.close()
        remote.close()


@in_trio
async def test_a_pull_asks_for_the_difference_in_one_request(place: Place) -> None:
    for path in FILES:
        await find(place.handlers, path)
    second = commit(place.remote, CHANGED)
    place.asked.clear()
    await place.mover.pull()
    # The branch, the commit, its root, and all that differs.
    assert len(place.asked) == 4
    difference = f"/tree/download/{hash_text(place.first)}..{hash_text(second)}"
    assert place.asked[-1] == f"GET {difference}"
    place.asked.clear()
    for path in FILES | CHANGED:
        await find(place.handlers, path)
    assert place.asked == []
    for path, data in CHANGED.items():
        assert await place.content(path) == data


@in_trio
async def test_a_pull_over_several_commits_knows_their_dates(place: Place) -> None:
    await find(place.handlers, b"00/03/2")
    for number in range(3):
        commit(place.remote, {b"%02d/03/2" % number: b"changed"}, message=str(number))
    place.asked.clear()
    facts = await place.mover.pull()
    assert len(place.asked) == 5  # and the history up to the commit of before
    for number, parent in ((0, 2), (1, 1), (2, 0)):
        dated = await place.handlers.getattr(await find(place.handlers, b"%02d" % number))
        at = facts.commit
        for _ in range(parent):
            at = place.remote.commit(at.parents[0])
        assert dated.st_mtime_ns == at.timestamp_ns


@in_trio
async def test_going_back_asks_for_no_more_than_what_is_not_known(place: Place) -> None:
    for path in FILES:
        await find(place.handlers, path)
    second = commit(place.remote, CHANGED)
    await place.mover.pull()
    await place.mover.checkout(hash_text(place.first), None)
    place.asked.clear()
    await place.mover.checkout(hash_text(second), None)
    assert not [asked for asked in place.asked if ".." in asked]
    assert len(place.asked) <= 4  # whether it is a branch, the commit twice, its root
    assert await place.content(b"00/new/file") == b"new"


@in_trio
async def test_a_tree_that_is_gone_from_the_server_is_stale_and_says_why(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit was pruned; what is known of it stays."""
    known = await find(place.handlers, b"00/03/2")
    folder = await find(place.handlers, b"01")

    def gone(*_: object) -> object:
        raise NotFound("no such commit")

    monkeypatch.setattr(type(place.stack.remote), "directory", gone)
    assert (await place.handlers.getattr(known)).st_size == 1
    assert await code_of(place.handlers.opendir(folder)) == errno.ESTALE
    reason = await place.handlers.getxattr(folder, b"user.oxenfs.error")
    assert b"no more: no such commit" in reason


@in_trio
async def test_unrelated_histories_are_compared_folder_by_folder(place: Place) -> None:
    await find(place.handlers, b"00/03/2")
    second = commit(place.remote, CHANGED)
    await place.mover.pull()
    base = place.remote.commit(place.first).parents[0]
    place.asked.clear()
    await place.mover.checkout(hash_text(ObjectHash(base)), None)
    assert not [asked for asked in place.asked if ".." in asked]
    assert await code_of(find(place.handlers, b"00")) == errno.ENOENT
    await place.mover.checkout(hash_text(second), None)
    assert await place.content(b"00/03/2") == b"changed"
