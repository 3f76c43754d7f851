"""The daemon is killed while programs work: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .mounting import OverlayMount
from .twins import Look, look

pytestmark = pytest.mark.fuse

NIGHTLY = os.environ.get("OXENFS_NIGHTLY") == "1"

# Does the same random operations in a folder as everywhere; says each one when it is done. All of
# an operation is drawn before it is done or skipped: skipping must not change the ones behind it.
DRIVER = """
import os, random, sys
top, seed, first, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
r = random.Random(seed)
os.chdir(top)
names = ["a", "b", "c", "d/one.txt", "d/x", "d/e/deep.txt", "top.txt", "n/a", "n/b", "m"]
for number in range(end):
    kind, one, two = r.choice("wwwtamrrulk"), r.choice(names), r.choice(names)
    data = bytes([number % 256]) * r.choice([1, 100, 5000])
    size, new = r.choice([0, 3, 300000]), r.choice(["n", "d/n", "q"])
    old, to = r.choice(["n", "d", "q"]), r.choice(["n", "d", "q"])
    if number < first: continue
    try:
        if kind == "w":
            fd = os.open(one, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.close(fd)
        elif kind == "t": os.truncate(one, size)
        elif kind == "a":
            fd = os.open(one, os.O_WRONLY | os.O_APPEND)
            try: os.write(fd, data)
            finally: os.close(fd)
        elif kind == "m": os.mkdir(new)
        elif kind == "r": os.rename(one, two)
        elif kind == "u": os.unlink(one)
        elif kind == "l": os.link(one, two)
        elif kind == "k": os.rename(old, to)
    except OSError as exc:
        if exc.errno in (107, 103, 5): sys.exit(3)
    os.write(1, b".")
"""


def drive(top: Path, seed: str, first: int, end: int) -> int:
    """Do the operations from `first` up to `end`; return how many were acknowledged."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, top, seed, str(first), str(end)], stdout=subprocess.PIPE
    )
    return len(done.stdout)


def test_one_operation_more_is_the_one_that_was_next(tmp_path: Path) -> None:
    # Otherwise the test below says that something was lost whenever the last one had happened.
    wrong = []
    for number in range(40):
        at_once, later = tmp_path / f"{number}-at-once", tmp_path / f"{number}-later"
        for folder in (at_once, later):
            (folder / "d/e").mkdir(parents=True)
        drive(at_once, "x", 0, number + 1)
        drive(later, "x", 0, number)
        assert drive(later, "x", number, number + 1) == 1
        if look(at_once) != look(later):
            wrong.append(number)
    assert wrong == []


@pytest.mark.parametrize("seed", range(100 if NIGHTLY else 4))
def test_killed_at_any_time_each_operation_is_whole_or_absent(
    mount: OverlayMount, tmp_path: Path, seed: int
) -> None:
    rounds = 10 if NIGHTLY else 3
    plain = tmp_path / "plain"
    for number in range(rounds):
        subprocess.run(["rm", "-rf", plain], check=True)
        subprocess.run(["cp", "-a", mount.dir, plain], check=True)
        name = f"{seed}-{number}"
        pick = random.Random(name)
        pid = mount.pid
        timer = threading.Timer(pick.uniform(0.05, 0.6), lambda pid=pid: os.kill(pid, 9))
        timer.start()
        acknowledged = drive(mount.dir, name, 0, 100_000)
        timer.join()
        mount.kill_hard()
        started = time.monotonic()
        mount.start()
        assert time.monotonic() - started < 6 + 30  # 2 s, and what the machine is busy with
        # The one that was under way when the daemon was killed may have happened or not.
        drive(plain, name, 0, acknowledged)
        before = look(plain)
        drive(plain, name, acknowledged, acknowledged + 1)
        shown, after = look(mount.dir), look(plain)
        assert shown in (before, after), (different(shown, before), different(shown, after))


def different(one: Look, other: Look) -> dict[bytes, tuple[object, object]]:
    """Return what differs, without bytes."""
    return {
        path: (brief(one.get(path)), brief(other.get(path)))
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    }


def brief(about: tuple[object, ...] | None) -> object:
    if about is None:
        return None
    return tuple((len(a), a[:4]) if isinstance(a, bytes) else a for a in about)
