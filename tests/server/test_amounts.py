"""Amounts that a laptop's memory would feel: many files, one large file, both ways over HTTP.

Small enough for every run; `--full-size` takes 200,000 files and 5 GB.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Running, running

from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import open_repository
from oxenfs.remote.payloads import DirectoryPayload
from oxenfs.remote.wire import decode_node

from .test_running import MIB, again, rss_bytes

MEMORY_MAX = 300 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "root") as server:
        yield server


class Peak:
    """Watches the private memory of the server and of a command."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.of_server = 0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.of_server = max(self.of_server, rss_bytes(self._server))


def oxenfs(*words: str, output: int | None = None) -> int:
    """Run a command, and return the most memory that it had resident, in bytes."""
    line = [sys.executable, "-m", "oxenfs_cli", *words]
    with subprocess.Popen(
        line, stdout=output or subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        most = 0
        # Not what `wait4` tells: that has the memory of the process that started it as well.
        while process.poll() is None:
            most = max(most, peak_bytes(process.pid))
            time.sleep(0.02)
        assert process.returncode == 0, process.stderr.read()
    return most


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had resident until now; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 if "VmHWM:" in status else 0


@pytest.fixture
def url(server: Running) -> str:
    api = again(server)
    api.create()
    api.client.close()
    return f"{server.url}/ns/repo"


@pytest.fixture
def author(home: Path) -> None:
    config = home / ".config" / "oxen"
    config.mkdir()
    (config / "user_config.toml").write_text('name = "Ada"\nemail = "ada@x"\n')


@pytest.mark.usefixtures("author")
def test_many_files_are_imported_in_flat_memory(
    server: Running, url: str, tmp_path: Path, full_size: bool
) -> None:
    folders, files = (200, 1000) if full_size else (10, 400)
    source = tmp_path / "source"
    for folder in range(folders):
        (source / f"{folder:04}").mkdir(parents=True)
        for number in range(files):
            (source / f"{folder:04}" / f"{number:06}.txt").write_text(f"{folder} {number}\n")
    with Peak(server) as peak:
        started = time.monotonic()
        ours = oxenfs("import", str(source), f"{url}@main", "-m", "many")
        seconds = time.monotonic() - started
    rate = folders * files / seconds
    print(f"{folders * files} files in {seconds:.1f} s: {rate:.0f}/s", end="; ")
    print(f"client {ours / MIB:.0f} MiB, server {peak.of_server / MIB:.0f} MiB")
    assert ours < MEMORY_MAX
    assert peak.of_server < MEMORY_MAX
    repository = server.folder / "ns" / "repo"
    remote = open_repository(repository)
    root = decode_node(remote.nodes.get(remote.root(remote.branch("main").commit))).payload
    remote.close()
    assert isinstance(root, DirectoryPayload)
    assert root.counts == {"text": folders * files}
    assert list(check(repository)) == []
    # Again: nothing is sent, and nothing committed.
    before = (repository / "packs" / "00000001").stat().st_size
    with pytest.raises(AssertionError, match="has all of this already"):
        oxenfs("import", str(source), f"{url}@main", "-m", "again")
    assert (repository / "packs" / "00000001").stat().st_size == before


@pytest.mark.usefixtures("author")
def test_a_large_file_goes_to_a_server_and_back_in_flat_memory(
    server: Running, url: str, tmp_path: Path, full_size: bool
) -> None:
    size = 5_000_000_000 if full_size else 400 * MIB
    source = tmp_path / "source"
    source.mkdir()
    # Holes take no room; what is between them is found again.
    with (source / "large.bin").open("wb") as file:
        for at in range(0, size, 97 * MIB + 13):
            file.seek(at)
            file.write(b"%d" % at)
        file.truncate(size)
    with Peak(server) as peak:
        ours = oxenfs("import", str(source), f"{url}@main", "-m", "large")
    there = tmp_path / "back.bin"
    with Peak(server) as back, there.open("wb") as target:
        oxenfs("show", "main:large.bin", "--repo", url, output=target.fileno())
    print(f"client {ours / MIB:.0f} MiB, server {peak.of_server / MIB:.0f} MiB", end=" ")
    print(f"and back {back.of_server / MIB:.0f} MiB")
    assert ours < MEMORY_MAX
    assert max(peak.of_server, back.of_server) < MEMORY_MAX
    assert subprocess.run(["cmp", source / "large.bin", there], check=False).returncode == 0
