"""Mounts that tests share: read-only ones last for the whole run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import fuse_missing
from repositories import AUTHOR

from oxenfs.importing import import_tree
from oxenfs.remote.local.repository import create

from .mounted import Mounted, abort_all
from .samples import make_samples

# The long run of `test_survival.py` has deadlines of its own.
HANG_S = 3600.0 if "OXENFS_TEST_CHECKOUTS" in os.environ else 60.0


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """A test that waits for a dead mount would wait for ever, and in a system call."""
    timer = threading.Timer(HANG_S, abort_all)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(scope="session")
def space() -> Iterator[Path]:
    """A folder whose path is short and the same in the kernel's tables."""
    with tempfile.TemporaryDirectory(prefix="oxenfs-") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def source(space: Path) -> Path:
    """The originals."""
    folder = space / "source"
    make_samples(folder)
    return folder


@pytest.fixture(scope="session")
def repository(space: Path, source: Path) -> Path:
    """A repository with the originals on `main`."""
    path = space / "repository"
    remote = create(path, AUTHOR)
    import_tree(remote, source, "main", message="all the samples", author=AUTHOR)
    remote.close()
    return path


@pytest.fixture(scope="session")
def mount(space: Path, repository: Path) -> Iterator[Mounted]:
    """A mount of the originals."""
    if (reason := fuse_missing()) is not None:
        pytest.skip(reason)
    folder = space / "shared"
    folder.mkdir()
    made = Mounted(folder, f"{repository}@main")
    made.start()
    try:
        yield made
        made.stop()
    finally:
        made.kill()


@pytest.fixture
def mounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mounted]]:
    """Mounts whatever address a test gives it, and stops those that the test has not stopped."""
    with contextlib.ExitStack() as cleanup, tempfile.TemporaryDirectory(prefix="oxenfs-") as top:
        made: list[Mounted] = []

        def start(address: str, **options: object) -> Mounted:
            folder = Path(top).resolve() / str(len(made))
            folder.mkdir()
            one = Mounted(folder, address, **options)  # type: ignore[arg-type]
            cleanup.callback(one.kill)
            one.start()
            made.append(one)
            return one

        yield start
        for one in made:
            one.stop()
