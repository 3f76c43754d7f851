"""A mount whose commits stop once they are published: for what is done before the mount moves."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .mounting import OverlayMount

PUBLISHING = """
import os, sys, time
from pathlib import Path
sys.argv = ["oxenfs", *sys.argv[2:]]
import oxenfs.mount.committing as c
plain = c.publish
def publish(*a):
    found = plain(*a)
    mark = Path(os.environ["PUBLISHED"])
    mark.touch()
    while mark.exists():
        time.sleep(0.01)
    return found
c.publish = publish
from oxenfs_cli.main import main
main()
"""


def publishing_slowly(
    mounting: Callable[[str], OverlayMount], repository: Path, tmp_path: Path
) -> tuple[OverlayMount, Path]:
    """Return a mount that waits after each publish until the mark that it then makes is gone."""
    mount = mounting(f"{repository}@main")
    mount.stop()
    mark = tmp_path / "published"
    mount.environment["PUBLISHED"] = str(mark)
    mount._arguments = ["-c", PUBLISHING, "x", *mount._arguments[2:]]
    mount.start()
    return mount, mark


def begin_commit(mount: OverlayMount, mark: Path) -> subprocess.Popen[str]:
    """Return a commit that is published, and that the mount has not moved to yet."""
    process = mount.popen("-m", "oxenfs_cli", "commit", str(mount.dir), "-m", "m")
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


@contextlib.contextmanager
def committing(mount: OverlayMount, mark: Path) -> Iterator[None]:
    """Commit; what is within happens between the publishing and the move of the mount."""
    process = begin_commit(mount, mark)
    yield
    mark.unlink()
    said, _ = process.communicate()
    assert process.returncode == 0, said
