"""Commits of an overlay: what is in them, what stays, what others do meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from remote.reference import tree_of
from repositories import commit as commit_to
from repositories import noise

from oxenfs.remote.local.repository import open_repository

from .conftest import FILES
from .mounting import OverlayMount, listed, write
from .publishing import committing, publishing_slowly

pytestmark = pytest.mark.fuse
Mounting = Callable[[str], OverlayMount]


def files_at(repository: Path, branch: str = "main") -> dict[bytes, bytes]:
    remote = open_repository(repository)
    try:
        tree = tree_of(remote, remote.branch(branch).commit)
    finally:
        remote.close()
    return {path: data for path, data in tree.items() if data is not None}


def put(repository: Path, files: dict[bytes, bytes], remove: tuple[bytes, ...] = ()) -> None:
    """Commit to `main` as somebody else."""
    remote = open_repository(repository)
    try:
        commit_to(remote, files, remove=remove, message="by another")
    finally:
        remote.close()


def test_a_commit_has_what_the_mount_shows(mount: OverlayMount, repository: Path) -> None:
    top = mount.dir
    write(top / "new" / "file", b"new")
    (top / "top.txt").write_bytes(b"other")
    (top / "d").rename(top / "moved")
    (top / "moved" / "one.txt").unlink()
    with (top / "big.bin").open("r+b") as file:
        file.seek(300_000)
        file.write(b"changed")
    assert mount.status() == [
        ("M", "big.bin"),
        ("R", "moved", "d"),
        ("D", "moved/one.txt"),
        ("A", "new/file"),
        ("M", "top.txt"),
    ]
    commit = mount.commit()
    big = bytearray(FILES[b"big.bin"])
    big[300_000:300_007] = b"changed"
    assert files_at(repository) == {
        b"new/file": b"new",
        b"top.txt": b"other",
        b"moved/two.txt": b"two\n",
        b"moved/e/deep.txt": b"deep\n",
        b"big.bin": bytes(big),
    }
    assert mount.status() == []
    told = json.loads((top / ".oxenfs" / "info.json").read_text())
    assert told["commit"] == commit
    assert listed(top / "moved") == ["e", "two.txt"]
    assert (top / "big.bin").read_bytes() == bytes(big)
    # And on from there.
    (top / "moved" / "two.txt").write_bytes(b"again")
    assert mount.status() == [("M", "moved/two.txt")]
    mount.commit()
    assert files_at(repository)[b"moved/two.txt"] == b"again"


def test_bytes_written_back_are_no_change(mount: OverlayMount) -> None:
    (mount.dir / "top.txt").write_bytes(b"top\n")
    with (mount.dir / "big.bin").open("r+b") as file:
        file.write(FILES[b"big.bin"][:10])
    os.utime(mount.dir / "d" / "one.txt", (5, 5))
    assert mount.status() == []
    assert mount.call("commit", str(mount.dir), "-m", "m")[0] == 4


def test_what_oxen_cannot_store_stops_a_commit_and_is_left_by_wish(
    mount: OverlayMount, repository: Path
) -> None:
    top = mount.dir
    write(top / "fine", b"fine")
    (top / "link").symlink_to("fine")
    (top / "empty").mkdir()
    os.mkfifo(top / "fifo")
    (top / os.fsdecode(b"\xff.txt")).write_bytes(b"x")
    code, said = mount.call("commit", str(top), "-m", "m")
    assert code == 1
    for word in ("'link' (a symlink)", "'empty' (an empty folder)", "special", "not UTF-8"):
        assert word in said
    before = files_at(repository)
    assert b"fine" not in before
    mount.commit("--skip-unsupported")
    assert files_at(repository) == {**before, b"fine": b"fine"}
    assert (top / "link").readlink() == Path("fine")
    assert {item[1] for item in mount.status()} == {"\udcff.txt", "empty", "fifo", "link"}
    assert mount.call("commit", str(top), "-m", "m", "--skip-unsupported")[0] == 4


def test_an_executable_bit_is_a_warning_and_stays_here(mount: OverlayMount) -> None:
    write(mount.dir / "run.sh", b"#!/bin/sh\necho ran\n")
    (mount.dir / "run.sh").chmod(0o755)
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 0
    assert "executable" in said
    done = subprocess.run([mount.dir / "run.sh"], capture_output=True, check=True)
    assert done.stdout == b"ran\n"
    assert mount.status() == []


def test_editor_leftovers_and_ignored_names_are_left_out(
    mount: OverlayMount, repository: Path
) -> None:
    write(mount.dir / ".oxenignore", b"# scratch\n*.tmp\nbuild/\nd/private\n")
    for name in ("a~", ".b.swp", "c.tmp", "build/out", "d/private", "kept"):
        write(mount.dir / name, b"x")
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 0, said
    assert "left out" in said
    assert set(files_at(repository)) - set(FILES) == {b".oxenignore", b"kept"}
    assert (mount.dir / "c.tmp").exists()
    assert mount.call("commit", str(mount.dir), "-m", "m")[0] == 4


def test_a_new_branch_is_made_and_mounted(mount: OverlayMount, repository: Path) -> None:
    before = files_at(repository)
    write(mount.dir / "new", b"new")
    mount.commit("-b", "feature/x")
    assert files_at(repository) == before
    assert files_at(repository, "feature/x") == {**before, b"new": b"new"}
    write(mount.dir / "more", b"more")
    mount.commit()
    assert b"more" in files_at(repository, "feature/x")


def test_others_changes_of_other_paths_are_kept_side_by_side(
    mount: OverlayMount, repository: Path
) -> None:
    put(repository, {b"theirs": b"theirs"}, remove=(b"d/two.txt",))
    write(mount.dir / "mine", b"mine")
    mount.commit()
    found = files_at(repository)
    assert (found[b"mine"], found[b"theirs"]) == (b"mine", b"theirs")
    assert (mount.dir / "theirs").read_bytes() == b"theirs"
    assert listed(mount.dir / "d") == ["e", "one.txt"]


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_a_path_changed_on_both_sides_is_a_conflict_until_decided(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    put(repository, {b"top.txt": b"theirs", b"d/one.txt": b"1"})
    (mount.dir / "top.txt").write_bytes(b"mine")
    write(mount.dir / "also", b"also")
    head = files_at(repository)
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 3
    remote = open_repository(repository)
    theirs = remote.commit(remote.branch("main").commit)
    remote.close()
    mine, other = f"{theirs.parents[0]:x}"[:10], f"{theirs.id:x}"[:10]
    assert f"changed here (on {mine}) and by others (at {other}): top.txt;" in said
    assert files_at(repository) == head
    assert mount.call("pull", str(mount.dir))[0] == 3
    assert (mount.dir / "top.txt").read_bytes() == b"mine"
    code, said = mount.call("pull", str(mount.dir), "--keep", keep, "top.txt")
    assert code == 0, said
    kept = b"mine" if keep == "mine" else b"theirs"
    assert (mount.dir / "top.txt").read_bytes() == kept
    assert (mount.dir / "d" / "one.txt").read_bytes() == b"1"
    mount.commit()
    assert files_at(repository) == {**head, b"top.txt": kept, b"also": b"also"}


def test_pull_puts_changes_on_top_of_what_is_new(mount: OverlayMount, repository: Path) -> None:
    (mount.dir / "d").rename(mount.dir / "renamed")
    write(mount.dir / "new", b"new")
    put(repository, {b"theirs": b"theirs", b"top.txt": b"changed"})
    assert mount.call("pull", str(mount.dir))[0] == 0
    assert listed(mount.dir) == ["big.bin", "new", "renamed", "theirs", "top.txt"]
    assert (mount.dir / "top.txt").read_bytes() == b"changed"
    assert mount.status() == [("A", "new"), ("R", "renamed", "d")]


def test_restore_and_discard_drop_changes(mount: OverlayMount) -> None:
    (mount.dir / "top.txt").write_bytes(b"x")
    (mount.dir / "d" / "one.txt").unlink()
    (mount.dir / "d" / "e").rename(mount.dir / "moved")
    write(mount.dir / "new" / "file", b"new")
    assert mount.call("restore", str(mount.dir), "d/one.txt", "moved")[0] == 0
    assert mount.status() == [("A", "new/file"), ("M", "top.txt")]
    assert (mount.dir / "d" / "one.txt").read_bytes() == b"one\n"
    assert (mount.dir / "d" / "e" / "deep.txt").read_bytes() == b"deep\n"
    assert not (mount.dir / "moved").exists()
    code, said = mount.call("restore", str(mount.dir), "nothing")
    assert code == 1
    assert "no changes" in said
    assert mount.call("discard", str(mount.dir))[0] == 2
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0
    assert mount.status() == []
    assert (mount.dir / "top.txt").read_bytes() == b"top\n"
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]


def test_open_files_keep_working_over_a_commit(mount: OverlayMount, repository: Path) -> None:
    path = mount.dir / "log"
    with path.open("wb", buffering=0) as log, (mount.dir / "top.txt").open("rb") as reading:
        log.write(b"before\n")
        mount.commit()
        log.write(b"after\n")
        assert path.read_bytes() == b"before\nafter\n"
        assert reading.read() == b"top\n"
    assert files_at(repository)[b"log"] == b"before\n"
    assert mount.status() == [("M", "log")]
    mount.commit()
    assert files_at(repository)[b"log"] == b"before\nafter\n"


def test_what_is_written_during_a_commit_is_in_the_next_one(
    mount: OverlayMount, repository: Path
) -> None:
    for number in range(300):
        write(mount.dir / "many" / f"{number:03}", noise(20_000, number))
    process = mount.popen("-m", "oxenfs_cli", "commit", str(mount.dir), "-m", "m")
    count = 0
    while process.poll() is None:
        (mount.dir / "many" / f"{count % 300:03}").write_bytes(b"later %d" % count)
        write(mount.dir / f"made-{count}", b"made")
        if count:
            (mount.dir / f"made-{count - 1}").unlink()
        count += 1
        time.sleep(0.002)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    shown = {p.name: p.read_bytes() for p in (mount.dir / "many").iterdir()}
    made = {name for name in listed(mount.dir) if name.startswith("made")}
    assert len(made) == 1
    mount.commit()
    found = files_at(repository)
    assert {p[5:].decode(): d for p, d in found.items() if p.startswith(b"many/")} == shown
    assert {p.decode() for p in found if p.startswith(b"made")} == made


def test_changes_come_back_at_their_own_base(mount: OverlayMount, repository: Path) -> None:
    write(mount.dir / "new", b"new")
    mount.stop()
    put(repository, {b"theirs": b"theirs"})
    put(repository, {b"theirs": b"more"})
    code, said = mount.call("mounts", "--pending", "--json")
    assert code == 0
    (row,) = json.loads(said)
    assert (row["dir"], row["changes"]) == (str(mount.dir), 1)
    assert mount.status() == [("A", "new")]
    mount.start()
    assert "2 commits behind" in "".join(mount._said)
    assert listed(mount.dir) == ["big.bin", "d", "new", "top.txt"]
    code, said = mount.call("status", str(mount.dir), "--json")
    assert json.loads(said)["behind"] == 2


def test_changes_of_another_branch_are_not_mixed_up(mount: OverlayMount, repository: Path) -> None:
    mount.errors_expected = True  # the refused mount's
    write(mount.dir / "new", b"new")
    mount.commit("-b", "side")
    write(mount.dir / "more", b"more")
    mount.stop()
    code, said = mount.call("mount", f"{repository}@main", str(mount.dir), "--overlay")
    assert code == 3
    assert "side" in said
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]


def test_an_overlay_can_be_taken_to_another_folder(
    mount: OverlayMount, repository: Path, tmp_path: Path
) -> None:
    write(mount.dir / "new", b"new")
    mount.stop()
    other = tmp_path.resolve() / "other"
    other.mkdir()
    words = ("mount", f"{repository}@main", str(other), "--overlay-of", str(mount.dir))
    code, said = mount.call(*words)
    assert code == 0, said
    try:
        assert (other / "new").read_bytes() == b"new"
    finally:
        code, said = mount.call("umount", str(other))
        assert code == 0
        assert "1 change not committed" in said
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]


def test_two_overlays_of_one_branch_are_two_writers(repository: Path, mounting: Mounting) -> None:
    one, two = (mounting(f"{repository}@main") for _ in range(2))
    write(one.dir / "one", b"1")
    write(two.dir / "two", b"2")
    one.commit()
    two.commit()
    assert (two.dir / "one").read_bytes() == b"1"
    (one.dir / "d").rename(one.dir / "dd")
    one.commit()
    write(two.dir / "d" / "one.txt", b"changed")
    code, said = two.call("commit", str(two.dir), "-m", "m")
    assert code == 3
    assert "d/one.txt" in said
    one.stop()
    two.stop()


def test_diff_shows_the_line(mount: OverlayMount) -> None:
    (mount.dir / "top.txt").write_bytes(b"top\nsecond\n")
    (mount.dir / "big.bin").write_bytes(b"\0small")
    code, said = mount.call("diff", str(mount.dir))
    assert code == 0
    assert "+second" in said
    assert "--- a/top.txt" in said
    assert "M big.bin" in said


def test_names_in_a_diff_are_quoted_as_git_does(mount: OverlayMount) -> None:
    for name in (b"new\nline", b"\xff", "\u202etxt".encode(), "é".encode()):
        write(mount.dir / os.fsdecode(name), b"text\x1b\n")
    code, said = mount.call("diff", str(mount.dir))
    assert code == 0
    headers = [line for line in said.split("\n") if line.startswith("+++ ")]
    assert headers == [
        r'+++ "b/new\nline"',
        "+++ b/é",
        r'+++ "b/\342\200\256txt"',
        r'+++ "b/\377"',
    ]
    # What is in the files is for `patch`.
    assert said.count("+text\x1b\n") == 4


KILLER = """
import os, sys, threading, time
sys.argv = ["oxenfs", *sys.argv[2:]]
point = float(os.environ["KILL_AFTER"])
import oxenfs.mount.committing as c
plain = c.Committer._commit
async def commit(self, *a, **k):
    threading.Timer(point, lambda: os.kill(os.getpid(), 9)).start()
    return await plain(self, *a, **k)
