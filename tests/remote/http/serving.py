"""Servers in other processes: ours, and the real one where there is one."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from oxenfs.address import Hosted
from oxenfs.remote.http.remote import HttpRemote

ROOT = Path(__file__).parents[3]
_START_S = 60.0


class Server:
    """A running server.

    Attributes:
        url: `http://127.0.0.1:PORT`.
    """

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def create(self) -> Hosted:
        """Make a repository with a name of its own, without branch and commit."""
        hosted = Hosted("http", self.host, "ns", f"repo-{uuid4().hex[:12]}")
        self.ask("POST", "/api/repos", {"namespace": hosted.namespace, "name": hosted.name})
        return hosted

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the JSON answer to a request, which must be a success."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        assert 200 <= answer.status < 300, (answer.status, raw)
        value: dict[str, Any] = json.loads(raw)
        return value

    def remote(self, timeout_s: float = 30.0) -> HttpRemote:
        """Return a new repository: `main` at one commit without files."""
        hosted = self.create()
        # The first workspace of an empty repository makes the branch and its first commit.
        path = f"/api/repos/{hosted.namespace}/{hosted.name}/workspaces"
        self.ask("PUT", path, {"workspace_id": "first", "branch_name": "main"})
        self.ask("DELETE", f"{path}/first")
        return HttpRemote(hosted, None, timeout_s)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def running(command: list[str], env: dict[str, str], port: int) -> Iterator[Server]:
    """Run a server and wait until it takes connections at `port` of this machine."""
    # A file: a server that says much would wait for ever for somebody to read a pipe.
    said = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        command,
        env={**os.environ, **env},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
    )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None:
                    said.seek(0)
                    raise RuntimeError(said.read().decode(errors="replace")) from None
                if time.monotonic() > deadline:
                    raise
                select.select([], [], [], 0.02)
        yield server
    finally:
        server.stop()
        said.close()


@contextmanager
def ours(folder: Path, port: int | None = None) -> Iterator[Server]:
    """Serve the repositories below `folder` with `oxenfs serve`."""
    port = port or free_port()
    command = [sys.executable, "-m", "oxenfs_cli", "serve", str(folder), "--port", str(port)]
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    with running(command, env, port) as server:
        yield server


@contextmanager
def real(binary: str, folder: Path) -> Iterator[Server]:
    """Serve with the real oxen-server."""
    port = free_port()
    command = [binary, "start", "-i", "127.0.0.1", "-p", str(port)]
    with running(command, {"SYNC_DIR": str(folder), "HOME": str(folder)}, port) as server:
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def why_ours_is_missing() -> str | None:
    """Return why `oxenfs serve` cannot run here, None if it can."""
    try:
        import oxenfs.server.run  # noqa: F401
    except ImportError as exc:
        return f"oxenfs serve cannot run here: {exc}"
    return None


def why_real_is_missing() -> str | None:
    """Return why the real server cannot run here, None if it can."""
    binary = os.environ.get("OXEN_SERVER", "")
    if not binary:
        return "OXEN_SERVER does not name the binary of oxen-server"
    return None if os.access(binary, os.X_OK) else f"OXEN_SERVER: {binary} cannot be run"
