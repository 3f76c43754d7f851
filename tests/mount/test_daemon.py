"""The life of a mount, for real: start, answer, end, and every way to fail."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Sandbox, running, until
from .tiny import COMMIT, HELLO

pytestmark = pytest.mark.fuse


def _read(path: Path) -> bytes:
    return path.read_bytes()


def test_start_returns_when_the_mount_answers(sandbox: Sandbox) -> None:
    told = sandbox.start()
    assert _read(sandbox.dir / "hello") == HELLO
    assert sandbox.names() == ["crash", "hello", "slow", "stuck", "sub"]
    assert told["dir"] == str(sandbox.dir)
    assert told["commit"] == format(COMMIT, "x")
    assert running(told["pid"])
    assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
    sandbox.assert_nothing_left()


def test_the_daemon_is_a_session_of_its_own_without_streams(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in (0, 1, 2)} == {"/dev/null"}


def test_the_mount_has_the_options_that_it_should(sandbox: Sandbox) -> None:
    sandbox.start()
    (line,) = (x for x in Path("/proc/mounts").read_text().splitlines() if str(sandbox.dir) in x)
    source, _, kind, options, *_ = line.split()
    assert (source, kind) == ("/data/tiny@main", "fuse.oxenfs")
    assert {"ro", "nosuid", "nodev", "default_permissions"} <= set(options.split(","))
    assert "allow_other" not in options


@pytest.mark.parametrize(
    "repo",
    ["/data/a,b", "/data/a\\b", "/data/a b", "/data/ä\n\t", "/data/a,ro=\\,x", "/da\udcffta"],
)
def test_an_address_of_any_characters_is_the_source_of_the_mount(
    sandbox: Sandbox, repo: str
) -> None:
    from oxenfs.mount import mountinfo

    sandbox.start("--repo", repo)
    assert [m.source for m in mountinfo.layers(sandbox.dir)] == [f"{repo}@main"]
    assert sandbox.mounts()[0]["repo"] == repo


def test_no_child_of_the_daemon_holds_the_device(sandbox: Sandbox) -> None:
    log = sandbox.root / "child"
    sandbox.start("--child-log", str(log))
    until(log.exists, "the child's list of descriptors")
    assert "pipe" in log.read_text() or "null" in log.read_text()
    assert "/dev/fuse" not in log.read_text()


def test_the_descriptors_of_the_caller_do_not_stay_open(sandbox: Sandbox) -> None:
    # A shell's lock: exec 9> lock, flock 9.
    lock = sandbox.root / "lock"
    script = f'exec 9> "{lock}"; exec {sys.executable} -m tests.mount.tiny "{sandbox.dir}"'
    done = sandbox.run("bash", "-c", script)
    assert done.returncode == 0, done.stderr
    pid = json.loads(done.stdout)["pid"]
    assert lock not in {fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(sandbox: Sandbox, number: signal.Signals) -> None:
    pid = sandbox.start()["pid"]
    os.kill(pid, number)
    until(lambda: not running(pid), f"end by {number.name}")
    assert sandbox.names() == []
    sandbox.assert_nothing_left()


def test_sigterm_cancels_readers_that_wait(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    reader = sandbox.reader(b"slow")
    os.kill(pid, signal.SIGTERM)
    assert reader.wait(timeout=10) != 0
    until(lambda: not running(pid), "end by SIGTERM")
    sandbox.assert_nothing_left()


def test_sigterm_ends_a_mount_whose_thread_hangs(sandbox: Sandbox) -> None:
    told = sandbox.start()
    sandbox.reader(b"stuck")
    os.kill(told["pid"], signal.SIGTERM)
    until(lambda: not running(told["pid"]), "end in spite of the thread", 15)
    assert sandbox.layers() == 0
    assert "ending without them" in Path(told["log"]).read_text()
    assert sandbox.mounts() == []


def test_ctrl_c_in_the_foreground_unmounts(sandbox: Sandbox) -> None:
    process = sandbox.popen(
        sys.executable, "-m", "tests.mount.tiny", "--foreground", str(sandbox.dir)
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["pid"] == process.pid
    assert _read(sandbox.dir / "hello") == HELLO
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    sandbox.assert_nothing_left()


def test_a_dead_mount_is_cleaned_by_the_next_mount(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running(pid), "death")
    with pytest.raises(OSError, match=r"abort|connected"):
        sandbox.names()
    assert [(row["dir"], row["pid"]) for row in sandbox.mounts()] == [(str(sandbox.dir), None)]
    assert "dead" in sandbox.oxenfs("mounts").stdout
    told = sandbox.start()
    assert _read(sandbox.dir / "hello") == HELLO
    assert sandbox.layers() == 1
    assert [row["pid"] for row in sandbox.mounts()] == [told["pid"]]


def test_a_dead_mount_that_somebody_stands_in_is_cleaned_too(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    sandbox.popen("sleep", "60", cwd=sandbox.dir)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running(pid), "death")
    sandbox.start()
    assert _read(sandbox.dir / "hello") == HELLO
    assert sandbox.layers() == 1


def test_a_crash_leaves_the_mount_and_a_log(sandbox: Sandbox) -> None:
    told = sandbox.start()
    with pytest.raises(OSError, match=r"abort|connected"):
        _read(sandbox.dir / "crash")
    until(lambda: not running(told["pid"]), "end by the crash")
    # Errors, not the empty folder: a program that looks now must not believe all files gone.
    with pytest.raises(OSError, match=r"abort|connected"):
        sandbox.names()
    assert "a bug in a handler" in Path(told["log"]).read_text()
    assert [row["pid"] for row in sandbox.mounts()] == [None]
    assert sandbox.oxenfs("umount", str(sandbox.dir)).returncode == 0
    sandbox.assert_nothing_left()


def test_a_second_daemon_on_one_mount_point_is_refused(sandbox: Sandbox) -> None:
    pid = sandbox.start()["pid"]
    began = time.monotonic()
    second = sandbox.tiny()
    assert time.monotonic() - began < 5
    assert second.returncode == 1
    assert f"already shows /data/tiny@main (process {pid})" in second.stderr
    assert _read(sandbox.dir / "hello") == HELLO
    assert sandbox.layers() == 1


def test_of_many_daemons_at_once_one_mounts(sandbox: Sandbox) -> None:
    words = (sys.executable, "-m", "tests.mount.tiny", str(sandbox.dir))
    processes = [sandbox.popen(*words) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1, 1, 1], errors
    assert sandbox.layers() == 1
    assert _read(sandbox.dir / "hello") == HELLO


def test_an_error_of_the_build_is_raised_with_its_type(sandbox: Sandbox) -> None:
    done = sandbox.tiny("--build", "fail")
    assert done.returncode == 1
    assert done.stderr == "NotFound: no revision 'mian' here; there is 'main'\n"
    sandbox.assert_nothing_left()


def test_a_bug_in_the_build_is_told_and_logged(sandbox: Sandbox) -> None:
    done = sandbox.tiny("--build", "bug")
    assert "internal error: ZeroDivisionError: a bug" in done.stderr
    (log,) = sandbox.root.glob("state/oxenfs/log/*.log")
    assert "Traceback" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    sandbox.assert_nothing_left()


def test_a_daemon_that_dies_without_a_word_has_its_signal_named(sandbox: Sandbox) -> None:
    done = sandbox.tiny("--build", "die")
    assert done.returncode == 1
    assert "was killed by SIGKILL" in done.stderr
    assert sandbox.mounts() == []
    sandbox.assert_nothing_left()


def test_ctrl_c_while_mounting_ends_the_daemon(sandbox: Sandbox) -> None:
    process = _waiting(sandbox)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    assert sandbox.mounts() == []
    sandbox.assert_nothing_left()


def test_a_mount_whose_command_was_killed_meanwhile_is_undone(sandbox: Sandbox) -> None:
    process = _waiting(sandbox)
    process.kill()
    process.wait()
    assert len(sandbox.processes()) == 1
    (sandbox.root / "home" / "go").touch()
    sandbox.assert_nothing_left()


def test_a_process_mounts_only_once(sandbox: Sandbox) -> None:
    done = sandbox.tiny("--build", "twice")
    assert "one mount only" in done.stderr
    sandbox.assert_nothing_left()


def test_failures_come_within_a_second_of_their_cause(sandbox: Sandbox) -> None:
    began = time.monotonic()
    done = sandbox.tiny(path=sandbox.root / "missing")
    assert time.monotonic() - began < 3  # the interpreter's start included
    assert done.returncode == 1
    assert "mkdir" in done.stderr


def test_an_ordinary_user_mounts_and_unmounts(user: Sandbox) -> None:
    told = user.start()
    assert user.run("cat", str(user.dir / "hello")).stdout.encode() == HELLO
    assert [row["pid"] for row in user.mounts()] == [told["pid"]]
    done = user.oxenfs("umount", str(user.dir))
    assert done.returncode == 0, done.stderr
    user.assert_nothing_left()


def test_an_ordinary_user_mounts_on_his_dead_mount(user: Sandbox) -> None:
    pid = user.start()["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running(pid), "death")
    user.start()
    assert user.run("cat", str(user.dir / "hello")).stdout.encode() == HELLO
    assert user.layers() == 1


def test_allow_other_says_what_fuse_conf_needs(user: Sandbox) -> None:
    conf = Path("/etc/fuse.conf")
    if conf.exists() and "user_allow_other" in map(str.strip, conf.read_text().splitlines()):
        pytest.skip("/etc/fuse.conf has user_allow_other")
    done = user.tiny("--allow-other")
    assert done.returncode == 1
    assert "user_allow_other" in done.stderr
    assert "/etc/fuse.conf" in done.stderr
    user.assert_nothing_left()


def test_allow_other_lets_others_in(sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    sandbox.root.chmod(0o755)
    sandbox.start("--allow-other")
    reader = f"import os; os.setuid(65534); print(os.listdir({str(sandbox.dir)!r}))"
    assert "hello" in sandbox.run(sys.executable, "-c", reader).stdout


def test_without_the_device_an_ordinary_user_is_told_how_to_get_it(user: Sandbox) -> None:
    Path("/dev/fuse").chmod(0o600)
    done = user.tiny()
    assert done.returncode == 1
    assert "chmod 666 /dev/fuse" in done.stderr
    user.assert_nothing_left()


def test_without_fusermount_an_ordinary_user_is_told_how_to_get_it(user: Sandbox) -> None:
    # libfuse looks for it in a fixed place, so PATH cannot hide it; a mount of our own can.
    drop = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    mount = f"{drop} {sys.executable} -m tests.mount.tiny {user.dir}"
    user.user = None
    hidden = "mount --bind /dev/null /usr/bin/fusermount3 && exec " + mount
    done = user.run("unshare", "--mount", "sh", "-c", hidden)
    assert done.returncode == 1
    assert "fusermount3" in done.stderr


def _waiting(sandbox: Sandbox) -> subprocess.Popen[str]:
    """Return a command whose daemon waits, before it mounts, for the file `go`."""
    process = sandbox.popen(
        sys.executable, "-m", "tests.mount.tiny", "--build", "wait", str(sandbox.dir)
    )
    until(lambda: len(sandbox.processes()) == 2, "the command and its daemon")
    # The fork is not enough: the daemon must have claimed the mount point.
    until(lambda: list(sandbox.root.glob("run/oxenfs/mounts/*/info.json")), "claim")
    return process
