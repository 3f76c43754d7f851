"""Frames of videos that were written into a mount, or changed in it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from frames import clips
from frames.test_pixels import run_tool
from repositories import make_repository

from oxenfs.frames.spec import parse

from .mounting import OverlayMount, listed, write

pytest.importorskip("av", reason="no PyAV (pip install 'oxenfs[video]')")
pytestmark = pytest.mark.fuse
Mounting = Callable[[str], OverlayMount]
ONE, OTHER = "cfr25_bframes.mp4", "vfr.mp4"
SPEC = "every=5,bmp"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one video at two places."""
    data = (clips.folder() / ONE).read_bytes()
    files = {b"clip.mp4": data, b"d/e/clip.mp4": data, b"d/text": b"text"}
    make_repository(tmp_path / "repository", files).close()
    return tmp_path / "repository"


@pytest.fixture
def frames(mount: OverlayMount) -> Path:
    mount.errors_expected = True
    return mount.dir / ".frames" / SPEC


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What ffmpeg makes of a clip."""
    tool = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    made: dict[str, dict[str, bytes]] = {}

    def of(name: str) -> dict[str, bytes]:
        if name not in made:
            folder = tmp_path_factory.mktemp("tool")
            run_tool(tool, clips.folder() / name, parse(SPEC), folder)
            made[name] = {p.name: p.read_bytes() for p in folder.iterdir()}
        return made[name]

    return of


Wanted = Callable[[str], dict[str, bytes]]


def failing() -> Any:
    return pytest.raises(OSError, match="Errno")


def shown(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in listed(folder)}


def test_frames_of_what_was_written_and_of_what_took_its_place(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    assert listed(frames) == ["clip.mp4", "d"]
    shutil.copy(clips.folder() / OTHER, mount.dir / "new.mp4")
    assert listed(frames) == ["clip.mp4", "d", "new.mp4"]
    assert shown(frames / "new.mp4") == wanted(OTHER)
    write(mount.dir / "made" / "deep" / "new.mkv", (clips.folder() / ONE).read_bytes())
    assert listed(frames / "made" / "deep") == ["new.mkv"]
    assert shown(frames / "made" / "deep" / "new.mkv") == wanted(ONE)
    for _ in range(2):
        shutil.copy(clips.folder() / ONE, mount.dir / "new.mp4")
        assert shown(frames / "new.mp4") == wanted(ONE)
        shutil.copy(clips.folder() / OTHER, mount.dir / "new.mp4")
        assert shown(frames / "new.mp4") == wanted(OTHER)
    os.replace(mount.dir / "made" / "deep" / "new.mkv", mount.dir / "new.mp4")
    assert shown(frames / "new.mp4") == wanted(ONE)
    assert listed(frames) == ["clip.mp4", "d", "new.mp4"]
    (mount.dir / "new.mp4").unlink()
    assert not (frames / "new.mp4").exists()
    assert not list((mount.dir / "made" / "deep").iterdir())


def test_frames_of_a_video_of_the_commit_that_is_changed_moved_and_put_back(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    inside = frames / "d" / "e" / "clip.mp4"
    assert shown(inside) == wanted(ONE)
    shutil.copy(clips.folder() / OTHER, mount.dir / "d" / "e" / "clip.mp4")
    assert shown(inside) == wanted(OTHER)
    assert shown(frames / "clip.mp4") == wanted(ONE)
    (mount.dir / "d").rename(mount.dir / "moved")
    assert listed(frames) == ["clip.mp4", "moved"]
    assert shown(frames / "moved" / "e" / "clip.mp4") == wanted(OTHER)
    (mount.dir / "clip.mp4").rename(mount.dir / "moved" / "clip.mp4")
    assert shown(frames / "moved" / "clip.mp4") == wanted(ONE)
    assert listed(frames) == ["moved"]
    mount.commit()
    assert shown(frames / "moved" / "e" / "clip.mp4") == wanted(OTHER)
    assert shown(frames / "moved" / "clip.mp4") == wanted(ONE)
    shutil.copy(clips.folder() / ONE, mount.dir / "moved" / "e" / "clip.mp4")
    assert shown(frames / "moved" / "e" / "clip.mp4") == wanted(ONE)
    code, said = mount.call("restore", str(mount.dir), "moved")
    assert code == 0, said
    assert shown(frames / "moved" / "e" / "clip.mp4") == wanted(OTHER)
    assert mount.status() == []


def test_frames_are_there_after_the_mount_was_started_again(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    shutil.copy(clips.folder() / OTHER, mount.dir / "new.mp4")
    assert shown(frames / "new.mp4") == wanted(OTHER)
    mount.stop()
    mount.start()
    assert shown(frames / "new.mp4") == wanted(OTHER)
    shutil.copy(clips.folder() / ONE, mount.dir / "new.mp4")
    assert shown(frames / "new.mp4") == wanted(ONE)
    code, said = mount.call("frames", SPEC, "new.mp4", "-C", str(mount.dir))
    assert code == 0, said
    assert "000001.bmp" in said
    array = (mount.dir / ".frames" / "every=5" / "new.mp4.npy").read_bytes()
    assert array.startswith(b"\x93NUMPY")


def test_a_video_that_is_being_written_says_so(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    data = (clips.folder() / OTHER).read_bytes()
    folder = frames / "new.mp4"
    with (mount.dir / "new.mp4").open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        assert listed(folder) == []
        assert b"open for writing" in os.getxattr(folder, "user.oxenfs.error")
        one = mount.dir / ".frames" / "first,bmp" / "new.mp4" / "000001.bmp"
        with failing() as caught:
            one.read_bytes()
        assert caught.value.errno == errno.EIO
        file.write(data[len(data) // 2 :])
    assert shown(folder) == wanted(OTHER)
    assert one.read_bytes()
    with (mount.dir / "new.mp4").open("r+b", buffering=0) as file:
        assert listed(folder) == []
    assert shown(folder) == wanted(OTHER)


def test_what_is_no_video_says_so_and_is_one_when_it_was_written_anew(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    (mount.dir / "new.mp4").write_bytes(b"no video at all")
    assert listed(frames / "new.mp4") == []
    assert os.getxattr(frames / "new.mp4", "user.oxenfs.error")
    data = (clips.folder() / OTHER).read_bytes()
    (mount.dir / "new.mp4").write_bytes(data)
    assert shown(frames / "new.mp4") == wanted(OTHER)
    # Cut off by a path, without anybody having it open.
    os.truncate(mount.dir / "new.mp4", 100)
    assert listed(frames / "new.mp4") == []
    (mount.dir / "new.mp4").write_bytes(b"")
    assert listed(frames / "new.mp4") == []


def test_who_stands_in_the_frames_of_old_bytes_never_gets_those_of_new_ones(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    shutil.copy(clips.folder() / OTHER, mount.dir / "new.mp4")
    fd = os.open(frames / "new.mp4", os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = listed(frames / "new.mp4")
        first = os.open(names[0], os.O_RDONLY, dir_fd=fd)
        shutil.copy(clips.folder() / ONE, mount.dir / "new.mp4")
        got = 0
        for name in names:
            try:
                one = os.open(name, os.O_RDONLY, dir_fd=fd)
            except OSError:
                continue
            with os.fdopen(one, "rb") as file:
                assert file.read() == wanted(OTHER)[name]
                got += 1
        assert got
        with os.fdopen(first, "rb") as file:
            assert file.read() == wanted(OTHER)[names[0]]
        assert shown(frames / "new.mp4") == wanted(ONE)
    finally:
        os.close(fd)


def test_ffmpeg_writes_into_the_mount_and_its_frames_are_read_there(
    frames: Path, mount: OverlayMount, wanted: Wanted
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    command = ["ffmpeg", "-v", "error", "-i", str(mount.dir / "clip.mp4"), "-c", "copy"]
    subprocess.run([*command, str(mount.dir / "copy.mkv")], check=True, timeout=60)
    assert shown(frames / "copy.mkv") == wanted(ONE)


@pytest.mark.parametrize("name", ["new.mp4/x", "new.mp4/000001.bmp", "x", "d/e/clip.mp4/x"])
def test_nothing_can_be_changed_among_the_frames(
    frames: Path, mount: OverlayMount, name: str
) -> None:
    shutil.copy(clips.folder() / OTHER, mount.dir / "new.mp4")
    assert listed(frames / "new.mp4")
    assert listed(frames / "d" / "e" / "clip.mp4")
    for change in (lambda path: path.write_bytes(b"x"), Path.mkdir, Path.unlink):
        with failing() as caught:
            change(frames / name)
        assert caught.value.errno in (errno.EROFS, errno.EEXIST, errno.ENOENT)
    with failing() as caught:
        (frames / "d").rename(mount.dir / "stolen")
    assert caught.value.errno == errno.EROFS
    assert mount.status() == [("A", "new.mp4")]
