"""The official client while the server dies, and while somebody else commits."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Running, running

from oxenfs.model import hash_text
from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import open_repository

from . import drawing
from .client import Client, ClientError, tree_of
from .test_push import LOG, clone, commit, make, push


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Running]:
    """A server for one test, which may kill it."""
    with running(tmp_path / "root") as server:
        yield server


def history_of(server: Running, name: str) -> list[str]:
    remote = open_repository(server.folder / name)
    try:
        branches = remote.branches()
        return [hash_text(c.id) for c in remote.history(branches[0].commit)] if branches else []
    finally:
        remote.close()


def test_a_push_into_a_dying_server_is_finished_by_the_next(
    client: Client, mortal: Running, drawn: random.Random, name: str, tmp_path: Path
) -> None:
    url = make(client, mortal, name)
    work = tmp_path / "work"
    commit(client, work, drawing.files(drawn), "first")
    push(client, work, url)
    for round in range(2):
        before = history_of(mortal, name)
        more = {f"{round}/{n}": drawn.randbytes(100_000) for n in range(60)}
        new = commit(client, work, more, f"round {round}")
        delay = drawn.uniform(0, 0.4)
        timer = threading.Timer(delay, mortal.kill)
        timer.start()
        try:
            push(client, work, url)
            told = True
        except ClientError:
            told = False
        timer.join()
        assert list(check(mortal.folder / name)) == []
        assert history_of(mortal, name) in ([new, *before], *([] if told else [before]))
        mortal.start()
        url = f"{mortal.url}/{name}"
        push(client, work, url)
        assert history_of(mortal, name) == [new, *before]
    assert clone(client, url, tmp_path / "clone") == tree_of(work)


def test_nobody_loses_a_commit_that_was_confirmed(
    client: Client,
    mortal: Running,
    drawn: random.Random,
    name: str,
    tmp_path: Path,
    full_size: bool,
) -> None:
    url = make(client, mortal, name)
    work = tmp_path / "work"
    commit(client, work, drawing.files(drawn, 3), "first")
    push(client, work, url)
    # The other one is the client as well, in another process: an upload is a commit at once.
    (tmp_path / "home").mkdir()
    other = Client(tmp_path / "home")
    (tmp_path / "up.txt").write_text("x")
    confirmed: list[str] = []
    stop = threading.Event()

    def uploads() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            code = """
            repo = RemoteRepo(name, host=host, scheme="http")
            repo.upload(file, message, dst_dir=f"up/{message}")
            """
            values = {"name": name, "host": mortal.host, "file": str(tmp_path / "up.txt")}
            other.run(code, message=f"up {number}", **values)
            confirmed.append(f"up {number}")
            time.sleep(drawn.uniform(0, 0.3))

    thread = threading.Thread(target=uploads)
    thread.start()
    try:
        for number in range(50 if full_size else 6):
            client.run("Repo(folder).pull()", folder=str(work))
            commit(client, work, {f"mine {number}": b"%d" % number}, f"mine {number}")
            try:
                push(client, work, url)
            except ClientError:
                continue
            confirmed.append(f"mine {number}")
    finally:
        stop.set()
        thread.join(timeout=60)
        other.close()
    remote = open_repository(mortal.folder / name)
    kept = {each.message for each in remote.history(remote.branch("main").commit)}
    remote.close()
    assert set(confirmed) <= kept
    assert list(check(mortal.folder / name)) == []
    clone(client, url, tmp_path / "clone")
    assert client.run(LOG, folder=str(tmp_path / "clone"))
