"""The README's first command, with real mounts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oxenfs.mount import mountinfo
from oxenfs_cli import demo
from oxenfs_cli.main import main

CALL = [sys.executable, "-m", "oxenfs_cli", "demo"]
TIMEOUT_S = 120


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def running_in(folder: Path) -> list[str]:
    """Return the command lines of processes that have to do with `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line and int(process.name) != os.getpid():
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def assert_nothing_left(folder: Path) -> None:
    assert not [m.path for m in mountinfo.read() if m.path.is_relative_to(folder)]
    until = time.monotonic() + 10
    while running_in(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert running_in(folder) == []


@pytest.mark.fuse
def test_the_demo_goes_through_and_leaves_nothing(temporary: Path) -> None:
    done = subprocess.run(CALL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("oxenfs init", "oxenfs import", "oxenfs mount", "oxenfs log", "oxenfs umount"):
        assert f"$ {step}" in done.stdout
    assert "equal byte for byte" in done.stdout
    assert 'user.oxen.author="Grace ' in done.stdout
    assert_nothing_left(temporary)
    assert list(temporary.iterdir()) == []


@pytest.mark.fuse
def test_in_a_folder_the_repository_stays(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    done = subprocess.run(
        [*CALL, str(place)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_left(place)
    log = [sys.executable, "-m", "oxenfs_cli", "log", str(place / "data")]
    assert "Grace" in subprocess.run(log, capture_output=True, text=True, check=True).stdout
    again = subprocess.run([*CALL, str(place)], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "not empty" in again.stderr


@pytest.mark.fuse
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["$ oxenfs mount", "$ diff"])
def test_an_interrupted_demo_leaves_nothing(
    number: signal.Signals, step: str, temporary: Path
) -> None:
    process = subprocess.Popen(
        CALL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(step):
            break
    # As a terminal does: the signal reaches every process of the group.
    os.killpg(process.pid, number)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode not in (0, None)
    assert_nothing_left(temporary)
    assert list(temporary.iterdir()) == []


def test_where_nothing_can_be_mounted_the_doctor_speaks(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_can_mount", lambda: False)
    assert main(["demo"]) == 1
    out = capfd.readouterr().out
    assert "nothing can be mounted here yet" in out
    assert "fusermount3" in out
    assert list(temporary.iterdir()) == []
