"""A server for tests of commits: ours, or the real one that `OXEN_SERVER` names."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from remote.reference import rows_below
from repositories import commit

from oxenfs.address import parse
from oxenfs.model import Commit, Kind, ObjectHash
from oxenfs.remote.base import BlobPlace, Remote
from oxenfs.remote.open import open_remote

START_S = 60.0
REAL = os.environ.get("OXEN_SERVER", "")


class Served:
    """A server that can be killed and started again where it was.

    Attributes:
        address: of a repository on it, with a branch `main`.
    """

    def __init__(self, folder: Path) -> None:
        """Serve what is below `folder`, which is made."""
        self._folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{self._port}/ns/files"
        self.start()

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        words = [sys.executable, "-m", "oxenfs_cli", "serve", str(self._folder)]
        words += ["--port", str(self._port)]
        more = {}
        if REAL:
            words = [REAL, "start", "-i", "127.0.0.1", "-p", str(self._port)]
            more = {"SYNC_DIR": str(self._folder), "HOME": str(self._folder)}
        with (self._folder.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **more},
            )
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                log_text = (self._folder.parent / "server.log").read_text(errors="replace")
                assert self._process.poll() is None, log_text
                assert time.monotonic() < until, log_text
                time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_S)

    def make(self, files: Mapping[bytes, bytes]) -> None:
        """Make the repository, whose branch `main` has `files`."""
        self._ask("POST", "/api/repos", {"namespace": "ns", "name": "files"})
        # The first workspace of an empty repository makes the branch and its first commit.
        first = {"workspace_id": "first", "branch_name": "main"}
        self._ask("PUT", "/api/repos/ns/files/workspaces", first)
        self._ask("DELETE", "/api/repos/ns/files/workspaces/first")
        with self.remote() as remote:
            commit(remote, files)

    @contextlib.contextmanager
    def remote(self) -> Iterator[Remote]:
        """Give the repository, to look at it."""
        remote = open_remote(parse(self.address))
        try:
            yield remote
        finally:
            remote.close()

    def _ask(self, method: str, path: str, body: object = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, (method, path, answer.status, said[:300])


def history(remote: Remote) -> list[Commit]:
    """Return the commits of `main`, newest first."""
    return list(remote.history(remote.branch("main").commit))


def files_of(remote: Remote, commit: ObjectHash) -> dict[bytes, bytes]:
    """Return the files of a commit by path, every byte of them."""
    return {
        path: remote.read(row.id, 0, row.size, BlobPlace(commit, path, row.size))
        for path, row in rows_below(remote, commit).items()
        if row.kind != Kind.DIRECTORY
    }


def files_in(folder: Path) -> dict[bytes, bytes]:
    """Return the files below a folder by path, every byte of them."""
    return {
        os.fsencode(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
