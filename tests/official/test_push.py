"""The official client clones, pulls and pushes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import drawing
from .client import Client, ClientError, tree_of

if TYPE_CHECKING:
    from serving import Running

COMMIT = """
repo = Repo(folder)
if not Path(folder, ".oxen").exists():
    repo.init()
repo.add(folder)
commit = repo.commit(message)
result = commit.id
"""
PUSH = """
repo = Repo(folder)
repo.set_remote("origin", url)
repo.push(branch=branch)
"""
CLONE = "Repo(folder).clone(url)"
LOG = "result = [commit.id for commit in Repo(folder).log()]"


def make(client: Client, server: Running, name: str) -> str:
    client.run(
        "RemoteRepo(name, host=host, scheme='http').create(empty=True)", name=name, host=server.host
    )
    return f"{server.url}/{name}"


def commit(client: Client, folder: Path, tree: dict[str, bytes], message: str) -> str:
    drawing.write(folder, tree)
    return str(client.run(COMMIT, folder=str(folder), message=message))


def push(client: Client, folder: Path, url: str, branch: str = "main") -> None:
    client.run(PUSH, folder=str(folder), url=url, branch=branch)


def clone(client: Client, url: str, folder: Path) -> dict[str, bytes]:
    client.run(CLONE, folder=str(folder), url=url)
    return tree_of(folder)


def test_what_is_pushed_comes_back_in_a_clone(
    client: Client, server: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    tree = drawing.files(drawn)
    tree["big file.bin"] = drawn.randbytes(drawing.BIG_BYTES + drawn.randrange(10_000))
    work = tmp_path / "work"
    first = commit(client, work, tree, "first ünï")
    push(client, work, url)
    more = drawing.files(drawn)
    second = commit(client, work, more, "second")
    push(client, work, url)

    assert clone(client, url, tmp_path / "clone") == tree_of(work)
    assert client.run(LOG, folder=str(tmp_path / "clone")) == [second, first]


def test_a_clone_pulls_what_the_server_committed(
    client: Client, server: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    work, other = tmp_path / "work", tmp_path / "other"
    commit(client, work, drawing.files(drawn), "first")
    push(client, work, url)
    clone(client, url, other)
    data = drawn.randbytes(5000)
    (tmp_path / "up.bin").write_bytes(data)
    client.run(
        """
        repo = RemoteRepo(name, host=host, scheme="http")
        repo.upload(file, "uploaded", dst_dir="new folder")
        """,
        name=name,
        host=server.host,
        file=str(tmp_path / "up.bin"),
    )
    client.run("Repo(folder).pull()", folder=str(other))
    assert tree_of(other) == {**tree_of(work), "new folder/up.bin": data}
    # And on from there.
    commit(client, other, {"on top.txt": b"top"}, "on top")
    push(client, other, url)
    assert clone(client, url, tmp_path / "again") == tree_of(other)


def test_a_push_that_is_behind_is_refused(
    client: Client, server: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    commit(client, mine, drawing.files(drawn), "first")
    push(client, mine, url)
    clone(client, url, theirs)
    commit(client, theirs, {"theirs.txt": b"1"}, "theirs")
    push(client, theirs, url)
    commit(client, mine, {"mine.txt": b"2"}, "mine")
    with pytest.raises(ClientError, match="behind"):
        push(client, mine, url)
    assert clone(client, url, tmp_path / "after") == tree_of(theirs)


def test_a_merge_commit_is_pushed(
    client: Client, server: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    work = tmp_path / "work"
    commit(client, work, drawing.files(drawn), "first")
    push(client, work, url)
    client.run("Repo(folder).checkout('side', create=True)", folder=str(work))
    side = commit(client, work, {"side.txt": b"side", "d/side.txt": b"s"}, "on side")
    client.run("Repo(folder).checkout('main')", folder=str(work))
    main = commit(client, work, {"main.txt": b"main"}, "on main")
    client.run("Repo(folder).merge('side')", folder=str(work))
    merged = client.run(LOG, folder=str(work))[0]
    push(client, work, url)
    assert clone(client, url, tmp_path / "clone") == tree_of(work)
    log = client.run(LOG, folder=str(tmp_path / "clone"))
    assert log[0] == merged
    assert {side, main} < set(log)


def test_branches_are_pushed_and_cloned(
    client: Client, server: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    work = tmp_path / "work"
    commit(client, work, drawing.files(drawn), "first")
    push(client, work, url)
    client.run("Repo(folder).checkout('a/b', create=True)", folder=str(work))
    head = commit(client, work, {"on branch.txt": b"b"}, "on a branch")
    push(client, work, url, "a/b")
    names = client.run(
        """
        repo = RemoteRepo(name, host=host, scheme="http")
        result = {branch.name: branch.commit_id for branch in repo.branches()}
        """,
        name=name,
        host=server.host,
    )
    assert names["a/b"] == head
    client.run("Repo(folder).clone(url, branch='a/b')", folder=str(tmp_path / "c"), url=url)
    assert tree_of(tmp_path / "c") == tree_of(work)


def test_an_empty_repository_can_be_cloned(
    client: Client, server: Running, name: str, tmp_path: Path
) -> None:
    url = make(client, server, name)
    assert clone(client, url, tmp_path / "empty") == {}
