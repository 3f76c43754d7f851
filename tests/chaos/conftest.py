"""A repository on our server, the chaos proxy in front of it, and a mount of that."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from remote.http import serving
from semantics.mounted import Mounted

from .faults import Between, chaos
from .files import Files, make


@cache
def options_of_mount() -> str:
    """Return what `oxenfs mount --help` prints."""
    return subprocess.run(
        [sys.executable, "-m", "oxenfs_cli", "mount", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class Served:
    """A server, its files, and the proxy in front of it.

    Attributes:
        address: through the proxy.
    """

    def __init__(self, folder: Path, files: Files, seed: object) -> None:
        self.files = files
        self.port = serving.free_port()
        self._folder = folder
        self._server = contextlib.ExitStack()
        self.start()
        self._chaos = contextlib.ExitStack()
        self.between: Between = self._chaos.enter_context(
            chaos(f"127.0.0.1:{self.port}", seed=seed)
        )
        self.address = f"http://{self.between.host}/ns/files@main"

    def start(self) -> None:
        self._server.enter_context(serving.ours(self._folder, self.port))

    def kill(self) -> None:
        self._server.close()

    def stop(self) -> None:
        self._chaos.close()
        self._server.close()


@pytest.fixture(scope="package")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Files]:
    """A folder of one repository, `ns/files`, and what is in it."""
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("served")
    return folder, make(folder / "ns" / "files")


@pytest.fixture
def served(repositories: tuple[Path, Files], request: pytest.FixtureRequest) -> Iterator[Served]:
    folder, files = repositories
    served = Served(folder, files, request.node.name)
    try:
        yield served
    finally:
        served.stop()


@contextlib.contextmanager
def mounted(
    folder: Path,
    address: str,
    *,
    timeout_s: float,
    cache_mb: int | None = None,
    words: tuple[str, ...] = (),
) -> Iterator[Mounted]:
    """Mount with a deadline, and a limit to the cache where there is one."""
    options = ["--timeout", f"{timeout_s:g}s", *words]
    if cache_mb is not None and "--cache-size" in options_of_mount():
        options += ["--cache-size", f"{cache_mb}M"]
    command = ("-m", "oxenfs_cli", "mount", "--foreground", *options)
    mount = Mounted(folder, address, command=command)
    mount.errors_expected = True
    try:
        mount.start()
        yield mount
        mount.stop()
    finally:
        mount.kill()


def drop_pages(fd: int) -> None:
    """Make the kernel ask the daemon again for what it has of an open file."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
