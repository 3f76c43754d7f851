"""Listings made ahead, in a process of their own."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from in_trio import in_trio
from repositories import Spy, make_repository

from oxenfs.errors import RemoteUnavailable
from oxenfs.model import ObjectHash
from oxenfs.remote.base import DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.records import ListingRecords, complete_directories, make_columns
from oxenfs.store.warm import Task, warm, warm_in_child

FILES = {
    b"%d/%d/%d" % (a, b, c): b"%d" % c for a in range(5) for b in range(4) for c in range(30)
} | {b"top": b"x"}


class OverTheNetwork:
    """A remote whose blobs are not files here; counts how often its tree is asked for."""

    def __init__(self, inner: LocalRemote) -> None:
        self.inner = inner
        self.trees = 0

    def commit(self, id: ObjectHash) -> object:
        return self.inner.commit(id)

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        self.trees += 1
        return self.inner.tree(commit)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "data", FILES)
    yield made
    made.close()


@pytest.fixture
def records(remote: LocalRemote, tmp_path: Path) -> Iterator[ListingRecords]:
    made = ListingRecords(remote.key, tmp_path / "cache")
    yield made
    made.close()


def directories(remote: LocalRemote, commit: ObjectHash) -> dict[ObjectHash, DirectoryNodes]:
    ids = [node.id for node in remote.tree(commit) if node.node[0] == 1]
    return {id: remote.directory(id, TreePlace(commit, b"")) for id in ids}


def commands_of_children() -> list[bytes]:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in listed.split()]


def assert_all_kept(remote: LocalRemote, records: ListingRecords, commit: ObjectHash) -> None:
    found = directories(remote, commit)
    assert len(found) == 1 + 5 + 5 * 4
    for id, nodes in found.items():
        wanted = make_columns(nodes, lambda commit: remote.commit(commit).timestamp_ns)
        assert records.get(id) == wanted
    assert records.is_complete(commit)


def test_all_listings_of_a_commit_are_made(remote: LocalRemote, records: ListingRecords) -> None:
    commit = remote.branch("main").commit
    assert not records.is_complete(commit)
    assert warm(remote, records, commit) == 26
    assert_all_kept(remote, records, commit)


def test_what_is_kept_is_not_made_again(remote: LocalRemote, records: ListingRecords) -> None:
    commit = remote.branch("main").commit
    for id, nodes in list(directories(remote, commit).items())[:7]:
        records.put(id, make_columns(nodes, lambda id: remote.commit(id).timestamp_ns))
    assert warm(remote, records, commit) == 26 - 7
    assert warm(remote, records, commit) == 0
    assert_all_kept(remote, records, commit)


def test_a_remote_elsewhere_is_asked_for_its_tree_once(
    remote: LocalRemote, records: ListingRecords
) -> None:
    commit = remote.branch("main").commit
    elsewhere = OverTheNetwork(remote)
    assert warm(elsewhere, records, commit) == 26  # type: ignore[arg-type]
    assert elsewhere.trees == 1
    assert_all_kept(remote, records, commit)


@pytest.mark.parametrize("seed", range(10))
def test_nodes_may_come_in_any_order(remote: LocalRemote, seed: int) -> None:
    commit = remote.branch("main").commit
    nodes = list(remote.tree(commit))
    random.Random(seed).shuffle(nodes)
    found = {made.directory.id: made for made in complete_directories(iter(nodes))}
    assert found == directories(remote, commit)


def test_a_failure_leaves_the_commit_incomplete(
    remote: LocalRemote, records: ListingRecords
) -> None:
    commit = remote.branch("main").commit
    spy = Spy(remote)
    some = list(directories(remote, commit))[3]
    spy.failures[some] = RemoteUnavailable("gone")
    with pytest.raises(RemoteUnavailable):
        warm(spy, records, commit)
    assert not records.is_complete(commit)
    assert records.get(remote.root(commit)) is not None


@in_trio
async def test_a_child_makes_them_for_its_parent(
    remote: LocalRemote, records: ListingRecords, tmp_path: Path
) -> None:
    commit = remote.branch("main").commit
    await warm_in_child(Task(remote.address, f"{commit:x}", str(tmp_path / "cache"), False, 30.0))
    assert_all_kept(remote, records, commit)


@pytest.fixture
def endless(tmp_path: Path) -> Task:
    """A task that is never done: the repository's config file is a fifo."""
    (tmp_path / "slow").mkdir()
    os.mkfifo(tmp_path / "slow" / "config.toml")
    return Task(str(tmp_path / "slow"), "1", str(tmp_path / "cache"), False, 30.0)


@in_trio
async def test_cancelling_ends_the_child(endless: Task) -> None:
    with trio.move_on_after(1) as scope:
        await warm_in_child(endless)
    assert scope.cancelled_caught
    assert not any(b"store.warm" in command for command in commands_of_children())


@in_trio
async def test_a_child_that_fails_is_no_failure_of_the_mount(tmp_path: Path) -> None:
    await warm_in_child(Task(str(tmp_path / "none"), "1", str(tmp_path / "cache"), False, 30.0))


SCRIPT = """
import sys
import trio
from oxenfs.store.warm import Task, warm_in_child

trio.run(warm_in_child, Task(sys.argv[1], "1", sys.argv[2], False, 30.0))
"""


@contextlib.contextmanager
def warming(endless: Task) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that warms for ever; gives it and the pid of its child."""
    command = [sys.executable, "-c", SCRIPT, endless.address, endless.cache_dir]
    with subprocess.Popen(command) as process:
        try:
            while not (found := children_of(process.pid)):
                time.sleep(0.05)
            yield process, found[0]
        finally:
            process.kill()


def children_of(pid: int) -> list[int]:
    """Return those that warm: an import may run something else for a moment."""
    with contextlib.suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        found = [int(n) for one in threads for n in (one / "children").read_text().split()]
        return [n for n in found if b"-m\0oxenfs.store.warm" in command_of(n)]
    return []


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_child_ends_with_its_parent(endless: Task) -> None:
    with warming(endless) as (process, child):
        # Until it listens: it is told on its standard input whose child it is.
        while len(list(Path(f"/proc/{child}/task").iterdir())) < 2:
            time.sleep(0.05)
        process.kill()
        process.wait()
        for _ in range(200):
            if is_gone(child):
                return
            time.sleep(0.1)
    raise AssertionError("the child lives on")


def test_a_child_outlives_the_thread_that_started_it(endless: Task) -> None:
    with warming(endless) as (_, child):
        # Threads of trio that have nothing to do end after ten seconds.
        time.sleep(13)
        assert not is_gone(child)
