"""Starts what is compared over HTTP: our server, the real one, and the official client.

The real `oxen-server` is taken where `OXEN_SERVER` names its binary. The client runs in a process
of its own and says itself how long a step took, so that starting Python is in nobody's time.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import private_memory
from mounts import command, environment

if TYPE_CHECKING:
    from work import Work

START_S = 30
STEP_S = 0.05

# argv: step, folder, url, message. Prints the seconds of the step.
CLIENT = """
import sys, time
from oxen import Repo
from oxen.user import config_user
step, folder, url, message = sys.argv[1:]
config_user("Bench", "bench@example.org")
repo = Repo(folder)
started = time.perf_counter()
if step == "clone":
    repo.clone(url)
if "init" in step:
    repo.init()
if "commit" in step:
    repo.add(folder)
    repo.commit(message)
if "push" in step:
    # A name of its own: the client keeps the id of the repository behind a name.
    name = url.rpartition("/")[2]
    repo.set_remote(name, url)
    repo.push(remote_name=name, branch="main")
print(time.perf_counter() - started)
"""


@dataclass
class Server:
    """A running server.

    Attributes:
        peak: the most private memory that it had, in bytes.
        last: name of the repository that was pushed to last.
    """

    name: str
    host: str
    pid: int
    peak: int = 0
    last: str = ""

    def new(self, name: str, *, branch: bool = False) -> str:
        """Return the URL of a new repository; `branch`: with an empty commit on `main`."""
        self.ask("POST", "/api/repos", {"namespace": "bench", "name": name})
        path = f"/api/repos/bench/{name}/workspaces"
        if branch:
            self.ask("PUT", path, {"workspace_id": "first", "branch_name": "main"})
            self.ask("DELETE", f"{path}/first")
        return f"http://{self.host}/bench/{name}"

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the JSON answer to a request, which must be a success."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {raw[:300]!r}")
        found: dict[str, Any] = json.loads(raw)
        return found


@contextmanager
def ours(work: Work) -> Iterator[Server]:
    """Run `oxenfs serve`."""
    port = free_port()
    line = command("serve", work.new_folder("served"), "--port", str(port))
    with _running("oxenfs serve", line, {}, port, work) as server:
        yield server


@contextmanager
def real(work: Work) -> Iterator[Server]:
    """Run the real server."""
    port = free_port()
    folder = work.new_folder("real")
    line = [os.environ["OXEN_SERVER"], "start", "-i", "127.0.0.1", "-p", str(port)]
    more = {"SYNC_DIR": str(folder), "HOME": str(folder)}
    with _running("oxen-server", line, more, port, work) as server:
        yield server


def has_real() -> bool:
    """Tell whether the real server can be run."""
    return os.access(os.environ.get("OXEN_SERVER", ""), os.X_OK)


@contextmanager
def _running(
    name: str, line: list[str], more: dict[str, str], port: int, work: Work
) -> Iterator[Server]:
    process = subprocess.Popen(
        line,
        env={**environment(work), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Server(name, f"127.0.0.1:{port}", process.pid)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(STEP_S):
            server.peak = max(server.peak, private_memory(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{name} did not start") from None
                time.sleep(STEP_S)
        watcher.start()
        yield server
    finally:
        stop.set()
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def official(work: Work, step: str, folder: Path, url: str = "-", message: str = "-") -> float:
    """Run a step of the official client and return its seconds."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, step, str(folder), url, message],
        env={**environment(work), "HOME": str(work.run)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"official {step} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
