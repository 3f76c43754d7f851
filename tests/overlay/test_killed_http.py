"""Daemon or server is killed in a commit over HTTP: it has happened once or not at all.

OXENFS_TEST_KILLS is the number of kills; 200 is the long run. OXEN_SERVER names the binary of the
real server, which is taken then.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repositories import noise

from .conftest import FILES
from .mounting import OverlayMount, write
from .served import Served, files_in, files_of, history

pytestmark = pytest.mark.fuse

KILLS = int(os.environ.get("OXENFS_TEST_KILLS", "6"))
MIB = 1 << 20


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path / "served")
    server.make(FILES)
    yield server
    server.kill()


def change(top: Path, rng: random.Random, number: int) -> None:
    """Change this and that: small files, one that goes in parts, a rename, a removal."""
    for name in range(rng.randrange(5, 40)):
        write(top / f"n{name % 7}" / f"{name}", noise(rng.randrange(30_000), (number, name)))
    if not number % 3:
        write(top / "large", noise(rng.randrange(4, 13) * MIB, number))
    folders = sorted(path for path in top.iterdir() if path.is_dir())
    rng.choice(folders).rename(top / f"moved{number}")
    files = sorted(path for path in top.rglob("*") if path.is_file())
    gone = rng.choice(files)
    gone.unlink()
    # Oxen stores no empty folders.
    if gone.parent != top and not any(gone.parent.iterdir()):
        gone.parent.rmdir()
    write(top / "kept" / "always", b"%d" % number)


def test_killed_in_a_commit_over_http_it_has_happened_once_or_not_at_all(
    served: Served, mounting: Callable[[str], OverlayMount]
) -> None:
    rng = random.Random(os.environ.get("OXENFS_TEST_SEED", "kills"))
    mount = mounting(f"{served.address}@main")
    mount.errors_expected = True
    took_s = 1.0
    happened = {True: 0, False: 0}
    for number in range(KILLS + 1):
        before = files_in(mount.dir)
        change(mount.dir, rng, number)
        wanted = files_in(mount.dir)
        message = f"change {number}"
        started = time.monotonic()
        process = mount.popen("-m", "oxenfs_cli", "commit", str(mount.dir), "-m", message)
        if not number:
            # The first one shows how long it takes.
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, said
            took_s = time.monotonic() - started
            continue
        time.sleep(rng.uniform(0.2, 1.1) * took_s)
        if number % 2:
            served.kill()
            # Down for longer than anybody tries again, every now and then.
            if number % 4 == 1:
                process.communicate(timeout=120)
            served.start()
        else:
            mount.kill_hard()
        process.communicate(timeout=120)
        if not number % 2:
            mount.start()
        with served.remote() as remote:
            messages = [each.message for each in history(remote)]
            assert messages.count(message) in (0, 1)
            happened[message in messages] += 1
            # Whatever else the machine does, about half of them are to have happened.
            took_s *= 0.95 if message in messages else 1.05
            found = files_of(remote, remote.branch("main").commit)
        assert found == (wanted if message in messages else before)
        assert files_in(mount.dir) == wanted
        code, said = mount.call("commit", str(mount.dir), "-m", message)
        assert code in (0, 4), said
        assert mount.status() == []
        with served.remote() as remote:
            assert [each.message for each in history(remote)].count(message) == 1
            assert files_of(remote, remote.branch("main").commit) == wanted
        assert files_in(mount.dir) == wanted
    print(f"{KILLS} kills: {happened[True]} commits had happened, {happened[False]} had not")
    if KILLS >= 50:
        assert min(happened.values()) >= KILLS // 10
    mount.stop()
