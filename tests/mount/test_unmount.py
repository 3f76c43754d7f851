"""Undoing mounts: idle, busy, dead, stuck, not ours."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from .conftest import Sandbox, running, until
from .tiny import HELLO

pytestmark = pytest.mark.fuse

_HOLD_FD = "import sys; f = open(sys.argv[1]); print(1, flush=True); import time; time.sleep(60)"
# Python's mmap keeps a duplicate of the descriptor.
_HOLD_MAP = (
    "import os, sys, mmap; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); "
    "os.closerange(3, 20); print(m[0], flush=True); import time; time.sleep(60)"
)


def test_umount_leaves_nothing(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    done = sandbox.oxenfs("umount", str(sandbox.dir))
    assert (done.returncode, done.stderr) == (0, "")
    assert "/data/tiny@main" in done.stdout
    assert not running(pid)
    sandbox.assert_nothing_left()
    assert sandbox.mounts() == []


def test_umount_in_a_mount_without_a_folder_takes_that_mount(sandbox: Sandbox) -> None:
    sandbox.start()
    done = sandbox.oxenfs("umount", cwd=sandbox.dir / "sub")
    assert done.returncode == 0, done.stderr
    sandbox.assert_nothing_left()


def test_umount_through_a_symlink(sandbox: Sandbox) -> None:
    link = sandbox.root / "link"
    link.symlink_to("mnt")
    sandbox.start(path=link)
    assert sandbox.mounts()[0]["dir"] == str(sandbox.dir)
    assert sandbox.oxenfs("umount", str(link)).returncode == 0
    sandbox.assert_nothing_left()


def test_nothing_mounted_is_said(sandbox: Sandbox) -> None:
    done = sandbox.oxenfs("umount", str(sandbox.dir))
    assert done.returncode == 1
    assert f"nothing of oxenfs is mounted at {sandbox.dir}" in done.stderr
    done = sandbox.oxenfs("umount", cwd=sandbox.root)
    assert done.returncode == 2


def test_a_folder_inside_a_mount_names_the_mount(sandbox: Sandbox) -> None:
    sandbox.start()
    done = sandbox.oxenfs("umount", str(sandbox.dir / "sub"))
    assert done.returncode == 1
    assert f"oxenfs umount {sandbox.dir}\n" in done.stderr
    assert sandbox.layers() == 1


def test_another_file_system_is_not_ours_to_unmount(sandbox: Sandbox) -> None:
    done = sandbox.oxenfs("umount", "/proc")
    assert done.returncode == 1
    assert "is a mount of proc" in done.stderr


@pytest.mark.parametrize(
    ("use", "program"), [("open file", _HOLD_FD), ("mapped file", _HOLD_MAP), ("cwd", None)]
)
def test_a_busy_mount_names_who_holds_it(sandbox: Sandbox, use: str, program: str | None) -> None:
    sandbox.start()
    if program is None:
        holder = sandbox.popen("sleep", "60", cwd=sandbox.dir)
        until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", "start of sleep")
    else:
        holder = sandbox.popen(sys.executable, "-c", program, str(sandbox.dir / "hello"))
        assert holder.stdout is not None
        holder.stdout.readline()
    done = sandbox.oxenfs("umount", str(sandbox.dir))
    assert done.returncode == 1
    assert re.search(rf"in use by \S+ \({holder.pid}, {use}\); .*--lazy", done.stderr), done.stderr
    assert (sandbox.dir / "hello").read_bytes() == HELLO
    holder.kill()
    holder.wait()
    assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
    sandbox.assert_nothing_left()


def test_a_mount_inside_is_named(sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a tmpfs")
    sandbox.start()
    inner = sandbox.dir / "sub"
    assert sandbox.run("mount", "-t", "tmpfs", "inner", str(inner)).returncode == 0
    try:
        done = sandbox.oxenfs("umount", str(sandbox.dir))
    finally:
        sandbox.run("umount", str(inner))
    assert done.returncode == 1
    assert f"(tmpfs) is mounted on {inner}" in done.stderr


def test_a_lazy_unmount_lets_readers_finish_and_frees_the_folder(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    with (sandbox.dir / "hello").open("rb") as held:
        done = sandbox.oxenfs("umount", "--lazy", str(sandbox.dir))
        assert done.returncode == 0, done.stderr
        assert f"({os.getpid()}, open file)" in done.stdout
        assert sandbox.names() == []
        assert sandbox.mounts() == []
        # The old process still serves its reader, while a new mount takes its place.
        assert held.read() == HELLO
        assert running(pid)
        sandbox.start()
        assert (sandbox.dir / "hello").read_bytes() == HELLO
    until(lambda: not running(pid), "end with the last reader")
    assert (sandbox.dir / "hello").read_bytes() == HELLO
    assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
    sandbox.assert_nothing_left()


def test_a_lazy_unmount_by_hand_is_told_and_can_be_ended(sandbox: Sandbox) -> None:
    from oxenfs.mount.detach import detach

    pid = sandbox.start()["pid"]
    with (sandbox.dir / "hello").open("rb"):
        detach(sandbox.dir, lazy=True)
        assert [row["pid"] for row in sandbox.mounts()] == [pid]
        assert "unmounted, files still open" in sandbox.oxenfs("mounts").stdout
        again = sandbox.tiny()
        assert again.returncode == 1
        assert f"process {pid} still serves files" in again.stderr
        assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
        assert not running(pid)
    sandbox.assert_nothing_left()


def test_a_dead_mount_is_unmounted(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running(pid), "death")
    done = sandbox.oxenfs("umount", str(sandbox.dir))
    assert done.returncode == 0, done.stderr
    sandbox.assert_nothing_left()


def test_a_stopped_daemon_does_not_stop_the_unmount(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    done = sandbox.oxenfs("umount", str(sandbox.dir))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 15
    sandbox.assert_nothing_left()


def test_a_stuck_mount_is_unmounted_lazily_and_its_readers_are_freed(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    reader = sandbox.reader(b"slow")
    os.kill(pid, signal.SIGSTOP)
    # What lists mounts never waits for one.
    assert [row["pid"] for row in sandbox.mounts()] == [pid]
    busy = sandbox.oxenfs("umount", str(sandbox.dir))
    assert f"cat ({reader.pid}, open file)" in busy.stderr
    done = sandbox.oxenfs("umount", "--lazy", str(sandbox.dir))
    assert done.returncode == 0, done.stderr
    assert reader.wait(timeout=10) != 0
    sandbox.assert_nothing_left()


def test_a_mount_that_the_registry_lost_is_listed_and_unmounted(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    # As at a logout, when the runtime folder is emptied.
    sandbox.run("rm", "-r", str(sandbox.root / "run" / "oxenfs"))
    (row,) = sandbox.mounts()
    assert (row["dir"], row["repo"], row["revision"]) == (str(sandbox.dir), "/data/tiny", "main")
    assert "process unknown" in sandbox.oxenfs("mounts").stdout
    refused = sandbox.tiny()
    assert refused.returncode == 1
    assert "already shows /data/tiny@main" in refused.stderr
    assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
    until(lambda: not running(pid), "end of the daemon")
    sandbox.assert_nothing_left()


def test_an_ordinary_user_is_told_who_holds_his_mount(user: Sandbox) -> None:
    user.start()
    holder = user.popen("sleep", "60", cwd=Path("/"))
    holder.kill()
    holder = user.popen("tail", "-f", str(user.dir / "hello"))
    assert holder.stdout is not None
    holder.stdout.readline()
    done = user.oxenfs("umount", str(user.dir))
    assert done.returncode == 1
    assert f"tail ({holder.pid}, open file)" in done.stderr
    assert user.oxenfs("umount", "--lazy", str(user.dir)).returncode == 0
    holder.kill()
    user.assert_nothing_left()


def test_a_user_does_not_unmount_what_is_anothers(user: Sandbox, sandbox: Sandbox) -> None:
    sandbox.root.chmod(0o755)
    sandbox.start()
    done = user.oxenfs("umount", str(sandbox.dir))
    assert done.returncode == 1
    assert "mounted by another user" in done.stderr
    assert sandbox.layers() == 1
