"""A real mount for tests: a process in the foreground that is watched from start to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from oxenfs.errors import MountError
from oxenfs.mount import mountinfo
from oxenfs.mount.detach import detach

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT, ROOT / "cli", ROOT / "tests")
START_S, STOP_S = 60.0, 20.0


def until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Wait for `condition`, and fail with `what` if it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.01)


_running: set[Mounted] = set()


def abort_all() -> None:
    """Free whoever waits for a mount that does not answer; tracebacks go into its log."""
    for mounted in list(_running):
        mounted.abort()


class Mounted:
    """A mount of a repository, from `start` to `stop`.

    Attributes:
        dir: the mount point.
        errors_expected: whether the log may hold errors; a traceback may never be in it.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        *,
        command: Sequence[str] = ("-m", "oxenfs_cli", "mount", "--foreground"),
        user: int | None = None,
        sources: Sequence[Path] = SOURCES,
        python: str = sys.executable,
    ) -> None:
        """Prepare to mount `address` below `folder`, which is this mount's own."""
        self.dir = folder / "mnt"
        self.errors_expected = False
        self._user = user
        self._python = python
        self._home = folder / "home"
        self._said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._arguments = [*command, address, str(self.dir)]
        for made in (self.dir, self._home, self._home / "run"):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            if user is not None:
                os.chown(made, user, user)
        self.environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(self._home),
            "XDG_RUNTIME_DIR": str(self._home / "run"),
            "PYTHONPATH": ":".join(map(str, sources)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start Python as the user of the mount."""
        return subprocess.Popen(
            [self._python, *words],
            cwd="/",
            env=self.environment,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Run Python as the user of the mount; return what it prints. It must succeed."""
        process = self.popen(*words)
        try:
            said, _ = process.communicate(timeout=STOP_S)
        finally:
            process.kill()
        assert process.returncode == 0, said
        return said

    def start(self) -> None:
        """Mount, and return when it answers."""
        process = self._process = self.popen(*self._arguments)
        _running.add(self)
        ready = threading.Event()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                self._said.append(line)
                if line.startswith("mounted "):
                    ready.set()
            ready.set()  # it has ended

        self._listener = threading.Thread(target=listen, daemon=True)
        self._listener.start()
        if not ready.wait(START_S) or process.poll() is not None:
            self.kill()
            pytest.fail(f"not mounted: {''.join(self._said)}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the process has logged."""
        logs = self._home.glob(".local/state/oxenfs/log/*.log")
        return "".join(path.read_text() for path in logs)

    def unmount(self, *options: str) -> None:
        """Unmount by the command line."""
        self.run("-m", "oxenfs_cli", "umount", *options, str(self.dir))

    def stop(self) -> None:
        """Unmount, and look how the process ended and what it logged."""
        assert self._process is not None
        try:
            if mountinfo.layers(self.dir):
                self.unmount()
            code = self._process.wait(STOP_S)
            self._listener.join(STOP_S)
        finally:
            self.kill()
        log = self.log
        assert code == 0, log
        assert "Traceback" not in log
        assert "unmounted" in log
        if not self.errors_expected:
            assert " ERROR " not in log, log
            assert " CRITICAL " not in log

    def abort(self) -> None:
        """End a process that hangs; who waits for an answer gets an error."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
        with contextlib.suppress(MountError):
            detach(self.dir, force=True)

    def kill(self) -> None:
        """Leave nothing mounted or running, whatever the state."""
        _running.discard(self)
        while mountinfo.layers(self.dir):
            with contextlib.suppress(MountError):
                detach(self.dir, force=True)
            if mountinfo.layers(self.dir):
                detach(self.dir, lazy=True)
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._listener.join(STOP_S)
            if self._process.stdout is not None:
                self._process.stdout.close()
