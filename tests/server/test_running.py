"""The server as a process: names on the wire, kills, memory, many clients at once."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from repositories import noise
from serving import Running, running

from oxenfs.model import hash_text
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import open_repository

from .conftest import NAME, Api, R

ODD = "d%x/we ird%41#?&+é.txt"
MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "root") as server:
        yield server


@pytest.fixture
def repo(server: Running) -> Iterator[Api]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        api = Api(client, server.folder)
        api.create()
        yield api


def again(server: Running) -> Api:
    return Api(httpx.Client(base_url=server.url, timeout=60, trust_env=False), server.folder)


def rss_bytes(server: Running) -> int:
    """Return what is the server's own memory: mapped index pages are the page cache's."""
    total = 0
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            total += int(line.split()[1]) * 1024
    return total


def test_odd_names_are_found(repo: Api) -> None:
    names = {ODD: b"w", "back\\slash": b"b", "plus+ and %2B": b"p"}
    repo.fill(names)
    for name, data in names.items():
        assert repo.content(f"/file/main/{quote(name)}") == data
        assert repo.content(f"/chunk/main/{quote(name)}?chunk_start=0&chunk_size=1") == data
        entry = repo.get(f"/meta/main/{quote(name)}")["entry"]
        assert entry["resource"]["path"] == name
    listed = repo.get(f"/dir/main/{quote('d%x')}")["entries"]
    assert [entry["filename"] for entry in listed] == [ODD.split("/")[1]]


def test_everything_survives_a_restart(repo: Api, server: Running) -> None:
    repo.fill({"a": b"1"})
    repo.workspace("kept", name="kept")
    repo.stage({"b": b"2"}, "kept")
    server.kill()
    server.start()
    after = again(server)
    assert after.content("/file/main/a") == b"1"
    after.commit("kept")
    assert after.content("/file/main/b") == b"2"
    after.client.close()


def test_a_kill_leaves_the_old_or_the_new_head(repo: Api, server: Running) -> None:
    told = [repo.fill({"start": b"0"})]

    def commits(api: Api) -> None:
        try:
            for number in range(1000):
                data = noise(20_000, (len(told), number))
                told.append(api.fill({f"f{number % 7}": data, f"d/{len(told)}": b"x"}))
        except (httpx.HTTPError, AssertionError):
            # The connection ended; what was under way was never promised.
            pass

    for round in range(4):
        api = again(server)
        thread = threading.Thread(target=commits, args=(api,))
        known = len(told)
        thread.start()
        until = time.monotonic() + 20
        while len(told) < known + 2 + round and time.monotonic() < until:
            time.sleep(0.01)
        server.kill()
        thread.join(timeout=30)
        api.client.close()
        assert list(check(server.folder / NAME)) == []
        remote = open_repository(server.folder / NAME)
        kept = {hash_text(commit.id) for commit in remote.history(remote.branch("main").commit)}
        remote.close()
        # At most the one whose answer did not arrive is there besides.
        assert set(told) <= kept
        server.start()
    assert server.problems() == ""


def test_parallel_commits_are_all_kept(repo: Api) -> None:
    repo.fill({"start": b"0"})

    def one(number: int) -> str:
        api = Api(repo.client, repo.root)
        api.workspace(f"w{number}")
        api.stage({f"d/{number}": b"%d" % number}, f"w{number}")
        id: str = api.commit(f"w{number}", text=f"m{number}")["commit"]["id"]
        return id

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(one, range(16)))
    history = repo.get("/commits/history/main")["commits"]
    assert made <= {commit["id"] for commit in history}
    assert repo.get("/dir/main/d")["total_entries"] == 16


def test_a_large_file_passes_in_flat_memory(repo: Api, server: Running) -> None:
    block = noise(MIB, "block")
    count = 200
    size = count * MIB
    repo.workspace()

    def body() -> Iterator[bytes]:
        head = 'Content-Disposition: form-data; name="file[]"; filename="raw.bin"\r\n\r\n'
        yield f"--line\r\n{head}".encode()
        for _ in range(count):
            yield block
        yield b"\r\n--line--\r\n"

    before = rss_bytes(server)
    answer = repo.client.post(
        f"{R}/workspaces/w/files/",
        content=body(),
        headers={"content-type": "multipart/form-data; boundary=line"},
    )
    assert answer.json()["paths"] == ["raw.bin"]
    repo.commit()
    blob = repo.get("/meta/main/raw.bin")["entry"]["hash"]
    # By path, and in a batch: a real server sends any size.
    got = 0
    with repo.client.stream("GET", f"{R}/file/main/raw.bin") as stream:
        assert stream.headers["content-length"] == str(size)
        for piece in stream.iter_raw():
            got += len(piece)
    assert got == size
    batch = gzip.compress(f"{blob}\n".encode())
    with repo.client.stream("QUERY", f"{R}/versions", content=batch) as stream:
        assert sum(len(piece) for piece in stream.iter_raw()) > size
    assert rss_bytes(server) - before < 64 * MIB


def test_many_readers_at_once(repo: Api, server: Running) -> None:
    files = {f"f{number}": noise(200_000, number) for number in range(32)}
    repo.fill(files)

    def read(number: int) -> bool:
        name = f"f{number % 32}"
        return repo.content(f"/file/main/{name}") == files[name]

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(read, range(256)))
    assert rss_bytes(server) < 300 * MIB


def test_a_client_that_goes_away_leaves_nothing(repo: Api, server: Running) -> None:
    repo.fill({"a": b"1"})
    repo.workspace()

    def body() -> Iterator[bytes]:
        yield b'--line\r\nContent-Disposition: form-data; name="file[]"; filename="x"\r\n\r\n'
        yield bytes(3 * MIB)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        repo.client.post(
            f"{R}/workspaces/w/files/",
            content=body(),
            headers={"content-type": "multipart/form-data; boundary=line"},
        )
    tmp = server.folder / NAME / "tmp"
    until = time.monotonic() + 20
    while list(tmp.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert list(tmp.iterdir()) == []
    assert repo.get("/workspaces/w/changes")["staged"]["added_files"]["total_entries"] == 0


def test_head_and_body_of_small_answers_come_together(repo: Api, server: Running) -> None:
    import socket

    data = b"small\n"
    repo.fill({"f": data})
    host, _, port = server.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(f"GET {R}/file/main/f HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        first = raw.recv(65536)
    assert first.endswith(b"\r\n\r\n" + data)


def test_the_hash_of_nothing_is_known(repo: Api) -> None:
    repo.fill({"empty": b""})
    assert repo.get("/meta/main/empty")["entry"]["hash"] == hash_text(xxh3(b""))
