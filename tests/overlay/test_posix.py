"""What others wrote to find faults in file systems: pjdfstest and fsx, where they are on the PATH.

OXENFS_TEST_FSX is the number of fsx's operations; 100,000 is the long run.

    cargo install pjdfstest --version 0.2.2 --locked
    cargo install fsx --version 0.3.2 --locked
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mounting import OverlayMount

pytestmark = pytest.mark.fuse

OPERATIONS = int(os.environ.get("OXENFS_TEST_FSX", "5000"))
RUN_S = 1800

# Timestamps here are the kernel's coarse ones: 4 ms apart, 10 on some machines.
PJDFSTEST = """
[features]
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.03
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
# It opens a program for writing as soon as it was started, which may not have happened yet.
FLAKY = {"open::etxtbsy"}
# Of a `fallocate` the kernel never tells a pyfuse3 file system.
FSX = """
flen = 2097152
[opsize]
max = 262144
[weights]
close_open = 1
invalidate = 1
truncate = 5
write = 10
read = 10
mapread = 10
mapwrite = 10
fsync = 0.5
fdatasync = 0.5
copy_file_range = 1
"""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on the PATH; README.md says how to get it")
    return found


@pytest.fixture
def shared(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, nothing_hangs: None
) -> Iterator[OverlayMount]:
    """A mount that other users may use too."""
    mount = OverlayMount(tmp_path_factory.mktemp("shared").resolve(), f"{repository}@main")
    mount._arguments.append("--allow-other")
    for folder in (mount.dir, *mount.dir.parents):
        if os.stat(folder).st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    mount.start()
    yield mount
    mount.kill()


def test_pjdfstest_finds_nothing(shared: OverlayMount, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("pjdfstest changes users; root can")
    program = tool("pjdfstest")
    (tmp_path / "pjdfstest.toml").write_text(PJDFSTEST)
    (shared.dir / "tested").mkdir()
    done = subprocess.run(
        [program, "-c", tmp_path / "pjdfstest.toml", "-p", shared.dir / "tested"],
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    said = done.stdout + done.stderr
    print(said[-2000:])
    counted = re.search(r"(\d+) failed, (\d+) skipped, (\d+) passed", said)
    assert counted is not None, said[-3000:]
    assert set(re.findall(r"^(\S+)\s+FAILED", said, re.M)) <= FLAKY, said
    passed = int(counted[3])
    assert passed > 300
    shared.stop()


def test_fsx_finds_nothing(mount: OverlayMount, tmp_path: Path) -> None:
    program = tool("fsx")
    (tmp_path / "fsx.toml").write_text(FSX)
    # A file of the commit, of which what is not written yet is read from below.
    path = mount.dir / "big.bin"
    done = subprocess.run(
        [
            program,
            "-f",
            tmp_path / "fsx.toml",
            "-N",
            str(OPERATIONS),
            "-S",
            "8",
            "-P",
            tmp_path,
            path,
        ],
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    said = done.stdout + done.stderr
    print(said[-2000:])
    assert done.returncode == 0, said[-3000:]
    assert "All operations completed" in said
