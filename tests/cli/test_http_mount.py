"""A real mount of a repository on a server, and what its user sees when the server goes away."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from remote.http import serving
from repositories import noise

pytestmark = pytest.mark.fuse

TIMEOUT_S = 5
NAMES = ["a.txt", "we ird%41#?&+é.txt", "d%x/x,y/z", "ünï/ß/e\u0301", "q'\"uote", "back\\slash"]


class Place:
    """A folder `files`, its import on a server, and a mount of that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"
        self.mount = path / "mnt"
        self.port = serving.free_port()
        self._stack = ExitStack()

    def start_server(self) -> serving.Server:
        return self._stack.enter_context(serving.ours(self.path / "served", self.port))

    def stop_server(self) -> None:
        self._stack.close()

    def oxenfs(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "oxenfs_cli", *words],
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    place = Place(tmp_path)
    for name in NAMES:
        path = place.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(1000, name))
    (place.files / "large.bin").write_bytes(noise((5 << 20) + 7, "large"))
    (place.files / "never-read.bin").write_bytes(noise(3 << 20, "never"))
    (place.files / "zero").touch()
    place.mount.mkdir()
    remote = place.start_server().remote()
    remote.close()
    place.oxenfs("import", "files", remote.address, "-m", "first ünï")
    place.oxenfs("mount", "--timeout", f"{TIMEOUT_S}s", remote.address, "mnt")
    try:
        yield place
    finally:
        place.oxenfs("umount", "mnt")
        place.stop_server()


def test_a_mount_over_http_from_import_to_a_lost_server_and_back(place: Place) -> None:
    files, mount = place.files, place.mount

    # Equal, with `.oxenfs` beside what was imported.
    (files / "never-read.bin").rename(place.path / "never-read.bin")
    command = ["diff", "-r", "-x", ".oxenfs", "-x", "never-read.bin", str(files), str(mount)]
    compared = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (compared.returncode, compared.stdout) == (0, "")

    # Who, when, why.
    (commit, *_) = json.loads(place.oxenfs("log", "mnt", "--json"))
    assert commit["message"] == "first ünï"
    path = mount / "d%x" / "x,y" / "z"
    assert os.getxattr(path, "user.oxen.commit").decode() == commit["id"]
    assert os.getxattr(path, "user.oxen.message").decode() == "first ünï"
    author = f"{commit['author']} <{commit['email']}>"
    assert os.getxattr(path, "user.oxen.author").decode() == author
    assert place.oxenfs("show", "main:", "-C", "mnt").split("\n")[0] == "a.txt"
    (branch,) = json.loads(place.oxenfs("branch", "mnt", "--json"))
    assert (branch["name"], branch["current"]) == ("main", True)

    # The server is lost: listings stay, what was not read yet fails in time, and says why.
    listed = sorted(mount.iterdir())
    place.stop_server()
    started = time.monotonic()
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        (mount / "never-read.bin").read_bytes()
    assert time.monotonic() - started < TIMEOUT_S + 2
    assert sorted(mount.iterdir()) == listed
    # Those of whoever runs the tests are listed, too.
    rows = json.loads(place.oxenfs("mounts", "--json"))
    (row,) = (each for each in rows if each["dir"] == str(mount.resolve()))
    said = _log_of(row["pid"]).read_text()
    assert f"127.0.0.1:{place.port} refused the connection" in said
    assert "Traceback" not in said

    # It is back: the same mount reads on.
    place.start_server()
    wanted = (place.path / "never-read.bin").read_bytes()
    assert (mount / "never-read.bin").read_bytes() == wanted


def _log_of(pid: int) -> Path:
    """Return the file that the mount's process logs to."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        target = each.readlink()
        if target.suffix == ".log":
            return target
    pytest.fail("the mount has no log")
