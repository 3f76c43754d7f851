"""The process that imports ahead: it serves when told to, and never outlives whoever began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oxenfs_cli import start

BEGIN = (
    "from oxenfs.mount import spare; spare.begin(); s = spare.take(); print(s.pid, flush=True)\n"
)


def ended(pid: int) -> bool:
    """Wait up to 20 s until there is no such process."""
    for _ in range(400):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def begun(rest: str) -> tuple[int, int]:
    """Run a program that begins a spare process; return the pid of that one, and its status."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + rest],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return int(done.stdout.split()[0]), done.returncode


def test_it_ends_with_whoever_began_it() -> None:
    pid, status = begun("")
    assert status == 0
    assert ended(pid)


def test_it_ends_when_its_parent_is_killed() -> None:
    pid, status = begun("import os; os.kill(os.getpid(), 9)")
    assert status == -signal.SIGKILL
    assert ended(pid)


def test_it_holds_no_stream_of_its_parent() -> None:
    # `capture_output` reads until the last holder of the pipe has closed it.
    code = BEGIN + (
        "import os, time\n"
        "while os.readlink(f'/proc/{s.pid}/fd/2') != '/dev/null': time.sleep(0.01)\n"
        "os.kill(s.pid, 19)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    pid = int(done.stdout)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


def test_without_one_the_order_says_so() -> None:
    code = BEGIN + (
        "import os\n"
        "os.kill(s.pid, 9); os.waitpid(s.pid, 0)\n"
        "try: s.order('anything')\n"
        "except BrokenPipeError: print('gone')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split()[1] == "gone"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mount", "data", "mnt"], True),
        (["mount", "data", "mnt", "--foreground"], False),
        (["mount", "--help"], False),
        (["umount", "mnt"], False),
        (["--help"], False),
        ([], False),
    ],
)
def test_only_a_mount_in_the_background_begins_one(
    words: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    monkeypatch.setattr("oxenfs.mount.spare.begin", lambda: begun.append(True))
    start.begin_ahead(words)
    assert bool(begun) == expected