c.Committer._commit = commit
from oxenfs_cli.main import main
main()
"""


@pytest.mark.parametrize("point", [0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3])
def test_killed_in_a_commit_it_has_happened_once_or_not(
    mounting: Mounting, repository: Path, point: float
) -> None:
    mount = mounting(f"{repository}@main")
    mount.stop()
    before = files_at(repository)
    arguments = mount._arguments
    mount.environment["KILL_AFTER"] = str(point)
    mount._arguments = ["-c", KILLER, "x", *arguments[2:]]
    mount.start()
    for number in range(30):
        write(mount.dir / f"n{number}", noise(30_000, number))
    (mount.dir / "top.txt").unlink()
    mount.call("commit", str(mount.dir), "-m", "once")
    mount.kill_hard()
    mount._arguments = arguments
    mount.start()
    wanted = {f"n{number}".encode(): noise(30_000, number) for number in range(30)}
    wanted |= {path: data for path, data in before.items() if path != b"top.txt"}
    assert {os.fsencode(n) for n in listed(mount.dir)} >= {p for p in wanted if b"/" not in p}
    code, said = mount.call("commit", str(mount.dir), "-m", "once")
    assert code in (0, 4), said
    assert files_at(repository) == wanted
    assert mount.status() == []
    remote = open_repository(repository)
    messages = [c.message for c in remote.history(remote.branch("main").commit)]
    remote.close()
    assert messages.count("once") == 1
    mount.stop()


def test_a_removed_folder_comes_back_with_what_is_in_it(mount: OverlayMount) -> None:
    for path in ("d/e/deep.txt", "d/one.txt", "d/two.txt"):
        (mount.dir / path).unlink()
    (mount.dir / "d" / "e").rmdir()
    (mount.dir / "d").rmdir()
    code, said = mount.call("restore", str(mount.dir), "d")
    assert code == 0, said
    assert (mount.dir / "d" / "e" / "deep.txt").read_bytes() == b"deep\n"
    assert listed(mount.dir / "d") == ["e", "one.txt", "two.txt"]
    assert mount.status() == []
    (mount.dir / "d" / "new").write_bytes(b"new")
    assert mount.status() == [("A", "d/new")]


def test_a_new_folder_in_the_place_of_a_renamed_one_stays_another(mount: OverlayMount) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    write(mount.dir / "d" / "one.txt", b"new\n")
    mount.commit()
    (mount.dir / "d" / "one.txt").write_bytes(b"newer\n")
    (mount.dir / "moved" / "two.txt").write_bytes(b"moved\n")
    assert (mount.dir / "moved" / "one.txt").read_bytes() == b"one\n"
    assert mount.status() == [("M", "d/one.txt"), ("M", "moved/two.txt")]
    mount.commit()
    mount.stop()
    mount.start()
    assert (mount.dir / "d" / "one.txt").read_bytes() == b"newer\n"
    assert (mount.dir / "moved" / "one.txt").read_bytes() == b"one\n"
    assert (mount.dir / "moved" / "two.txt").read_bytes() == b"moved\n"


def test_a_folder_that_others_removed_goes_unless_something_is_in_it(
    mount: OverlayMount, repository: Path
) -> None:
    for folder in ("d", "d/e"):
        write(mount.dir / folder / "touched", b"")
        (mount.dir / folder / "touched").unlink()
    (mount.dir / "d" / "mine").write_bytes(b"mine")
    put(repository, {b"other": b"1"}, remove=(b"d",))
    code, said = mount.call("pull", str(mount.dir))
    assert code == 0, said
    assert listed(mount.dir / "d") == ["mine"]
    assert mount.status() == [("A", "d/mine")]
    (mount.dir / "d" / "mine").unlink()
    (mount.dir / "d").rmdir()
    assert mount.status() == []


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_theirs_comes_back_into_a_folder_that_was_made_anew(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    make_anew(mount.dir / "d")
    write(mount.dir / "d" / "mine", b"mine")
    write(mount.dir / "d" / "e" / "mine", b"mine")
    put(repository, {b"d/one.txt": b"theirs", b"d/e/deep.txt": b"theirs", b"d/new": b"new"})
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "d/e/deep.txt, d/one.txt;" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", keep)
    assert code == 0, said
    theirs = keep == "theirs"
    # What others added is no matter of that choice, and what they did not change stays removed.
    assert listed(mount.dir / "d") == ["e", "mine", "new", *(["one.txt"] if theirs else [])]
    assert listed(mount.dir / "d" / "e") == [*(["deep.txt"] if theirs else []), "mine"]
    gone = [] if theirs else [("D", "d/e/deep.txt"), ("D", "d/one.txt")]
    kept = [("A", "d/e/mine"), ("A", "d/mine"), ("D", "d/two.txt")]
    assert mount.status() == sorted(gone + kept, key=lambda row: row[1])
    mount.commit()
    wanted = {b"d/mine": b"mine", b"d/e/mine": b"mine", b"d/new": b"new"}
    if theirs:
        wanted |= {b"d/one.txt": b"theirs", b"d/e/deep.txt": b"theirs"}
    found = files_at(repository)
    assert {path: data for path, data in found.items() if path.startswith(b"d/")} == wanted
    assert mount.status() == []


def test_what_others_add_is_seen_in_a_folder_that_was_made_anew(
    mount: OverlayMount, repository: Path
) -> None:
    make_anew(mount.dir / "d")
    write(mount.dir / "d" / "two.txt", b"mine")
    assert not (mount.dir / "d" / "new").exists()
    put(repository, {b"d/new": b"new"})
    mount.commit()
    assert (mount.dir / "d" / "new").read_bytes() == b"new"
    assert listed(mount.dir / "d") == ["new", "two.txt"]
    assert mount.status() == []


def test_a_folder_that_is_made_anew_during_a_commit_does_not_get_what_was_in_it(
    mounting: Mounting, repository: Path, tmp_path: Path
) -> None:
    mount, mark = publishing_slowly(mounting, repository, tmp_path)
    write(mount.dir / "g" / "old", b"old")
    write(mount.dir / "d" / "old", b"old")
    with committing(mount, mark):
        for name in ("d", "g"):
            make_anew(mount.dir / name)
            write(mount.dir / name / "new", b"new")
        put(repository, {b"d/theirs": b"theirs"})
    assert listed(mount.dir / "d") == listed(mount.dir / "g") == ["new"]
    with committing(mount, mark):
        pass
    found = {path for path in files_at(repository) if path[:1] in (b"d", b"g")}
    assert found == {b"d/new", b"d/theirs", b"g/new"}
    assert listed(mount.dir / "d") == ["new", "theirs"]
    assert mount.status() == []
    mount.stop()


def test_what_others_change_in_a_renamed_folder_is_seen_after_it_was_committed(
    mount: OverlayMount, repository: Path
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    for commits in range(2):
        assert (mount.dir / "moved" / "one.txt").read_bytes() == b"one\n"
        assert (mount.dir / "moved" / "e" / "deep.txt").read_bytes() == b"deep\n"
        if not commits:
            mount.commit()
    for number in range(2):
        theirs = b"%d" % number
        put(repository, {b"moved/one.txt": theirs, b"moved/e/deep.txt": theirs})
        assert mount.call("pull", str(mount.dir))[0] == 0
        assert (mount.dir / "moved" / "one.txt").read_bytes() == theirs
        assert (mount.dir / "moved" / "e" / "deep.txt").read_bytes() == theirs
    assert mount.status() == []


def test_what_others_change_in_a_new_folder_is_seen_after_each_pull(
    mount: OverlayMount, repository: Path
) -> None:
    make_anew(mount.dir / "d")
    for name in ("d", "g"):
        write(mount.dir / name / "mine", b"mine")
    mount.commit()
    for number in range(3):
        theirs = {b"%s/theirs" % name: b"%d" % number for name in (b"d", b"g")}
        put(repository, theirs)
        assert mount.call("pull", str(mount.dir))[0] == 0
        for path, data in theirs.items():
            assert (mount.dir / os.fsdecode(path)).read_bytes() == data
    put(repository, {b"other": b""}, remove=(b"d/theirs", b"g/theirs"))
    assert mount.call("pull", str(mount.dir))[0] == 0
    for name in ("d", "g"):
        assert not (mount.dir / name / "theirs").exists()
        assert listed(mount.dir / name) == ["mine"]
    assert mount.status() == []


def make_anew(folder: Path) -> None:
    """Remove a folder and all that is in it, and make it again."""
    shutil.rmtree(folder)
    folder.mkdir()
