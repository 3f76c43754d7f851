"""A mount that moves to another commit while programs use it."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from repositories import MIB, commit, make_repository, noise

from oxenfs.model import hash_text
from oxenfs.remote.local.repository import LocalRemote

from .mounted import Mounted, until

pytestmark = pytest.mark.fuse

FIRST = {
    b"a": b"one",
    b"large": noise(3 * MIB, 1),
    b"same": noise(MIB, 2),
    b"sub/b": b"two",
    b"sub/deep/c": b"three",
    b"gone/away/d": b"four",
    b"held": b"held one",
    **{b"many/%04d" % number: b"%d" % number for number in range(1200)},
}
CHANGED = {
    b"a": b"one!",
    b"large": noise(3 * MIB, 3),
    b"sub/new": b"new",
    b"held": b"held two",
    **{b"many/%04d" % number: b"changed %d" % number for number in range(0, 1200, 50)},
    b"many/0001x": b"between",
}
REMOVED = [b"gone", b"many/0100", b"sub/b"]
SECOND = {
    path: data
    for path, data in (FIRST | CHANGED).items()
    if not any(path == removed or path.startswith(removed + b"/") for removed in REMOVED)
}


class Moving:
    """A mount of `main`, and the commits it goes between."""

    def __init__(self, remote: LocalRemote, mounted: Mounted) -> None:
        self.remote = remote
        self.mounted = mounted
        self.dir = mounted.dir
        self.first = hash_text(remote.branch("main").commit)

    def advance(self) -> str:
        changed = {path: data for path, data in CHANGED.items() if path not in REMOVED}
        return hash_text(commit(self.remote, changed, remove=REMOVED))

    def oxenfs(self, *words: str) -> str:
        return self.mounted.run("-m", "oxenfs_cli", *words)

    def pull(self) -> None:
        self.oxenfs("pull", str(self.dir))

    def row(self) -> dict[str, Any]:
        rows: list[dict[str, Any]] = json.loads(self.oxenfs("mounts", "--json"))
        return next(row for row in rows if row["dir"] == str(self.dir))

    def checkout(self, rev: str, *words: str) -> None:
        self.oxenfs("checkout", rev, "-C", str(self.dir), *words)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", FIRST)
    yield made
    made.close()


@pytest.fixture
def moving(remote: LocalRemote, mounting: Callable[..., Mounted]) -> Moving:
    return Moving(remote, mounting(f"{remote.layout.root}@main"))


def shown(folder: Path) -> dict[bytes, bytes]:
    return {
        os.fsencode(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def counts(mounted: Mounted) -> dict[str, int]:
    os.statvfs(mounted.dir)
    found: dict[str, int] = json.loads(Path(mounted.environment["HOME"], "counts.json").read_text())
    return found


def test_a_checkout_shows_the_other_commit_at_once_and_a_pull_what_the_branch_got(
    moving: Moving,
) -> None:
    assert shown(moving.dir) == FIRST
    second = moving.advance()
    moving.pull()
    assert shown(moving.dir) == SECOND
    moving.checkout(moving.first[:10])
    assert shown(moving.dir) == FIRST
    moving.checkout(second)
    assert shown(moving.dir) == SECOND
    moving.checkout("main")
    moving.pull()
    assert shown(moving.dir) == SECOND


def test_what_the_other_commit_has_not_is_gone_at_once(moving: Moving) -> None:
    known = [moving.dir / os.fsdecode(path) for path in (b"gone/away/d", b"sub/b", b"gone/away")]
    missing = moving.dir / "sub" / "new"
    for path in known:
        path.stat()
    assert not missing.exists()
    moving.advance()
    moving.pull()
    for path in known:
        with pytest.raises(FileNotFoundError):
            path.stat()
    assert missing.read_bytes() == b"new"
    assert "gone" not in os.listdir(moving.dir)  # noqa: PTH208


def test_a_move_is_told_by_info_by_the_root_and_by_the_list_of_mounts(moving: Moving) -> None:
    info = moving.dir / ".oxenfs" / "info.json"
    before = moving.dir.stat()
    assert json.loads(info.read_text())["commit"] == moving.first
    second = moving.advance()
    moving.pull()
    assert json.loads(info.read_text())["commit"] == second
    assert moving.dir.stat().st_mtime_ns > before.st_mtime_ns
    assert moving.dir.stat().st_ino == before.st_ino
    row = moving.row()
    assert (row["commit"], row["branch"], row["revision"]) == (second, "main", "main")
    moving.checkout(moving.first)
    row = moving.row()
    assert (row["commit"], row["branch"], row["revision"]) == (moving.first, None, moving.first)


def test_what_is_open_keeps_the_bytes_of_its_commit(moving: Moving) -> None:
    path = moving.dir / "large"
    with path.open("rb") as file:
        head = file.read(1000)
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        moving.advance()
        moving.pull()
        assert head + file.read() == FIRST[b"large"]
        assert view[:] == FIRST[b"large"]
        assert os.fstat(file.fileno()).st_size == len(FIRST[b"large"])
        view.close()
        assert path.read_bytes() == SECOND[b"large"]


def test_a_listing_under_way_ends_as_it_began(moving: Moving) -> None:
    folder = moving.dir / "many"
    for path in folder.iterdir():
        path.stat()
    before = sorted(os.listdir(folder))  # noqa: PTH208
    with os.scandir(folder) as listing:
        names = [next(listing).name for _ in range(10)]
        moving.advance()
        moving.pull()
        names += [entry.name for entry in listing]
    assert sorted(names) == before
    wanted = {p: d for p, d in SECOND.items() if p.startswith(b"many/")}
    found = {b"many/" + os.fsencode(path.name): path.read_bytes() for path in folder.iterdir()}
    assert found == wanted
    # By name, without listing again: entries that came late must not have stayed.
    for name, data in wanted.items():
        assert (moving.dir / os.fsdecode(name)).read_bytes() == data


def test_a_current_folder_stays_valid_unless_it_is_gone(moving: Moving) -> None:
    moving.advance()
    script = (
        "import os, sys\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(sorted(os.listdir('.'))); print(os.getcwd())\n"
    )

    def program(folder: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=moving.dir / folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    stays, goes = program("sub"), program("gone/away")
    moving.pull()
    said, problem = stays.communicate("\n", timeout=20)
    assert said.splitlines() == ["['deep', 'new']", str(moving.dir / "sub")], problem
    said, problem = goes.communicate("\n", timeout=20)
    assert said == ""
    assert "FileNotFoundError" in problem


def test_files_that_are_the_same_are_read_from_memory_after_a_move(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(str(remote.layout.root), command=("-m", "semantics.counting"))
    Path(mounted.environment["HOME"], "go").touch()
    moving = Moving(remote, mounted)
    assert shown(mounted.dir) == FIRST
    moving.advance()
    moving.pull()
    before = counts(mounted)
    same = [path for path, data in SECOND.items() if FIRST.get(path) == data]
    for path in same:
        assert (mounted.dir / os.fsdecode(path)).read_bytes() == FIRST[path]
    after = counts(mounted)
    assert after.get("read", 0) == before.get("read", 0)
    # Names and attributes of folders are asked for again, those of files are not.
    assert after.get("lookup", 0) - before.get("lookup", 0) == 0
    assert after["getattr"] - before["getattr"] <= 5


def test_a_read_that_hangs_does_not_hold_up_a_move(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(str(remote.layout.root), command=("-m", "semantics.counting"))
    moving = Moving(remote, mounted)
    home = Path(mounted.environment["HOME"])
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((mounted.dir / "held").read_bytes()))
    reader.start()
    until((home / "held").exists, "the read is in the daemon")
    second = moving.advance()
    moving.pull()
    assert (mounted.dir / "a").read_bytes() == SECOND[b"a"]
    assert json.loads((mounted.dir / ".oxenfs" / "info.json").read_text())["commit"] == second
    assert found == []
    (home / "go").touch()
    reader.join(20)
    assert found == [FIRST[b"held"]]
    assert (mounted.dir / "held").read_bytes() == SECOND[b"held"]


def test_a_mount_that_follows_moves_by_itself(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    command = ("-m", "oxenfs_cli", "mount", "--foreground", "--follow", "0.2")
    moving = Moving(remote, mounting(str(remote.layout.root), command=command))
    assert (moving.dir / "a").read_bytes() == b"one"
    moving.advance()
    until(lambda: (moving.dir / "a").read_bytes() == b"one!", "the mount has followed")
    assert shown(moving.dir) == SECOND


def test_a_checkout_can_make_a_branch(moving: Moving) -> None:
    moving.checkout(moving.first, "-b", "feature/x")
    assert hash_text(moving.remote.branch("feature/x").commit) == moving.first
    row = moving.row()
    assert row["branch"] == "feature/x"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["checkout", "mian"], 1, "there is"),
        (["checkout"], 2, "name a branch"),
        (["checkout", "main", "-b", "main"], 3, "already"),
        (["pull", "nothing"], 2, "leave one"),
    ],
)
def test_what_cannot_be_checked_out_is_said_and_nothing_moves(
    moving: Moving, words: list[str], code: int, said: str
) -> None:
    process = moving.mounted.popen("-m", "oxenfs_cli", *words, "-C", str(moving.dir))
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code
    assert said in output
    row = moving.row()
    assert row["commit"] == moving.first


def test_a_branch_that_is_gone_leaves_the_mount_where_it_is(moving: Moving) -> None:
    moving.checkout(moving.first, "-b", "doomed")
    with moving.remote.meta.write() as txn:
        txn.delete("refs", b"doomed")
    process = moving.mounted.popen("-m", "oxenfs_cli", "pull", str(moving.dir))
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "no branch 'doomed'" in output
    assert shown(moving.dir) == FIRST
