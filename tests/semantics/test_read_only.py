"""Nothing in a mount can be changed, and programs are told why."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .mounted import Mounted

pytestmark = pytest.mark.fuse


def opened(flags: int) -> Callable[[Path], object]:
    return lambda top: os.close(os.open(top / "zeros", flags))


def bind(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(top / "socket"))


WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda top: (top / "new").open("x"),
    "open for writing": opened(os.O_WRONLY),
    "open for reading and writing": opened(os.O_RDWR),
    "open to append": opened(os.O_WRONLY | os.O_APPEND),
    "open to truncate": opened(os.O_RDONLY | os.O_TRUNC),
    "open or create": lambda top: os.open(top / "new", os.O_RDONLY | os.O_CREAT),
    "nameless file": lambda top: os.open(top, os.O_TMPFILE | os.O_RDWR),
    "unlink": lambda top: (top / "zeros").unlink(),
    "rmdir": lambda top: (top / "hollow").rmdir(),
    "rename": lambda top: (top / "zeros").rename(top / "ones"),
    "rename over": lambda top: (top / "zeros").rename(top / "twice"),
    "mkdir": lambda top: (top / "new").mkdir(),
    "mknod": lambda top: os.mknod(top / "new"),
    "mkfifo": lambda top: os.mkfifo(top / "new"),
    "socket": bind,
    "symlink": lambda top: (top / "new").symlink_to("zeros"),
    "link": lambda top: (top / "new").hardlink_to(top / "zeros"),
    "chmod": lambda top: (top / "zeros").chmod(0o644),
    "chmod of the root": lambda top: top.chmod(0o755),
    "chown": lambda top: os.chown(top / "zeros", 1, 1),
    "truncate": lambda top: os.truncate(top / "zeros", 0),
    "utime": lambda top: os.utime(top / "zeros"),
    "setxattr": lambda top: os.setxattr(top / "zeros", "user.mine", b"1"),
    "removexattr": lambda top: os.removexattr(top / "zeros", "user.oxen.hash"),
    "write to what is there by name": lambda top: (top / ".oxenfs" / "info.json").open("a"),
    "create where only names are": lambda top: (top / ".oxenfs" / "new").open("x"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_refused_as_on_any_read_only_file_system(mount: Mounted, name: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (errno is looked at)
        WRITES[name](mount.dir)
    assert caught.value.errno == errno.EROFS


def test_access_tells_that_nothing_can_be_written(mount: Mounted) -> None:
    for path in (mount.dir, mount.dir / "zeros"):
        assert os.access(path, os.R_OK)
        assert not os.access(path, os.W_OK)
    assert os.access(mount.dir, os.X_OK)
    assert not os.access(mount.dir / "zeros", os.X_OK)


def test_files_can_be_locked(mount: Mounted) -> None:
    with (mount.dir / "zeros").open("rb") as one, (mount.dir / "zeros").open("rb") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_syncing_is_no_error(mount: Mounted) -> None:
    for path in (mount.dir, mount.dir / "zeros"):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


@pytest.mark.parametrize("name", ["missing", "hollow/missing", "zeros/below", "x" * 256])
def test_what_is_not_there_is_told_as_usual(mount: Mounted, name: str) -> None:
    expected = {
        "zeros/below": errno.ENOTDIR,
        "x" * 256: errno.ENAMETOOLONG,
    }.get(name, errno.ENOENT)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (errno is looked at)
        (mount.dir / name).stat()
    assert caught.value.errno == expected
