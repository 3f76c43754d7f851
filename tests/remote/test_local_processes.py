"""Several processes at one local repository, and processes that are killed while they import."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import AUTHOR, noise

from oxenfs.importing import import_tree
from oxenfs.model import hash_text
from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import LocalRemote, open_repository

from .reference import tree_of
from .test_local_storage import counts

# Publishes argv[2:] to main, waiting for a line on stdin when the first file was taken in.
PUBLISHER = """
import io, sys
from pathlib import Path
from oxenfs.errors import OxenfsError
from oxenfs.model import Author, Content, Put, hash_text
from oxenfs.remote.local.repository import open_repository

remote = open_repository(Path(sys.argv[1]))

def changes():
    for path in sys.argv[2:]:
        data = f"{path} {sys.argv}".encode()
        yield Put(path.encode(), Content(len(data), 0, lambda: io.BytesIO(data)))
        print("ready", flush=True)
        sys.stdin.readline()

base = remote.branch("main").commit
try:
    print(hash_text(remote.publish("main", base, changes(), "m", Author("a", "e")).commit))
except OxenfsError as exc:
    print(type(exc).__name__)
"""

# Imports argv[2] into argv[1]. With a number as argv[3], it is killed when it does something to
# the disk for the so-manieth time; without, it prints how often it does.
IMPORTER = """
import os, pathlib, sys
from pathlib import Path
from oxenfs import kv
from oxenfs.importing import import_tree
from oxenfs.model import Author
from oxenfs.remote.local.repository import open_repository

steps, last = 0, int(sys.argv[3]) if len(sys.argv) > 3 else None

def counted(function):
    def call(*args, **options):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), 9)
        return function(*args, **options)
    return call

remote = open_repository(Path(sys.argv[1]))
for place, name in (
    (os, "fsync"), (os, "fdatasync"), (os, "pwrite"), (pathlib.Path, "rename"),
    (pathlib.Path, "mkdir"), (kv.Transaction, "put"), (kv.Environment, "write"),
):
    setattr(place, name, counted(getattr(place, name)))
print("ready", flush=True)
import_tree(remote, Path(sys.argv[2]), "main", message="m", author=Author("a", "e"))
print(steps, flush=True)
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def both(remote: LocalRemote, ours: list[str], theirs: list[str]) -> list[str]:
    """Let two processes publish, so that each began before the other one ended."""
    running = [start(PUBLISHER, remote.layout.root, *paths) for paths in (ours, theirs)]
    assert [said(process) for process in running] == ["ready", "ready"]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n" * 10)
        process.stdin.flush()
    answers = []
    for process in running:
        output, _ = process.communicate(timeout=50)
        assert process.returncode == 0
        answers.append(output.split()[-1])
    return answers


def test_two_processes_with_disjoint_paths_both_land(remote: LocalRemote) -> None:
    base = remote.branch("main").commit
    ours, theirs = both(remote, ["a", "d/a"], ["b", "d/b"])
    history = list(remote.history(remote.branch("main").commit))
    assert sorted(hash_text(commit.id) for commit in history[:2]) == sorted([ours, theirs])
    assert history[2].id == base
    assert tree_of(remote, history[0].id).keys() == {b"a", b"b", b"d", b"d/a", b"d/b"}
    assert list(check(remote.layout.root)) == []


def test_of_two_processes_with_one_path_the_second_is_told(remote: LocalRemote) -> None:
    answers = both(remote, ["a", "both"], ["b", "both"])
    assert "Conflict" in answers
    (landed,) = [answer for answer in answers if answer != "Conflict"]
    head = remote.branch("main").commit
    assert hash_text(head) == landed
    assert len(list(remote.history(head))) == 2
    assert len(tree_of(remote, head)) == 2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    return folder


def fill(source: Path, seed: object) -> int:
    """Put new contents into all files of the source; return how many there are."""
    for number in range(40):
        (source / "sub" / f"{number}").write_bytes(noise(3000, (seed, number)))
    (source / "large").write_bytes(noise((1 << 20) + 1, seed))
    return 41


def plans(steps: int, seconds: float) -> Iterator[tuple[int | None, float]]:
    """Yield a step at which the process kills itself, or a time after which we do."""
    chance = random.Random(7)
    for round in range(12):
        yield 1 + steps * round // 12, 0.0
    for _ in range(8):
        yield None, seconds * chance.random()


def test_an_import_killed_at_any_point_leaves_the_old_commit_or_the_new(
    remote: LocalRemote, source: Path
) -> None:
    root = remote.layout.root
    remote.close()
    fill(source, "first")
    began = time.monotonic()
    first = start(IMPORTER, root, source)
    assert said(first) == "ready"
    output, _ = first.communicate(timeout=50)
    seconds, steps = time.monotonic() - began, int(output)
    killed = reused = 0
    for round, (step, delay) in enumerate(plans(steps, seconds)):
        total = fill(source, round)
        before = open_repository(root)
        old, blobs = before.branch("main").commit, counts(before)["blobs"]
        before.close()
        process = start(IMPORTER, root, source, *([] if step is None else [step]))
        assert said(process) == "ready"
        if step is None:
            time.sleep(delay)
            process.kill()
        process.communicate(timeout=50)
        killed += process.returncode == -signal.SIGKILL

        after = open_repository(root)
        head = after.commit(after.branch("main").commit)
        assert old in (head.id, *head.parents)
        assert list(check(root)) == []
        saved = counts(after)["blobs"] - blobs
        if head.id == old:
            again = import_tree(after, source, "main", message="again", author=AUTHOR)
            assert again.uploaded_files == total - saved
            reused += saved
            head = after.commit(again.commit)
        tree = tree_of(after, head.id)
        assert tree[b"large"] == (source / "large").read_bytes()
        assert tree[b"sub/7"] == (source / "sub" / "7").read_bytes()
        after.close()
    assert killed >= 12
    assert reused > 0
