"""What commands on an overlay say and ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oxenfs.remote.local.repository import open_repository

from .mounting import OverlayMount, listed, write
from .test_committing import put

pytestmark = pytest.mark.fuse


def test_a_checkout_is_refused_with_changes_and_keeps_leftovers(
    mount: OverlayMount, repository: Path
) -> None:
    before = mount.commit_id()
    put(repository, {b"theirs": b"theirs"})
    write(mount.dir / "mine", b"mine")
    write(mount.dir / "note~", b"left")
    code, said = mount.call("checkout", "main", "-C", str(mount.dir))
    assert (code, "1 change here is" in said) == (3, True), said
    assert listed(mount.dir) == ["big.bin", "d", "mine", "note~", "top.txt"]
    code, said = mount.call("restore", str(mount.dir), "mine")
    assert (code, said) == (0, "1 change dropped\n")
    code, said = mount.call("checkout", "main", "-C", str(mount.dir))
    assert code == 0, said
    assert listed(mount.dir) == ["big.bin", "d", "note~", "theirs", "top.txt"]
    assert mount.commit_id() != before
    code, said = mount.call("status", str(mount.dir))
    assert (code, said) == (0, "oxenfs: left out: note~\n")


def test_who_commits_is_asked_for_where_somebody_can_answer(
    mount: OverlayMount, repository: Path
) -> None:
    (Path(mount.environment["HOME"]) / ".config" / "oxen" / "user_config.toml").unlink()
    write(mount.dir / "new", b"new")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "oxenfs_cli", "commit", str(mount.dir), "-m", "m"]
    process = subprocess.Popen(
        command, cwd="/", env=mount.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, b"Grace\ngrace@example.com\n")
    said = b""
    # The end of a terminal that nobody has open any more is an error.
    while piece := read(ours):
        said += piece
    os.close(ours)
    assert process.wait(30) == 0, said
    assert b"oxen config --name NAME --email EMAIL" in said
    remote = open_repository(repository)
    author = remote.commit(remote.branch("main").commit).author
    remote.close()
    assert (author.name, author.email) == ("Grace", "grace@example.com")
    write(mount.dir / "more", b"more")
    code, text = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 0, text
    assert "committed as" in text
    assert "oxen config --name NAME --email EMAIL" in text
    assert mount.call("commit", str(mount.dir), "-m", "m") == (4, "oxenfs: no changes\n")


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""


def test_diff_has_the_rows_of_a_diff_of_commits(mount: OverlayMount) -> None:
    def rows(*words: str) -> list[dict[str, object]]:
        code, said = mount.call("diff", *words, "--json")
        assert code == 0, said
        found: list[dict[str, object]] = json.loads(said)
        return found

    where = str(mount.dir)
    before = mount.commit_id()
    assert rows(where) == []
    write(mount.dir / "d" / "one.txt", b"longer than it was")
    write(mount.dir / "d-", b"sorts between")
    write(mount.dir / "note~", b"left out")
    (mount.dir / "d" / "two.txt").unlink()
    (mount.dir / "top.txt").unlink()
    found = rows(where)
    assert found == [
        {"op": "M", "path": "d/one.txt", "old_size": 4, "size": 18},
        {"op": "D", "path": "d/two.txt", "old_size": 4, "size": None},
        {"op": "A", "path": "d-", "old_size": None, "size": 13},
        {"op": "D", "path": "top.txt", "old_size": 4, "size": None},
    ]
    assert rows(where, "d") == found[:2]
    assert rows("-C", where, ".") == found
    mount.commit()
    assert rows(where, f"{before}..") == found
    (mount.dir / "big.bin").rename(mount.dir / "d" / "big")
    moved = {"op": "R", "path": "d/big", "old": "big.bin", "old_size": 700_000, "size": 700_000}
    assert rows(where) == rows(where, "big.bin") == [moved]
