"""An index on a read-only file system, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from oxenfs.errors import OxenfsError
from oxenfs.kv import open_environment
try:
    env = open_environment(Path(sys.argv[1]), ("one", "two"), durable=True, create=False)
    print(env.get("one", b"00059"), env.has("two", b"x"))
    with env.read() as txn:
        print(len(list(txn.scan("one"))))
    with env.write() as txn:
        txn.put("one", b"new", b"value")
except OxenfsError as exc:
    print(type(exc).__name__, exc)
"""


def run_readonly(folder: Path, script: str, *args: object) -> list[str]:
    """Run a script where `folder` is mounted read-only; return the lines that it prints."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    python = [sys.executable, "-c", script, *map(str, args)]
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, str(folder), *python],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"no mount namespace here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.splitlines()


def test_everything_is_read_and_nothing_written(data: Path) -> None:
    first, second, third = run_readonly(data.parent, SCRIPT, data.parent)
    assert first == f"{b'value 59 ' * 59!r} False"
    assert second == "2000"
    assert third == f"AccessDenied the index in {data.parent} is on a read-only disk"


def test_one_that_is_cut_off_is_refused(data: Path) -> None:
    os.truncate(data, data.stat().st_size // 2)
    (line,) = run_readonly(data.parent, SCRIPT, data.parent)
    assert line.startswith("IntegrityError")
    assert "cut off" in line


def test_a_repository_is_read_and_says_that_it_cannot_be_written(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from oxenfs_cli.main import main
main(["log", sys.argv[1], "--json"])
sys.stdout.flush()
(Path(sys.argv[2]) / "f").write_text("x")
sys.stderr = sys.stdout
print(main(["import", sys.argv[2], sys.argv[1] + "@main", "-m", "m"]))
"""
    repository, source = tmp_path / "data", tmp_path / "source"
    source.mkdir()
    init = [sys.executable, "-m", "oxenfs_cli", "init", str(repository)]
    subprocess.run(init, check=True, capture_output=True)
    lines = run_readonly(repository, script, repository, source)
    assert "Initialized repository" in "".join(lines)
    assert lines[-1] == "1"
    assert "Read-only file system" in lines[-2]
