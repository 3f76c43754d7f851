"""What `stat`, `statfs` and extended attributes say."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import AUTHOR, commit, make_repository

from oxenfs.model import Author, hash_text
from oxenfs.remote.local.repository import open_repository
from oxenfs.views.commit import date_text

from .mounted import Mounted
from .samples import SIZES, TIMES_NS

pytestmark = pytest.mark.fuse


def everything(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def test_modes_are_those_of_a_read_only_tree(mount: Mounted) -> None:
    for path in everything(mount.dir):
        status = path.stat()
        expected = stat.S_IFDIR | 0o555 if path.is_dir() else stat.S_IFREG | 0o444
        assert status.st_mode == expected, path


def test_everything_belongs_to_who_mounted(mount: Mounted) -> None:
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in everything(mount.dir)}
    assert owners == {(os.getuid(), os.getgid())}


@pytest.mark.parametrize("name", TIMES_NS)
def test_a_file_has_its_time_to_the_nanosecond(mount: Mounted, name: str) -> None:
    status = (mount.dir / "times" / name).stat()
    assert status.st_mtime_ns == TIMES_NS[name]
    assert status.st_ctime_ns == status.st_atime_ns == TIMES_NS[name]


def test_reading_does_not_change_the_access_time(mount: Mounted) -> None:
    path = mount.dir / "times" / "nanosecond"
    assert path.read_bytes() == b"nanosecond"
    assert path.stat().st_atime_ns == TIMES_NS["nanosecond"]


def test_a_folder_has_the_date_of_its_last_commit(
    tmp_path: Path, mounting: Callable[..., Mounted]
) -> None:
    remote = make_repository(tmp_path / "r", {b"old/a": b"1", b"new/b": b"2"})
    first = remote.commit(remote.branch("main").commit).timestamp_ns
    second = remote.commit(commit(remote, {b"new/b": b"3"})).timestamp_ns
    remote.close()
    mounted = mounting(str(tmp_path / "r"))
    assert (mounted.dir / "old").stat().st_mtime_ns == first
    assert (mounted.dir / "new").stat().st_mtime_ns == second
    assert mounted.dir.stat().st_mtime_ns == second


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_those_of_the_size(mount: Mounted, size: int) -> None:
    status = (mount.dir / "sizes" / str(size)).stat()
    assert status.st_size == size
    assert status.st_blocks == -(-size // 512)
    assert status.st_nlink == 1


def test_inode_numbers_are_unique_and_agree_with_listings(mount: Mounted) -> None:
    numbers = [path.stat().st_ino for path in everything(mount.dir)]
    assert len(set(numbers)) == len(numbers)
    for folder in (mount.dir, mount.dir / "names"):
        with os.scandir(folder) as entries:
            for entry in entries:
                assert entry.inode() == entry.stat().st_ino


def test_statfs_says_that_the_mount_is_full(mount: Mounted, source: Path) -> None:
    facts = os.statvfs(mount.dir)
    files = [path for path in source.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    assert size <= facts.f_blocks * facts.f_frsize < size + 4096
    assert facts.f_files == len(files)
    assert facts.f_bfree == facts.f_bavail == facts.f_ffree == 0
    assert facts.f_namemax == 255
    assert facts.f_flag & os.ST_RDONLY
    assert facts.f_flag & os.ST_NOSUID


def test_the_table_of_mounts_names_the_address(mount: Mounted, repository: Path) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    (line,) = [line for line in lines if f" {mount.dir} " in line]
    assert line.startswith(f"{repository}@main {mount.dir} fuse.oxenfs ro,nosuid,nodev")


def test_extended_attributes_say_who_changed_a_file_last(mount: Mounted, repository: Path) -> None:
    remote = open_repository(repository)
    head = remote.commit(remote.branch("main").commit)
    remote.close()
    for path in (mount.dir / "zeros", mount.dir / "names", mount.dir):
        found = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
        assert len(found.pop("user.oxen.hash")) > 25
        assert found == {
            "user.oxen.commit": hash_text(head.id),
            "user.oxen.author": f"{AUTHOR.name} <{AUTHOR.email}>",
            "user.oxen.date": date_text(head.timestamp_ns),
            "user.oxen.message": "all the samples",
        }


def test_getfattr_shows_them(mount: Mounted) -> None:
    words = ["getfattr", "-d", "--absolute-names", str(mount.dir / "zeros")]
    shown = subprocess.run(words, capture_output=True, check=True, text=True).stdout
    assert 'user.oxen.message="all the samples"' in shown


def test_equal_contents_have_equal_hashes(mount: Mounted) -> None:
    hashes = [
        os.getxattr(mount.dir / name, "user.oxen.hash") for name in ("twice", "sizes/4096", "zeros")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("name", ["user.other", "user.oxenfs.error", "security.capability"])
def test_other_extended_attributes_are_not_there(mount: Mounted, name: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (errno is looked at)
        os.getxattr(mount.dir / "zeros", name)
    assert caught.value.errno == errno.ENODATA


def test_a_long_message_can_be_read(tmp_path: Path, mounting: Callable[..., Mounted]) -> None:
    remote = make_repository(tmp_path / "r", {b"a": b"1"})
    message = "long " * 20_000
    commit(remote, {b"a": b"2"}, message=message, author=Author("Bo", "bo@example.com"))
    remote.close()
    mounted = mounting(str(tmp_path / "r"))
    assert os.getxattr(mounted.dir / "a", "user.oxen.message") == message.encode()[:65_536]
    assert os.getxattr(mounted.dir / "a", "user.oxen.author") == b"Bo <bo@example.com>"


def test_info_is_there_by_name_and_in_no_listing(mount: Mounted, repository: Path) -> None:
    assert ".oxenfs" not in os.listdir(mount.dir)  # noqa: PTH208
    remote = open_repository(repository)
    head = remote.commit(remote.branch("main").commit)
    remote.close()
    assert json.loads((mount.dir / ".oxenfs" / "info.json").read_text()) == {
        "repo": str(repository),
        "branch": "main",
        "commit": hash_text(head.id),
        "author": AUTHOR.name,
        "email": AUTHOR.email,
        "date": date_text(head.timestamp_ns),
        "message": "all the samples",
    }
    assert [path.name for path in (mount.dir / ".oxenfs").iterdir()] == ["info.json"]


def test_an_entry_of_the_repository_called_oxenfs_wins(
    tmp_path: Path, mounting: Callable[..., Mounted]
) -> None:
    make_repository(tmp_path / "r", {b".oxenfs": b"mine"}).close()
    mounted = mounting(str(tmp_path / "r"))
    assert [path.name for path in mounted.dir.iterdir()] == [".oxenfs"]
    assert (mounted.dir / ".oxenfs").read_bytes() == b"mine"
    assert "the repository has '.oxenfs' itself" in mounted.log
