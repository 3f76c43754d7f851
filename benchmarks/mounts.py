"""Starts and stops what is measured: `oxenfs` mounts and yardsticks.

Every mount is a context manager that leaves neither a mount nor a process behind, whatever ends
the block. The user's own configuration, cache and state are not touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import progress
from machine import descendants
from unmounting import STOP_S, end, mounted_below, uninterrupted, unmount

if TYPE_CHECKING:
    from trees import Tree
    from work import Work

BENCHMARKS = Path(__file__).resolve().parent
CHECKOUT = BENCHMARKS.parent


@dataclass
class Mount:
    """A mounted file system: its folder, and how to find the process that answers.

    Asking `oxenfs` for the process takes as long as a mount, so nobody pays who does not need it.
    """

    folder: Path
    find_daemon: Callable[[], int | None]

    @cached_property
    def pid(self) -> int:
        """Return the process id of the daemon."""
        pid = self.find_daemon()
        if pid is None:
            sys.exit(f"oxenfs mounts does not know {self.folder}")
        return pid


def environment(work: Work) -> dict[str, str]:
    """Return an environment in which `oxenfs` of this checkout runs with a configuration of ours.

    XDG folders and the client's configuration point into the folder of this run. Compiled modules
    are kept, as an installation has them: compiling at each start would be most of a mount's time.
    """
    config = work.run / "config"
    if not config.exists():
        config.mkdir()
        (config / "user_config.toml").write_text('name = "Bench"\nemail = "bench@example.org"\n')
        (work.run / "runtime").mkdir(mode=0o700)
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    path = [str(CHECKOUT), str(CHECKOUT / "cli"), os.environ.get("PYTHONPATH", "")]
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "OXEN_CONFIG_DIR": str(config),
        "XDG_RUNTIME_DIR": str(work.run / "runtime"),
        "XDG_CACHE_HOME": str(work.run / "cache"),
        "XDG_DATA_HOME": str(work.run / "data"),
        "XDG_STATE_HOME": str(work.run / "state"),
        "XDG_CONFIG_HOME": str(work.run / "config"),
    }


def command(*args: str | Path) -> list[str]:
    """Return the command line of an `oxenfs` call."""
    return [sys.executable, "-m", "oxenfs_cli", *map(str, args)]


def _call(
    work: Work, *args: str | Path, program: Path | None = None
) -> subprocess.CompletedProcess[str]:
    words = command(*args)
    if program is not None:
        words[1:3] = [str(program)]
    return subprocess.run(
        words,
        env=environment(work),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C is ours: what is started is ended in order
    )


def oxenfs(work: Work, *args: str | Path, program: Path | None = None) -> str:
    """Run `oxenfs` to its end and return what it printed; its stderr is shown if it fails.

    Args:
        work: the folders of the run.
        args: of the command line.
        program: a script to run in its place.
    """
    done = _call(work, *args, program=program)
    if done.returncode:
        sys.exit(f"oxenfs {' '.join(map(str, args))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def repository(work: Work, tree: Tree) -> str:
    """Return the address of a repository whose branch `main` holds the tree; kept between runs."""
    source = tree.at(work.kept)
    folder = work.kept / "repositories" / tree.key
    complete = folder.with_name(f"{tree.key}.complete")
    if work.fresh or not complete.exists():
        complete.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        progress(f"importing {tree.file_count:,} files of {tree.size:,} bytes")
        oxenfs(work, "init", folder)
        oxenfs(work, "import", source, f"{folder}@main", "-m", "benchmark")
        complete.touch()
    return f"{folder}@main"


def repository_folder(address: str) -> Path:
    """Return the folder of a local repository's address."""
    return Path(address.rpartition("@")[0])


@contextmanager
def mounted(
    work: Work,
    address: str,
    cache: Path | None = None,
    options: Sequence[str] = (),
    program: Path | None = None,
) -> Iterator[Mount]:
    """Mount with `oxenfs`, or `program`; without `cache`, its cache folder is new and empty."""
    folder = work.new_folder("mount")
    cache = cache or work.new_folder("cache")
    mount = Mount(folder, lambda: daemon_of(work, folder))
    try:
        with uninterrupted():
            words = ("mount", address, folder, "--cache-dir", cache, *options)
            oxenfs(work, *words, program=program)
        yield mount
    finally:
        with uninterrupted():
            family = _family(mount)
            _call(work, "umount", folder)
            end(folder, family)


def _family(mount: Mount) -> list[int]:
    """Return the processes behind a mount, for its end; none if it is dead or was never there."""
    pid = None
    if mounted_below(mount.folder):
        with suppress(SystemExit):
            pid = mount.find_daemon()
    return descendants(pid) if pid else []


def daemon_of(work: Work, folder: Path) -> int | None:
    """Return the process id of the daemon behind a mount; None if there is none, or it is dead."""
    found: list[dict[str, Any]] = json.loads(oxenfs(work, "mounts", "--json"))
    pids: list[int | None] = [mount["pid"] for mount in found if mount["dir"] == str(folder)]
    return pids[0] if pids else None


@contextmanager
def yardstick(
    work: Work, script: str, *args: str | Path, backing: Path | None = None
) -> Iterator[Mount]:
    """Mount a yardstick, given by its path below `benchmarks`, and wait until it answers."""
    folder = work.new_folder("yardstick")
    before = [str(backing)] if backing else []
    process = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / script), *before, str(folder), *map(str, args)],
        env=environment(work),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit(f"{script} did not mount")
        yield Mount(folder, lambda: process.pid)
    finally:
        with uninterrupted():
            if not unmount(folder):
                process.terminate()  # interrupted before it had mounted
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            end(folder, [process.pid])
            process.wait()
