"""Folders that are renamed here while others change, remove or make the same ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .mounting import OverlayMount, listed, write
from .publishing import begin_commit, committing, publishing_slowly
from .test_committing import files_at, put

pytestmark = pytest.mark.fuse
Mounting = Callable[[str], OverlayMount]


def changed_in(folder: Path) -> None:
    """Touch, change and make files in a folder of the commit that was renamed."""
    (folder / "one.txt").write_bytes(b"mine\n")
    (folder / "e" / "deep.txt").chmod(0o600)
    write(folder / "new" / "file", b"new")


@pytest.mark.parametrize("change", [False, True])
def test_mine_keeps_a_renamed_folder_that_others_removed(
    mount: OverlayMount, repository: Path, *, change: bool
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    if change:
        changed_in(mount.dir / "moved")
    shown = files_at_mount(mount)
    numbers = {path: (mount.dir / path).stat().st_ino for path in shown}
    put(repository, {b"other": b"1"}, remove=(b"d",))
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "moved/e/deep.txt" in said
    assert files_at_mount(mount) == shown
    with (mount.dir / "moved" / "two.txt").open("rb") as reading:
        code, said = mount.call("pull", str(mount.dir), "--keep", "mine")
        assert code == 0, said
        assert reading.read() == b"two\n"
    assert files_at_mount(mount) == {**shown, "other": b"1"}
    assert {path: (mount.dir / path).stat().st_ino for path in shown} == numbers
    assert not (mount.dir / "d").exists()
    assert [row[0] for row in mount.status()] == ["A"] * (4 if change else 3)
    mount.stop()
    mount.start()
    assert files_at_mount(mount) == {**shown, "other": b"1"}
    mount.commit()
    assert files_at(repository) == {
        path.encode(): data for path, data in {**shown, "other": b"1"}.items()
    }
    if change:
        (mount.dir / "moved" / "e" / "deep.txt").chmod(0o644)
    assert mount.status() == []


def test_theirs_removes_what_others_removed_from_a_renamed_folder_and_no_more(
    mount: OverlayMount, repository: Path
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    (mount.dir / "d").mkdir()
    changed_in(mount.dir / "moved")
    put(repository, {b"other": b"1"}, remove=(b"d",))
    assert mount.call("pull", str(mount.dir), "--keep", "theirs", "top.txt")[0] == 3
    code, said = mount.call("pull", str(mount.dir), "--keep", "theirs")
    assert code == 0, said
    assert listed(mount.dir / "moved") == ["new"]
    assert listed(mount.dir / "moved" / "new") == ["file"]
    assert listed(mount.dir / "d") == []
    (mount.dir / "d").rmdir()
    assert mount.status() == [("A", "moved/new/file")]
    mount.commit()
    assert mount.status() == []
    assert listed(mount.dir) == ["big.bin", "moved", "other", "top.txt"]


def test_theirs_removes_a_renamed_folder_in_which_nothing_is_new(
    mount: OverlayMount, repository: Path
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    put(repository, {b"other": b"1"}, remove=(b"d",))
    code, said = mount.call("pull", str(mount.dir), "--keep", "theirs", "moved")
    assert code == 0, said
    assert listed(mount.dir) == ["big.bin", "other", "top.txt"]
    assert mount.status() == []


def test_a_folder_that_is_renamed_during_a_commit_over_which_others_removed_it_is_kept(
    mounting: Mounting, repository: Path, tmp_path: Path
) -> None:
    mount, mark = publishing_slowly(mounting, repository, tmp_path)
    write(mount.dir / "new", b"new")
    put(repository, {b"other": b"1"}, remove=(b"d",))
    with committing(mount, mark):
        (mount.dir / "d").rename(mount.dir / "moved")
    assert (mount.dir / "moved" / "e" / "deep.txt").read_bytes() == b"deep\n"
    assert listed(mount.dir) == ["big.bin", "moved", "new", "other", "top.txt"]
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 3
    assert "moved" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", "mine")
    assert code == 0, said
    with committing(mount, mark):
        pass
    assert files_at(repository)[b"moved/one.txt"] == b"one\n"
    assert mount.status() == []
    mount.stop()


def test_a_new_folder_in_the_place_of_one_that_is_renamed_during_its_commit_is_another(
    mounting: Mounting, repository: Path, tmp_path: Path
) -> None:
    mount, mark = publishing_slowly(mounting, repository, tmp_path)
    write(mount.dir / "g" / "old", b"old")
    with committing(mount, mark):
        (mount.dir / "g").rename(mount.dir / "moved")
        write(mount.dir / "g" / "new", b"new")
    assert listed(mount.dir / "g") == ["new"]
    assert listed(mount.dir / "moved") == ["old"]
    write(mount.dir / "g" / "old", b"another")
    write(mount.dir / "moved" / "more", b"more")
    assert (mount.dir / "moved" / "old").read_bytes() == b"old"
    write(mount.dir / "moved" / "old", b"older")
    assert (mount.dir / "g" / "old").read_bytes() == b"another"
    with committing(mount, mark):
        pass
    found = {path: data for path, data in files_at(repository).items() if path[:1] in b"gm"}
    assert found == {
        b"g/new": b"new",
        b"g/old": b"another",
        b"moved/more": b"more",
        b"moved/old": b"older",
    }
    assert mount.status() == []
    mount.stop()
    mount.start()
    assert listed(mount.dir / "g") == ["new", "old"]
    assert listed(mount.dir / "moved") == ["more", "old"]
    mount.stop()


def test_killed_before_the_mount_moved_a_renamed_folder_and_a_new_one_in_its_place_are_two(
    mounting: Mounting, repository: Path, tmp_path: Path
) -> None:
    mount, mark = publishing_slowly(mounting, repository, tmp_path)
    write(mount.dir / "g" / "old", b"old")
    process = begin_commit(mount, mark)
    (mount.dir / "g").rename(mount.dir / "moved")
    write(mount.dir / "g" / "new", b"new")
    mount.kill_hard()
    process.communicate()
    mark.unlink()
    assert files_at(repository)[b"g/old"] == b"old"
    mount.start()
    assert listed(mount.dir / "g") == ["new"]
    assert listed(mount.dir / "moved") == ["old"]
    assert (mount.dir / "moved" / "old").read_bytes() == b"old"
    mount.stop()


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_what_others_changed_where_a_folder_was_renamed_goes_along_or_comes_back(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    (mount.dir / "d" / "e").rename(mount.dir / "moved")
    write(mount.dir / "moved" / "new", b"new")
    put(repository, {b"d/e/deep.txt": b"theirs", b"d/e/more/x": b"x"})
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "d/e;" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", keep, "d")
    assert code == 0, said
    shown = files_at_mount(mount)
    del shown["big.bin"], shown["top.txt"], shown["d/one.txt"], shown["d/two.txt"]
    theirs = {"deep.txt": b"theirs", "more/x": b"x"}
    if keep == "mine":
        assert shown == {
            "moved/new": b"new",
            **{f"moved/{path}": data for path, data in theirs.items()},
        }
    else:
        # What was renamed is a copy.
        assert shown == {
            "moved/new": b"new",
            "moved/deep.txt": b"deep\n",
            **{f"d/e/{path}": data for path, data in theirs.items()},
        }
        (mount.dir / "d" / "e" / "deep.txt").write_bytes(b"another")
        assert (mount.dir / "moved" / "deep.txt").read_bytes() == b"deep\n"
        (mount.dir / "moved" / "deep.txt").unlink()
        assert listed(mount.dir / "d" / "e") == ["deep.txt", "more"]
    shown = files_at_mount(mount)
    mount.commit()
    assert {path.encode(): data for path, data in shown.items()} == files_at(repository)
    assert mount.status() == []
    mount.stop()
    mount.start()
    assert files_at_mount(mount) == shown


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_a_new_folder_beside_a_renamed_one_takes_what_others_changed_back(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    write(mount.dir / "d" / "one.txt", b"mine")
    put(repository, {b"d/one.txt": b"theirs", b"d/two.txt": b"theirs"})
    code, said = mount.call("pull", str(mount.dir), "--keep", keep, "d/one.txt")
    assert code == 3
    assert "d/two.txt;" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", keep)
    assert code == 0, said
    theirs = keep == "theirs"
    assert (mount.dir / "d" / "one.txt").read_bytes() == (b"theirs" if theirs else b"mine")
    assert listed(mount.dir / "d") == ["one.txt", *(["two.txt"] if theirs else [])]
    moved = {path.name: path.read_bytes() for path in (mount.dir / "moved").glob("*.txt")}
    # What others changed in it goes along; what came back is no rename any more.
    original = {"one.txt": b"one\n", "two.txt": b"two\n"}
    assert moved == (original if theirs else dict.fromkeys(original, b"theirs"))
    shown = files_at_mount(mount)
    mount.commit()
    assert {path.encode(): data for path, data in shown.items()} == files_at(repository)
    assert mount.status() == []
    assert listed(mount.dir / "moved") == ["e", "one.txt", "two.txt"]


@pytest.mark.parametrize("keep", ["mine", "theirs", ""])
def test_what_others_add_where_a_renamed_folder_is_now_is_a_conflict_of_a_pull(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    put(repository, {b"moved/new": b"theirs", b"moved/e/new": b"theirs"})
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "moved/e/new, moved/new;" in said
    assert mount.status() == [("R", "moved", "d")]
    if keep:
        code, said = mount.call("pull", str(mount.dir), "--keep", keep)
        assert code == 0, said
    both = {"moved/one.txt", "moved/two.txt", "moved/e/deep.txt", "moved/new", "moved/e/new"}
    if keep == "theirs":
        assert set(files_at_mount(mount)) == {"big.bin", "top.txt", *both}
    mount.commit()
    # A commit has both, and after it the mount.
    shown = files_at_mount(mount)
    if keep != "mine":
        assert set(shown) == {"big.bin", "top.txt", *both}
    assert {path.encode(): data for path, data in shown.items()} == files_at(repository)
    assert mount.status() == []


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_what_others_put_in_the_place_of_a_renamed_folder_is_decided(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    (mount.dir / "d" / "e").rename(mount.dir / "moved")
    put(repository, {b"moved": b"theirs"})
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "moved" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", keep, "moved")
    assert code == 0, said
    if keep == "theirs":
        # The rename is undone: what was in the folder is not lost with it.
        assert (mount.dir / "moved").read_bytes() == b"theirs"
        assert (mount.dir / "d" / "e" / "deep.txt").read_bytes() == b"deep\n"
        assert mount.status() == []
        return
    assert listed(mount.dir / "moved") == ["deep.txt"]
    mount.commit()
    assert {path.encode(): data for path, data in files_at_mount(mount).items()} == files_at(
        repository
    )
    assert mount.status() == []


def test_a_renamed_folder_that_a_commit_leaves_out_keeps_what_is_in_it(
    mount: OverlayMount, repository: Path
) -> None:
    (mount.dir / "d").rename(mount.dir / "d~")
    (mount.dir / "d~" / "e" / "deep.txt").write_bytes(b"mine\n")
    write(mount.dir / "new", b"new")
    put(repository, {b"other": b"other"})
    shown = {**files_at_mount(mount), "other": b"other"}
    mount.commit()
    assert set(files_at(repository)) == {b"big.bin", b"new", b"other", b"top.txt"}
    assert files_at_mount(mount) == shown
    assert mount.call("commit", str(mount.dir), "-m", "m")[0] == 4
    mount.stop()
    mount.start()
    assert files_at_mount(mount) == shown


def test_a_renamed_folder_in_the_place_of_one_and_a_new_one_in_its_own_stay_three(
    mount: OverlayMount, repository: Path
) -> None:
    put(repository, {b"g/x": b"x"})
    assert mount.call("pull", str(mount.dir))[0] == 0
    (mount.dir / "d" / "e" / "deep.txt").unlink()
    (mount.dir / "g").rename(mount.dir / "d" / "e")
    write(mount.dir / "g" / "y", b"y")
    put(repository, {b"d/e/z": b"z"})
    mount.commit()
    assert listed(mount.dir / "d" / "e") == ["x", "z"]
    assert listed(mount.dir / "g") == ["y"]
    assert mount.status() == []
    assert files_at(repository)[b"d/e/x"] == b"x"


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_a_file_that_others_put_where_a_new_folder_is_is_a_conflict(
    mount: OverlayMount, repository: Path, keep: str
) -> None:
    write(mount.dir / "x" / "a", b"mine")
    put(repository, {b"x": b"theirs"})
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 3
    assert "x/a;" in said
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3
    assert "x;" in said
    code, said = mount.call("pull", str(mount.dir), "--keep", keep)
    assert code == 0, said
    if keep == "theirs":
        assert (mount.dir / "x").read_bytes() == b"theirs"
        assert mount.status() == []
        return
    assert (mount.dir / "x" / "a").read_bytes() == b"mine"
    mount.commit()
    assert files_at(repository)[b"x/a"] == b"mine"
    assert mount.status() == []


def test_what_others_put_where_a_new_folder_in_a_renamed_one_is_is_a_conflict_of_a_pull(
    mount: OverlayMount, repository: Path
) -> None:
    (mount.dir / "d").rename(mount.dir / "moved")
    write(mount.dir / "moved" / "n" / "x", b"mine")
    write(mount.dir / "moved" / "n" / "o" / "x", b"mine")
    put(repository, {b"moved/n/y": b"theirs", b"moved/n/o/y": b"theirs"})
    code, said = mount.call("pull", str(mount.dir))
    assert code == 3, said
    assert "moved/n/o/y, moved/n/y;" in said
    assert listed(mount.dir / "moved" / "n") == ["o", "x"]
    # A commit has both.
    mount.commit()
    assert listed(mount.dir / "moved" / "n") == ["o", "x", "y"]
    assert listed(mount.dir / "moved" / "n" / "o") == ["x", "y"]
    assert files_at(repository)[b"moved/n/y"] == b"theirs"
    assert mount.status() == []


FORGETFUL = """
import sys
sys.argv = ["oxenfs", *sys.argv[2:]]
import oxenfs.mount.committing as c
from oxenfs.errors import Conflict
def publish(remote, intent, changes, progress):
    raise Conflict("the server knows of one", (b"d/one.txt",))
c.publish = publish
from oxenfs_cli.main import main
main()
"""


def test_a_commit_names_what_others_changed_whatever_the_server_remembers(
    mounting: Mounting, repository: Path
) -> None:
    mount = mounting(f"{repository}@main")
    mount.stop()
    mount._arguments = ["-c", FORGETFUL, "x", *mount._arguments[2:]]
    mount.start()
    for name in ("one.txt", "two.txt"):
        (mount.dir / "d" / name).write_bytes(b"mine")
    put(repository, {b"d/one.txt": b"theirs"}, remove=(b"d/two.txt",))
    code, said = mount.call("commit", str(mount.dir), "-m", "m")
    assert code == 3
    assert "d/one.txt, d/two.txt;" in said
    mount.stop()


def files_at_mount(mount: OverlayMount) -> dict[str, bytes]:
    return {
        str(path.relative_to(mount.dir)): path.read_bytes()
        for path in mount.dir.rglob("*")
        if path.is_file()
    }
