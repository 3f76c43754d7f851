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

# Does the same random operations in a folder as everywhere; says each one when it is done.
DRIVER = """
import os, random, sys
top, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r = random.Random(seed)
os.chdir(top)
names = ["a", "b", "c", "d/one.txt", "d/x", "d/e/deep.txt", "top.txt", "n/a", "n/b", "m"]
for number in range(count):
    kind, one, two = r.choice("wwwtamrrulk"), r.choice(names), r.choice(names)
    data = bytes([number % 256]) * r.choice([1, 100, 5000])
    try:
        if kind == "w":
            fd = os.open(one, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.close(fd)
        elif kind == "t": os.truncate(one, r.choice([0, 3, 300000]))
        elif kind == "a":
            fd = os.open(one, os.O_WRONLY | os.O_APPEND)
            try: os.write(fd, data)
            finally: os.close(fd)
        elif kind == "m": os.mkdir(r.choice(["n", "d/n", "q"]))
        elif kind == "r": os.rename(one, two)
        elif kind == "u": os.unlink(one)
        elif kind == "l": os.link(one, two)
        elif kind == "k": os.rename(r.choice(["n", "d", "q"]), r.choice(["n", "d", "q"]))
    except OSError as exc:
        if exc.errno in (107, 103, 5): sys.exit(3)
    os.write(1, b".")
"""


def drive(top: Path, seed: int, count: int) -> int:
    """Run the driver; return how many operations were acknowledged."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, top, str(seed), str(count)], stdout=subprocess.PIPE
    )
    return len(done.stdout)


@pytest.mark.parametrize("seed", range(100 if NIGHTLY else 4))
def test_killed_at_any_time_each_operation_is_whole_or_absent(
    mount: OverlayMount, tmp_path: Path, seed: int
) -> None:
    rounds = 10 if NIGHTLY else 3
    plain = tmp_path / "plain"
    for number in range(rounds):
        subprocess.run(["rm", "-rf", plain], check=True)
        subprocess.run(["cp", "-a", mount.dir, plain], check=True)
        pick = random.Random(f"{seed}-{number}")
        pid = mount.pid
        timer = threading.Timer(pick.uniform(0.05, 0.6), lambda pid=pid: os.kill(pid, 9))
        timer.start()
        acknowledged = drive(mount.dir, number, 100_000)
        timer.join()
        mount.kill_hard()
        started = time.monotonic()
        mount.start()
        assert time.monotonic() - started < 6 + 30  # 2 s, and what the machine is busy with
        # The one that was under way when the daemon was killed may have happened or not.
        drive(plain, number, acknowledged)
        before = look(plain)
        drive_on(plain, number, acknowledged)
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


def drive_on(plain: Path, seed: int, skip: int) -> None:
    """Do one operation more."""
    nowhere = plain.with_name("nowhere")
    nowhere.mkdir(exist_ok=True)
    more = DRIVER.replace(
        "    try:\n        if kind",
        f"    if number < {skip}: continue\n    try:\n        if kind",
        1,
    )
    subprocess.run(
        [sys.executable, "-c", more, plain, str(seed), str(skip + 1), nowhere],
        stdout=subprocess.DEVNULL,
        check=True,
    )
