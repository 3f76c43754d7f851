"""Changes that are dropped while programs have the files open."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from .mounting import OverlayMount, listed

pytestmark = pytest.mark.fuse


Restore = Callable[..., None]


@pytest.fixture(params=["restore", "discard"])
def restore(request: pytest.FixtureRequest, mount: OverlayMount) -> Restore:
    """Drops the changes of paths, or of everything, where these are all the changes."""

    def drop(*paths: str) -> None:
        words = paths if request.param == "restore" else ("--yes",)
        code, said = mount.call(request.param, str(mount.dir), *words)
        assert code == 0, said

    return drop


def test_a_file_that_was_removed_while_it_was_read_comes_back(
    mount: OverlayMount, restore: Restore
) -> None:
    path = mount.dir / "top.txt"
    with path.open("rb") as reading:
        path.unlink()
        assert os.fstat(reading.fileno()).st_nlink == 0
        restore("top.txt")
        assert path.read_bytes() == reading.read() == b"top\n"
        assert path.stat().st_nlink == 1
    assert path.stat().st_nlink == 1
    assert mount.status() == []
    path.write_bytes(b"mine")
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["top.txt", "big.bin"])
@pytest.mark.parametrize("truncate", [False, True])
def test_a_file_that_was_removed_while_it_was_written_comes_back_beside_it(
    mount: OverlayMount, restore: Restore, name: str, *, truncate: bool
) -> None:
    path = mount.dir / name
    original = path.read_bytes()
    with path.open("w+b" if truncate else "r+b", buffering=0) as writing:
        writing.write(b"mine")
        mine = b"mine" + (b"" if truncate else original[4:])
        path.unlink()
        restore(name)
        for _ in range(2):
            assert path.read_bytes() == original
            assert path.stat().st_size == len(original)
            assert path.stat().st_nlink == 1
            writing.seek(0)
            assert writing.read() == mine
            assert os.fstat(writing.fileno()).st_nlink == 0
            assert os.fstat(writing.fileno()).st_size == len(mine)
            assert os.fstat(writing.fileno()).st_ino != path.stat().st_ino
            writing.seek(0)
            writing.write(b"MINE")
            mine = b"MINE" + mine[4:]
        assert mount.status() == []
        path.write_bytes(b"other")
        writing.seek(0)
        assert writing.read() == mine
        assert path.read_bytes() == b"other"
        assert mount.status() == [("M", name)]
        path.unlink()
        restore(name)
        assert path.read_bytes() == original
    assert path.read_bytes() == original
    assert listed(mount.dir) == ["big.bin", "d", "top.txt"]
    assert mount.status() == []


def test_a_file_that_another_took_the_place_of_while_it_was_written_comes_back(
    mount: OverlayMount, restore: Restore
) -> None:
    path = mount.dir / "top.txt"
    with path.open("r+b", buffering=0) as writing:
        writing.write(b"mine")
        (mount.dir / "other").write_bytes(b"other")
        (mount.dir / "other").rename(path)
        assert path.read_bytes() == b"other"
        restore("top.txt")
        assert path.read_bytes() == b"top\n"
        writing.seek(0)
        assert writing.read() == b"mine"
    assert mount.status() == []


def test_changes_that_are_dropped_while_the_file_is_open_stay_with_the_handle(
    mount: OverlayMount, restore: Restore
) -> None:
    path = mount.dir / "top.txt"
    new = mount.dir / "new"
    with path.open("r+b", buffering=0) as writing, new.open("w+b", buffering=0) as making:
        writing.write(b"mine")
        making.write(b"new")
        restore("top.txt", "new")
        assert path.read_bytes() == b"top\n"
        assert not new.exists()
        writing.seek(0)
        assert writing.read() == b"mine"
        making.seek(0)
        assert making.read() == b"new"
        new.write_bytes(b"again")
        making.seek(0)
        assert making.read() == b"new"
        writing.write(b"more")
        assert path.read_bytes() == b"top\n"
    assert path.read_bytes() == b"top\n"
    assert new.read_bytes() == b"again"
    assert mount.status() == [("A", "new")]


def test_a_folder_that_was_removed_while_somebody_stands_in_it_comes_back(
    mount: OverlayMount, restore: Restore
) -> None:
    folder = mount.dir / "d" / "e"
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (folder / "deep.txt").unlink()
        folder.rmdir()
        assert os.listdir(fd) == []
        restore("d/e")
        assert listed(folder) == ["deep.txt"]
        assert (folder / "deep.txt").read_bytes() == b"deep\n"
        (folder / "new").write_bytes(b"new")
        assert listed(folder) == ["deep.txt", "new"]
    finally:
        os.close(fd)
    assert mount.status() == [("A", "d/e/new")]
