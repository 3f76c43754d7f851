"""Servers on this machine, and the peers that read from one over the same link.

Peers: `rclone mount` with a full VFS cache, of what `rclone serve http` gives of the source tree
(both in Go, and nothing else to do than to serve files); `curl` of the same server that the mount
speaks to; the official client's `clone` and `download` of that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import progress
from mounts import command, environment, oxenfs, repository, repository_folder
from unmounting import STOP_S, uninterrupted, unmounted_after

if TYPE_CHECKING:
    from trees import Tree
    from work import Work

READY_S = 60
NAME = "bench/files"


@dataclass(frozen=True)
class Origin:
    """A server that has a tree as a repository.

    Attributes:
        host: `127.0.0.1:PORT`.
        kind: `our server` or `oxen-server`.
    """

    host: str
    kind: str

    def address(self, host: str | None = None) -> str:
        """Return the address to mount, through `host` where that is another one."""
        return f"http://{host or self.host}/{NAME}@main"


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the server: ours, or the real one where there is one."""
    real = os.environ.get("OXEN_SERVER")
    what = "serve by this oxen-server (default: $OXEN_SERVER, or else our own)"
    parser.add_argument("--real", default=real, metavar="BINARY", help=what)
    parser.add_argument(
        "--ours", dest="real", action="store_const", const=None, help="our own in any case"
    )


@contextmanager
def origin(work: Work, tree: Tree, real: str | None = None) -> Iterator[Origin]:
    """Serve a tree: by our own server, or by the `oxen-server` whose binary is given."""
    if real is None:
        with served(work, repository_folder(repository(work, tree))) as ours:
            yield ours
        return
    port = free_port()
    folder = work.kept / "oxen-server" / tree.key
    complete = folder.with_name(f"{tree.key}.complete")
    if work.fresh or not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    words = [real, "start", "-i", "127.0.0.1", "-p", str(port)]
    with _running(work, words, port, SYNC_DIR=str(folder), HOME=str(folder)):
        found = Origin(f"127.0.0.1:{port}", "oxen-server")
        if not complete.exists():
            progress(f"importing {tree.file_count:,} files into oxen-server")
            _make_repository(found.host)
            oxenfs(work, "import", tree.at(work.kept), found.address(), "-m", "benchmark")
            complete.touch()
        yield found


@contextmanager
def served(work: Work, source: Path) -> Iterator[Origin]:
    """Serve a local repository by our own server, from where it is; nothing of it is written."""
    port = free_port()
    folder = work.new_folder("served")
    (folder / "bench").mkdir()
    (folder / NAME).symlink_to(source, target_is_directory=True)
    with _running(work, command("serve", folder, "--port", str(port)), port):
        yield Origin(f"127.0.0.1:{port}", "our server")


@contextmanager
def plain_server(work: Work, folder: Path) -> Iterator[str]:
    """Serve a folder's files over http, as rclone's `http` remote wants them; gives its host."""
    port = free_port()
    words = ["rclone", "serve", "http", str(folder), "--addr", f"127.0.0.1:{port}", "-q"]
    words += ["--vfs-cache-mode", "off", "--dir-cache-time", "24h"]
    with _running(work, words, port):
        yield f"127.0.0.1:{port}"


@contextmanager
def rclone_mount(work: Work, host: str, cache: Path | None = None) -> Iterator[Path]:
    """Mount what `plain_server` serves, through `host`, with a full cache on disk."""
    folder = work.new_folder("rclone")
    words = ["rclone", "mount", ":http:", str(folder), "--http-url", f"http://{host}"]
    words += ["--vfs-cache-mode", "full", "--read-only", "--dir-cache-time", "24h", "-q"]
    words += ["--attr-timeout", "1h", "--poll-interval", "0"]
    words += ["--cache-dir", str(cache or work.new_folder("cache")), "--vfs-cache-max-age", "24h"]
    process = subprocess.Popen(words, env=environment(work), start_new_session=True)
    with unmounted_after(folder, process):
        _until(lambda: os.path.ismount(folder), process, "rclone mount")
        yield folder


def curl_s(urls: Sequence[str]) -> list[float]:
    """Return the seconds that each of some requests takes, on one kept connection."""
    config = "".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in urls)
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-w", "%{time_total}\\n", "-K", "-"],
        input=config,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def chunk_url(host: str, path: str, start: int, size: int) -> str:
    """Return the URL of a range of a file."""
    where = f"http://{host}/api/repos/{NAME}/chunk/main/{path}"
    return f"{where}?chunk_start={start}&chunk_size={size}"


def official(work: Work, program: str, *args: str | Path) -> float:
    """Run a line of Python with the official client and `sys.argv`; return its seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", f"import sys, oxen; {program}", *map(str, args)],
        env={**environment(work), "HOME": str(work.run)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def clone_s(work: Work, host: str) -> float:
    """Return the seconds of an official clone, start of the program included."""
    target = work.new_folder("clone") / "files"
    program = "oxen.clone(sys.argv[1], path=sys.argv[2])"
    try:
        return official(work, program, f"http://{host}/{NAME}", target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def download_s(work: Work, host: str, path: str) -> float:
    """Return the seconds of an official download of one file, start of the program included."""
    target = work.new_folder("download") / "file"
    repo = "oxen.RemoteRepo(sys.argv[1], host=sys.argv[2], scheme='http')"
    try:
        return official(work, f"{repo}.download(*sys.argv[3:])", NAME, host, path, target)
    finally:
        target.unlink(missing_ok=True)


def missing_peers(*names: str) -> list[str]:
    """Return which of these programs are not here, and say so."""
    missing = [name for name in names if shutil.which(name) is None]
    for name in missing:
        progress(f"no {name} here: its rows are left out")
    return missing


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _make_repository(host: str) -> None:
    name = NAME.partition("/")
    base = f"http://{host}/api/repos"
    json = ["curl", "-sS", "--fail", "-o", "/dev/null", "-H", "Content-Type: application/json"]
    made = f'{{"namespace": "{name[0]}", "name": "{name[2]}"}}'
    subprocess.run([*json, "-d", made, base], check=True)
    # The first workspace of an empty repository makes the branch and its first commit.
    first = '{"workspace_id": "first", "branch_name": "main"}'
    where = f"{base}/{NAME}/workspaces"
    subprocess.run([*json, "-X", "PUT", "-d", first, where], check=True)
    subprocess.run([*json, "-X", "DELETE", f"{where}/first"], check=True)


@contextmanager
def _running(work: Work, words: Sequence[str], port: int, **more: str) -> Iterator[None]:
    process = subprocess.Popen(
        words,
        env={**environment(work), **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until(lambda: _listens(port), process, words[0])
        yield
    finally:
        with uninterrupted():
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{what} did not start")
        time.sleep(0.02)
