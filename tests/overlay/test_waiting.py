"""Changes that wait for their mount: whose they are, and what commands say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import make_repository

from .mounting import OverlayMount, listed, write

pytestmark = pytest.mark.fuse


def pending(mount: OverlayMount) -> list[tuple[object, ...]]:
    """Return folder, branch and number of changes of what is not mounted."""
    code, said = mount.call("mounts", "--pending", "--json")
    assert code == 0, said
    return [(row["dir"], row["branch"], row["changes"]) for row in json.loads(said)]


def test_a_refused_move_leaves_the_changes_where_they_are(
    mount: OverlayMount, repository: Path, tmp_path: Path
) -> None:
    mount.errors_expected = True  # the refused mount's
    write(mount.dir / "new", b"new")
    mount.commit("-b", "side")
    write(mount.dir / "more", b"more")
    mount.stop()
    other = tmp_path.resolve() / "other"
    other.mkdir()
    words = ("mount", f"{repository}@main", str(other), "--overlay-of", str(mount.dir))
    code, said = mount.call(*words)
    assert code == 3
    assert f"{mount.dir} has changes on top of side" in said
    assert str(other) not in said
    assert pending(mount) == [(str(mount.dir), "side", 1)]
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]


# A kernel that refuses comes after everything else that can be refused.
REFUSING = """
import sys
from oxenfs.errors import MountError
from oxenfs.mount import kernel
from oxenfs_cli.main import main

def refuse(*_):
    raise MountError("the kernel refuses")

kernel.mount = refuse
sys.argv[0] = "oxenfs"
sys.exit(main())
"""


def test_a_mount_that_the_kernel_refuses_leaves_the_changes_where_they_are(
    mount: OverlayMount, repository: Path
) -> None:
    mount.errors_expected = True  # the refused mount's
    write(mount.dir / "new", b"new")
    mount.stop()
    other = mount.dir.with_name("other")
    other.mkdir()
    words = ("mount", f"{repository}@main", str(other), "--overlay-of", str(mount.dir))
    process = mount.popen("-c", REFUSING, *words, "--foreground")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, "the kernel refuses" in said) == (1, True), said
    assert pending(mount) == [(str(mount.dir), "main", 1)]
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "new", "top.txt"]


def homes(mount: OverlayMount) -> list[Path]:
    """Return the folders that keep changes."""
    return [*Path(mount.environment["HOME"]).glob(".local/share/oxenfs/overlays/*")]


def test_an_overlay_without_changes_leaves_nothing(mount: OverlayMount) -> None:
    assert len(homes(mount)) == 1
    mount.stop()
    assert homes(mount) == []
    mount.start()
    write(mount.dir / "new", b"new")
    mount.stop()
    assert len(homes(mount)) == 1
    mount.start()
    (mount.dir / "new").unlink()
    mount.stop()
    assert homes(mount) == []


def test_what_has_no_changes_is_in_nobodys_way(
    tmp_path: Path, repository: Path, mounting: Callable[[str], OverlayMount]
) -> None:
    make_repository(tmp_path / "another", {b"other": b"other"}).close()
    mount = mounting(f"{tmp_path / 'another'}@main")
    mount.kill_hard()
    mount._arguments[-2] = f"{repository}@main"
    mount.start()
    write(mount.dir / "new", b"new")
    mount.stop()
    assert len(homes(mount)) == 2
    assert mount.status() == [("A", "new")]
    code, said = mount.call("discard", str(mount.dir), "--yes")
    assert code == 0, said
    assert pending(mount) == []


def test_changes_of_two_repositories_at_one_folder_are_told_apart_by_mounting(
    tmp_path: Path, repository: Path, mounting: Callable[[str], OverlayMount]
) -> None:
    make_repository(tmp_path / "another", {b"other": b"other"}).close()
    mount = mounting(f"{tmp_path / 'another'}@main")
    write(mount.dir / "one", b"1")
    mount.stop()
    mount._arguments[-2] = f"{repository}@main"
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]
    write(mount.dir / "two", b"2")
    mount.stop()
    code, said = mount.call("discard", str(mount.dir), "--yes")
    assert (code, "several repositories" in said) == (1, True), said
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt", "two"]


def test_changes_can_be_taken_to_a_folder_whose_overlay_has_none(
    mount: OverlayMount, repository: Path
) -> None:
    write(mount.dir / "new", b"new")
    mount.stop()
    other = mount.dir.with_name("other")
    other.mkdir()
    # Another mount of the same user.
    killed = OverlayMount(mount.dir.parent, f"{repository}@main")
    killed.dir = other
    killed._arguments[-1] = str(other)
    killed.start()
    killed.kill_hard()
    words = ("mount", f"{repository}@main", str(other), "--overlay-of", str(mount.dir))
    code, said = mount.call(*words)
    assert code == 0, said
    assert mount.call("umount", str(other))[0] == 0
    assert pending(mount) == [(str(other), "main", 1)]


def test_changes_of_a_dead_mount_are_told_and_dropped(mount: OverlayMount) -> None:
    write(mount.dir / "new", b"new")
    write(mount.dir / "more", b"more")
    assert mount._process is not None
    mount._process.kill()
    mount._process.wait()
    assert mount.status() == [("A", "more"), ("A", "new")]
    code, said = mount.call("status", str(mount.dir), "new")
    assert (code, said) == (0, "A new\n")
    for words in (("stats",), ("restore", "new"), ("diff",), ("commit", "-m", "m")):
        code, said = mount.call(words[0], str(mount.dir), *words[1:])
        assert code == 1
        assert f"is gone; mount there again, or oxenfs umount {mount.dir}" in said
    code, said = mount.call("discard", str(mount.dir), "new", "--yes")
    assert (code, "oxenfs restore" in said) == (2, True), said
    code, said = mount.call("discard", str(mount.dir), "--yes")
    assert code == 0, said
    mount.kill()
    mount.start()
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]


def test_one_path_of_what_waits_is_not_taken_for_all_of_it(mount: OverlayMount) -> None:
    write(mount.dir / "new", b"new")
    mount.stop()
    code, said = mount.call("discard", str(mount.dir), "new", "--yes")
    assert (code, "oxenfs restore" in said) == (2, True), said
    assert pending(mount) == [(str(mount.dir), "main", 1)]
    mount.start()


@pytest.mark.parametrize("command", [("diff",), ("commit", "-m", "m"), ("restore",)])
def test_what_needs_a_mount_says_how_to_mount_what_waits(
    mount: OverlayMount, repository: Path, command: tuple[str, ...]
) -> None:
    write(mount.dir / "new", b"new")
    mount.stop()
    paths = ("new",) if command[0] == "restore" else ()
    for words in ((str(mount.dir), *paths), (*paths, "-C", str(mount.dir))):
        code, said = mount.call(*command, *words)
        assert code == 2
        assert f"{mount.dir} has changes, but is not mounted" in said
        assert f"oxenfs mount {repository}@main {mount.dir} --overlay" in said
    mount.start()
