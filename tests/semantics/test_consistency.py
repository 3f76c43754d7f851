"""A mount shows one commit, whole, as long as it lives."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import AUTHOR, MIB, commit, make_repository, noise

from oxenfs.model import hash_text
from oxenfs.remote.local.repository import LocalRemote, create

from .mounted import Mounted, until

pytestmark = pytest.mark.fuse

FILES = {b"a": b"one", b"large": noise(3 * MIB, 1), b"sub/b": b"two", b"sub/c": b"three"}


@pytest.fixture
def remote(tmp_path: Path) -> LocalRemote:
    return make_repository(tmp_path / "repository", FILES)


def shown(folder: Path) -> dict[bytes, bytes]:
    return {
        os.fsencode(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_mount_stays_at_its_commit_when_the_branch_moves(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(f"{remote.layout.root}@main")
    commit(remote, {b"a": b"new", b"sub/d": b"four"}, remove=[b"sub/b", b"large"])
    assert shown(mounted.dir) == FILES
    later = mounting(f"{remote.layout.root}@main")
    assert shown(later.dir) == {b"a": b"new", b"sub/c": b"three", b"sub/d": b"four"}
    assert shown(mounted.dir) == FILES


def test_an_old_commit_is_mounted_by_its_id_and_by_a_prefix(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    first = hash_text(remote.branch("main").commit)
    commit(remote, {b"a": b"new"})
    for revision in (first, first[:8]):
        assert shown(mounting(f"{remote.layout.root}@{revision}").dir) == FILES


def test_two_mounts_of_one_repository_share_a_cache(
    remote: LocalRemote, mounting: Callable[..., Mounted], tmp_path: Path
) -> None:
    command = ["-m", "oxenfs_cli", "mount", "--foreground", "--cache-dir", str(tmp_path / "cache")]
    address = str(remote.layout.root)
    one, other = mounting(address, command=command), mounting(address, command=command)
    assert shown(one.dir) == shown(other.dir) == FILES


def test_a_mount_survives_the_loss_of_its_cache(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(str(remote.layout.root))
    home = Path(mounted.environment["HOME"])
    shutil.rmtree(home / ".cache")
    assert shown(mounted.dir) == FILES
    mounted.stop()
    mounted.start()
    assert shown(mounted.dir) == FILES


def test_open_files_and_mappings_outlive_a_lazy_unmount(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(str(remote.layout.root))
    large = FILES[b"large"]
    with (mounted.dir / "large").open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        mounted.unmount("--lazy")
        assert list(mounted.dir.iterdir()) == []
        assert file.read() == large
        assert view[:] == large
        view.close()
    until(lambda: "unmounted" in mounted.log, "end after the last open file")


def test_what_was_open_is_gone_when_the_mount_is_killed(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    mounted = mounting(str(remote.layout.root))
    mounted.errors_expected = True
    fd = os.open(mounted.dir / "large", os.O_RDONLY)
    os.kill(mounted.pid, signal.SIGKILL)
    mounted.kill()
    for call in (lambda: os.pread(fd, 10, 2 * MIB), lambda: os.close(fd)):
        with pytest.raises(OSError, match=r"not connected|aborted"):
            call()
    mounted.start()
    assert shown(mounted.dir) == FILES


def test_an_empty_commit_is_an_empty_folder(
    tmp_path: Path, mounting: Callable[..., Mounted]
) -> None:
    create(tmp_path / "empty", AUTHOR).close()
    assert list(mounting(str(tmp_path / "empty")).dir.iterdir()) == []
