"""Readers who wait for a dead link, and those who have nothing to do with it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from semantics.mounted import Mounted, until

from .conftest import Served, drop_pages, mounted
from .faults import BLOBS, Fault

pytestmark = pytest.mark.fuse

TIMEOUT_S = 4.0
READERS = 200


class Waiting:
    """Many readers, each of a file of its own.

    Attributes:
        took_s: how long each read was under way, of those that are over.
        errors: what they ended with; 0 for bytes.
    """

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.took_s: list[float] = []
        self.errors: list[int] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._read, args=(root / path,)) for path in paths]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _read(self, path: Path) -> None:
        started = time.monotonic()
        error = 0
        try:
            path.read_bytes()
        except OSError as exc:
            error = exc.errno or -1
        with self._lock:
            self.took_s.append(time.monotonic() - started)
            self.errors.append(error)


@contextmanager
def stuck(served: Served, mount: Mounted) -> Iterator[Waiting]:
    """Let 200 readers wait for a server that takes everything and says nothing."""
    paths = sorted(path for path in served.files if path.startswith("small/"))[-READERS:]
    served.between.play(Fault("stall", kinds=BLOBS))
    waiting = Waiting(mount.dir, paths)
    try:
        until(lambda: served.between.fired("stall"), "somebody waits for the server")
        yield waiting
    finally:
        served.between.calm()
        waiting.join()


def test_cached_reads_and_listings_go_on_beside_200_stuck_readers(
    served: Served, tmp_path: Path
) -> None:
    path = "small/00/0000.bin"
    with mounted(tmp_path, served.address, timeout_s=TIMEOUT_S) as mount:
        fd = os.open(mount.dir / path, os.O_RDONLY)
        wanted = served.files[path]
        assert os.pread(fd, len(wanted), 0) == wanted
        names = sorted((mount.dir / "small").iterdir())
        with stuck(served, mount) as waiting:
            # Until the first one is given up; after that the question is another one.
            longest_s = 0.0
            rounds = 0
            while not waiting.took_s and longest_s < TIMEOUT_S:
                started = time.monotonic()
                drop_pages(fd)
                assert os.pread(fd, len(wanted), 0) == wanted
                assert sorted((mount.dir / "small").iterdir()) == names
                os.statvfs(mount.dir)
                longest_s = max(longest_s, time.monotonic() - started)
                rounds += 1
        os.close(fd)
        assert rounds > 10
        # 50 ms for `ls` and `df` each, as promised, and as much for the read; three times that.
        assert longest_s < 3 * 0.15
        assert set(waiting.errors) <= {errno.EIO, 0}
        assert max(waiting.took_s) < 3 * TIMEOUT_S


def test_all_stuck_readers_are_freed_and_reading_goes_on(served: Served, tmp_path: Path) -> None:
    with mounted(tmp_path, served.address, timeout_s=TIMEOUT_S) as mount:
        with stuck(served, mount) as waiting:
            until(
                lambda: len(waiting.errors) == READERS,
                "the readers are freed within a second of the first missed deadline",
                3 * (TIMEOUT_S + 1),
            )
            assert set(waiting.errors) == {errno.EIO}
        path = "small/01/0001.bin"

        def reads() -> bool:
            try:
                return (mount.dir / path).read_bytes() == served.files[path]
            except OSError:
                return False

        until(reads, "reading goes on without a remount", 3 * TIMEOUT_S)
