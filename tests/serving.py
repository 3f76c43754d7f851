"""Our server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 60


class Running:
    """A server that was started.

    Attributes:
        url: with scheme and port.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self._command = [
            *[sys.executable, "-m", "oxenfs_cli", "serve", str(folder), "--port", "0"],
            *words,
        ]
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder.with_name(folder.name + ".log")
        self.start()

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.url = self._announced().rpartition(" at ")[2]

    def kill(self) -> None:
        """End it as a power cut would, as far as a process goes."""
        assert self._process is not None
        self._process.kill()
        self._wait()

    def stop(self) -> None:
        """End it as a user would; it must leave without complaint."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._wait()

    def problems(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def _wait(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _announced(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            ready, _, _ = select.select([self._process.stdout], [], [], 0.2)
            if ready and (line := self._process.stdout.readline().decode().strip()):
                return line
            if self._process.poll() is not None:
                break
        raise RuntimeError(f"the server did not start: {self.problems()}")


@contextlib.contextmanager
def running(folder: Path, *words: str) -> Iterator[Running]:
    server = Running(folder, *words)
    try:
        yield server
    finally:
        server.stop()
