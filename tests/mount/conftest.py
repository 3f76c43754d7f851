"""Fixtures that mount for real, and leave nothing mounted or running, whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oxenfs.errors import MountError
from oxenfs.mount import mountinfo
from oxenfs.mount.detach import detach

from .tiny import FILES

ROOT = Path(__file__).parents[2]
NOBODY = 65534
DEVICE = Path("/dev/fuse")


def until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Wait for `condition`, and fail with `what` if it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Return whether there is a process `pid` that is not a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z"


class Sandbox:
    """Folders of one user, and the processes and mounts that a test makes there.

    Attributes:
        root: everything is below it.
        dir: an empty folder to mount on.
        env: environment with HOME and the XDG folders in `root`.
    """

    def __init__(self, root: Path, user: int | None = None) -> None:
        self.root = root.resolve()
        self.user = user
        self.tag = uuid.uuid4().hex
        self.dir = self.root / "mnt"
        self._processes: list[subprocess.Popen[str]] = []
        folders = {
            "HOME": self.root / "home",
            "XDG_RUNTIME_DIR": self.root / "run",
            "XDG_STATE_HOME": self.root / "state",
            "XDG_CACHE_HOME": self.root / "cache",
            "XDG_DATA_HOME": self.root / "data",
        }
        for folder in (self.dir, *folders.values()):
            folder.mkdir(mode=0o700, exist_ok=True)
            if user is not None:
                os.chown(folder, user, user)
        self.env = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
            "OXENFS_TEST": self.tag,
            "OXENFS_TEST_READS": str(self.root / "home" / "reads"),
            **{name: str(folder) for name, folder in folders.items()},
        }

    def popen(self, *words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a process of the sandbox's user; it is killed at the end of the test."""
        process = subprocess.Popen(
            words,
            cwd=cwd or ROOT,
            env=self.env,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(
        self, *words: str, cwd: Path | None = None, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a process of the sandbox's user to its end."""
        process = self.popen(*words, cwd=cwd)
        out, err = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def oxenfs(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run(sys.executable, "-m", "oxenfs_cli", *words, cwd=cwd)

    def tiny(self, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Mount the tiny file system, in the background unless told otherwise."""
        return self.run(sys.executable, "-m", "tests.mount.tiny", *words, str(path or self.dir))

    def start(self, *words: str, path: Path | None = None) -> dict[str, Any]:
        """Mount the tiny file system, which must succeed; return what it tells."""
        done = self.tiny(*words, path=path)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def mounts(self) -> list[dict[str, Any]]:
        """Return what `oxenfs mounts --json` says of the sandbox."""
        done = self.oxenfs("mounts", "--json")
        assert done.returncode == 0, done.stderr
        # It also lists mounts that only the kernel knows: those of whoever runs the tests.
        return [row for row in json.loads(done.stdout) if self.root in Path(row["dir"]).parents]

    def reader(self, name: bytes) -> subprocess.Popen[str]:
        """Start a process that reads a file of the tiny file system, and wait until it waits."""
        log = self.root / "home" / "reads"
        before = log.read_text() if log.exists() else ""
        process = self.popen("cat", str(self.dir / os.fsdecode(name)))
        until(
            lambda: log.exists() and log.read_text().endswith(f"{before}{FILES[name]}\n"),
            "the reader waits",
        )
        return process

    def names(self) -> list[str]:
        """Return what is in `dir`, by a request that no cache answers."""
        return sorted(path.name for path in self.dir.iterdir())

    def layers(self) -> int:
        """Return how many mounts there are below the sandbox."""
        return sum(self.root in mounted.path.parents for mounted in mountinfo.read())

    def processes(self) -> list[int]:
        """Return the processes that were started in this sandbox, at whatever depth."""
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and self.tag in (process / "environ").read_text(
                    errors="replace"
                ):
                    found.append(int(process.name))
        return [pid for pid in found if running(pid)]

    def assert_nothing_left(self) -> None:
        """Fail if something is mounted, running or registered."""
        assert self.layers() == 0
        until(lambda: not self.processes(), f"end of all processes: {self.processes()}")
        assert list(self.root.glob("run/oxenfs/mounts/*")) == []

    def close(self) -> None:
        """Unmount and kill what is left."""
        for mounted in reversed(mountinfo.read()):
            if self.root in mounted.path.parents:
                with contextlib.suppress(MountError):
                    detach(mounted.path, force=True)
                if mountinfo.layers(mounted.path):
                    detach(mounted.path, lazy=True)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.kill()
            process.communicate(timeout=30)
        until(lambda: not self.processes(), "end of killed processes")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Folders and processes of the user who runs the tests."""
    with tempfile.TemporaryDirectory(prefix="oxenfs-") as root:
        made = Sandbox(Path(root))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def user() -> Iterator[Sandbox]:
    """The same for an ordinary user, who may use /dev/fuse meanwhile, as with udev's rule."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    root = Path(tempfile.mkdtemp(prefix="oxenfs-"))
    root.chmod(0o755)
    made = Sandbox(root, NOBODY)
    # One test at a time has the mode of the device, also of test runs beside this one.
    turn = os.open(DEVICE.parent, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    before = stat.S_IMODE(DEVICE.stat().st_mode)
    DEVICE.chmod(0o666)
    try:
        if made.run(sys.executable, "-c", "import oxenfs, pyfuse3", cwd=Path("/")).returncode:
            pytest.skip(f"an ordinary user may not read {ROOT}")
        yield made
    finally:
        DEVICE.chmod(before)
        os.close(turn)
        made.close()
        shutil.rmtree(root)
