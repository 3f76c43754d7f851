"""Very many open files, of a daemon that may open few."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Served, mounted

pytestmark = pytest.mark.fuse

OPEN = 10_000
MAY_OPEN = 1024


@pytest.fixture
def many() -> Iterator[None]:
    """Let this process, which is the reader, open as many as it takes."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < OPEN + 500:
        pytest.skip(f"not more than {limits[1]} files may be opened here (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN + 500, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("many")
def test_ten_thousand_files_are_open_and_read(served: Served, tmp_path: Path) -> None:
    draw = random.Random(5)
    paths = sorted(path for path in served.files if path.startswith("small/"))
    with mounted(tmp_path, served.address, timeout_s=30) as mount:
        limit = f"--nofile={MAY_OPEN}:{MAY_OPEN}"
        subprocess.run(["prlimit", f"--pid={mount.pid}", limit], check=True)
        opened = []
        try:
            for number in range(OPEN):
                path = paths[number % len(paths)]
                opened.append((path, os.open(mount.dir / path, os.O_RDONLY)))
            for path, fd in draw.sample(opened, 2000):
                assert os.pread(fd, 5000, 0) == served.files[path][:5000]
        finally:
            for _, fd in opened:
                os.close(fd)
        assert len(list(Path(f"/proc/{mount.pid}/fd").iterdir())) < MAY_OPEN
        assert (mount.dir / "large/0.bin").read_bytes() == served.files["large/0.bin"]
