"""What must be true of a folder before something is mounted on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oxenfs.errors import MountError
from oxenfs.mount import mountpoint

from .conftest import Sandbox


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    mountpoint.prepare(tmp_path)


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(MountError, match=f"no folder {missing}; make it: mkdir -p {missing}"):
        mountpoint.prepare(missing)


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(MountError, match="not a folder; a mount needs an empty one"):
        mountpoint.prepare(file)
    with pytest.raises(MountError, match="on the way to it is not a folder"):
        mountpoint.prepare(file / "below")


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 entry"), (3, "3 entries"), (1200, "more than 1000 entries")]
)
def test_a_folder_with_entries_says_how_many_would_be_hidden(
    tmp_path: Path, count: int, text: str
) -> None:
    for number in range(count):
        (tmp_path / str(number)).touch()
    with pytest.raises(MountError, match=f"would hide {text};"):
        mountpoint.prepare(tmp_path)


def test_another_file_system_is_named() -> None:
    with pytest.raises(MountError, match=r"/proc is the mount point of another .*\(proc, proc\)"):
        mountpoint.prepare(Path("/proc"))


@pytest.mark.fuse
def test_a_living_mount_that_is_not_registered_is_refused(sandbox: Sandbox) -> None:
    sandbox.start()
    with pytest.raises(MountError, match=f"already shows /data/tiny@main; .*umount {sandbox.dir}"):
        mountpoint.prepare(sandbox.dir)
    assert sandbox.layers() == 1


@pytest.mark.fuse
def test_all_dead_layers_are_taken_off(sandbox: Sandbox) -> None:
    from .conftest import running, until

    if os.geteuid() != 0:
        pytest.skip("only root stacks mounts")
    # The second one is mounted over the first, which neither registry nor check would allow.
    first = sandbox.start()["pid"]
    sandbox.run("rm", "-r", str(sandbox.root / "run" / "oxenfs"))
    script = (
        "import sys; from oxenfs.mount import mountpoint; mountpoint.prepare = lambda path: None; "
        "from tests.mount.tiny import main; sys.exit(main())"
    )
    import json
    import sys

    second = json.loads(sandbox.run(sys.executable, "-c", script, str(sandbox.dir)).stdout)["pid"]
    assert sandbox.layers() == 2
    for pid in (first, second):
        os.kill(pid, 9)
        until(lambda pid=pid: not running(pid), "death")  # type: ignore[misc]
    sandbox.start()
    assert sandbox.layers() == 1


@pytest.mark.fuse
def test_a_folder_without_rights_is_refused(user: Sandbox) -> None:
    user.root.chmod(0o755)
    done = user.tiny(path=user.root)
    assert done.returncode == 1
    assert "you may not write to" in done.stderr


@pytest.mark.fuse
def test_a_sticky_folder_of_another_is_refused(user: Sandbox) -> None:
    shared = user.root / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    done = user.tiny(path=shared)
    assert done.returncode == 1
    assert "sticky" in done.stderr
    assert "make a folder in it" in done.stderr


@pytest.mark.fuse
def test_a_folder_behind_a_closed_one_is_refused(user: Sandbox) -> None:
    closed = user.root / "closed"
    (closed / "mnt").mkdir(parents=True)
    closed.chmod(0o700)
    done = user.tiny(path=closed / "mnt")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
