"""Mounts with overlays for the tests of this folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repositories import make_repository, noise
from semantics.mounted import abort_all

from .mounting import OverlayMount

# The long runs take as long as they take.
LONG = {"OXENFS_NIGHTLY", "OXENFS_TEST_FSX", "OXENFS_TEST_KILLS", "OXENFS_TEST_ROUNDS"}
HANG_S = 7200.0 if LONG & os.environ.keys() else 240.0
FILES = {
    b"top.txt": b"top\n",
    b"d/one.txt": b"one\n",
    b"d/two.txt": b"two\n",
    b"d/e/deep.txt": b"deep\n",
    b"big.bin": noise(700_000, "big"),
}


@pytest.fixture
def nothing_hangs() -> Iterator[None]:
    """A test that waits for a dead mount would wait for ever, and in a system call."""
    timer = threading.Timer(HANG_S, abort_all)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A local repository with `FILES` on `main`."""
    make_repository(tmp_path / "repository", FILES).close()
    return tmp_path / "repository"


@pytest.fixture
def mounting(
    tmp_path_factory: pytest.TempPathFactory, nothing_hangs: None
) -> Iterator[Callable[..., OverlayMount]]:
    """Mounts what a test names, with options, each in a folder and with a home of its own."""
    made: list[OverlayMount] = []

    def start(address: str, *options: str) -> OverlayMount:
        mount = OverlayMount(tmp_path_factory.mktemp("mount").resolve(), address)
        mount._arguments += options
        made.append(mount)
        mount.start()
        return mount

    yield start
    for mount in made:
        mount.kill()


@pytest.fixture
def mount(repository: Path, mounting: Callable[[str], OverlayMount]) -> Iterator[OverlayMount]:
    """A mount of `main` with an overlay; its log must be without errors at the end."""
    made = mounting(f"{repository}@main")
    yield made
    made.stop()
