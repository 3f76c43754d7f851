"""The registry of mounts, and the kernel's table that it is compared with."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oxenfs import places
from oxenfs.errors import MountError
from oxenfs.mount import mountinfo, registry

from .conftest import ROOT, until

_TABLE = rb"""21 1 254:0 / / rw,relatime - ext4 /dev/root rw
22 21 0:21 / /proc rw - proc proc rw
30 21 0:50 / /mnt/with\040space ro,nosuid shared:1 master:2 - fuse.oxenfs /d\054a@main ro,user_id=7
31 30 0:51 / /mnt/with\040space ro - fuse.oxenfs b@main ro,user_id=0,group_id=0
32 21 0:52 / /mnt/tab\011new\012back\134\303\244\377 ro - fuse.oxenfs c ro
not a line
"""

_HOLD = """
import sys
from pathlib import Path
from oxenfs.mount import registry
with registry.claim(Path(sys.argv[1])) as claim:
    if sys.argv[2:]:
        claim.describe((0, 1), repo="/data/x", revision="dev", branch="dev", commit="abc123",
                       log="/log", started=1.5)
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that has claimed a mount point."""

    def __init__(self, path: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(path), *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"
        self.pid = self._process.pid

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that stands for the kernel's table; empty at first."""
    path = tmp_path / "mountinfo"
    path.touch()
    monkeypatch.setattr(mountinfo, "_TABLE", path)
    return path


def _line(path: Path, device: str = "0:1", user: int | None = None) -> str:
    user = os.getuid() if user is None else user
    return f"40 21 {device} / {path} ro - fuse.oxenfs /data/y@main ro,user_id={user}\n"


def test_mountinfo_is_parsed_with_its_escapes() -> None:
    table = mountinfo.read(_TABLE)
    assert [m.id for m in table] == [21, 22, 30, 31, 32]
    assert table[2].path == Path("/mnt/with space")
    assert table[2].source == "/d,a@main"
    assert (table[2].user, table[3].user, table[0].user) == (7, 0, None)
    assert os.fsencode(table[4].path) == b"/mnt/tab\tnew\nback\\\xc3\xa4\xff"
    assert [m.ours for m in table] == [False, False, True, True, True]
    assert [m.device for m in mountinfo.layers(Path("/mnt/with space"), table)] == [
        (0, 50),
        (0, 51),
    ]


def test_the_kernels_own_table_is_understood() -> None:
    assert any(m.path == Path("/proc") and m.type == "proc" for m in mountinfo.read())


def test_real_path_resolves_as_the_kernel_does(tmp_path: Path) -> None:
    real = tmp_path / "real" / "deep"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    for typed in ("link", "absolute", "link/../deep/.", "real//deep/", "missing/../link"):
        assert mountinfo.real_path(tmp_path / typed) == tmp_path.resolve() / "real" / "deep"
    assert mountinfo.real_path(tmp_path / "link" / "new") == tmp_path.resolve() / "real/deep/new"
    assert mountinfo.real_path("/") == Path("/")


def test_real_path_ends_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(MountError, match="circle"):
        mountinfo.real_path(tmp_path / "a")


def test_real_path_looks_at_nothing_inside_a_mount_of_ours(table: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mnt"
    mount.mkdir()
    (mount / "link").symlink_to("/elsewhere")
    table.write_text(_line(mount))
    assert mountinfo.real_path(mount / "link" / "x") == mount / "link" / "x"


def test_a_claim_is_listed_once_it_is_described_and_gone_at_its_end(
    table: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mnt"
    with registry.claim(path) as claim:
        assert registry.entries() == []
        assert stat.S_IMODE(claim.folder.stat().st_mode) == 0o700
        table.write_text(_line(path))
        claim.describe((0, 1), repo="/data/x", revision=None, branch="main", commit="ab")
        (entry,) = registry.entries()
        assert (entry.dir, entry.repo, entry.revision, entry.branch) == (
            path,
            "/data/x",
            None,
            "main",
        )
        assert (entry.pid, entry.alive, entry.mounted) == (os.getpid(), True, True)
        assert (entry.overlay, entry.changes, entry.base) == (None, None, None)
        table.write_text("")
        (entry,) = registry.entries()
        assert (entry.alive, entry.mounted) == (True, False)
    assert registry.entries() == []
    assert not claim.folder.exists()


def test_a_claimed_mount_point_is_refused_with_who_has_it(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "mnt"
    table.write_text(_line(path))
    with Holder(path, "described") as holder:
        with (
            pytest.raises(MountError, match=rf"already shows /data/x@dev \(process {holder.pid}\)"),
            registry.claim(path),
        ):
            pass
        assert registry.is_alive(path)
    assert not registry.is_alive(path)


def test_a_mount_point_that_is_just_being_mounted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    with (
        Holder(path) as holder,
        pytest.raises(MountError, match=f"process {holder.pid} is just mounting"),
        registry.claim(path),
    ):
        pass


def test_a_dead_daemon_with_nothing_mounted_is_cleaned_up(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "mnt"
    with Holder(path, "described") as holder:
        table.write_text(_line(path))
        assert [(e.pid, e.alive, e.mounted) for e in registry.entries()] == [
            (holder.pid, True, True)
        ]
        holder.kill()
        (entry,) = registry.entries()
        assert (entry.pid, entry.alive, entry.mounted) == (None, False, True)
        assert (entry.commit, entry.log, entry.started) == ("abc123", Path("/log"), 1.5)
        table.write_text("")
        assert registry.entries() == []
        assert entry.folder is not None
        assert not entry.folder.exists()


def test_a_dead_mount_keeps_its_entry_at_the_end_of_the_claim(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "mnt"
    table.write_text(_line(path))
    with registry.claim(path) as claim:
        claim.describe((0, 1), repo="/data/x", revision=None, branch="main", commit="ab")
    assert [(e.dir, e.alive) for e in registry.entries()] == [(path, False)]


def test_find_compares_paths_by_component_and_takes_the_innermost(
    tmp_path: Path, table: Path
) -> None:
    outer, inner = tmp_path / "a", tmp_path / "a" / "b" / "c"
    table.write_text(_line(outer, "0:7") + _line(inner, "0:8"))
    found = {name: registry.find(tmp_path / name) for name in ("a", "a/b", "a/b/c/d", "ab", "")}
    dirs = {name: entry.dir if entry else None for name, entry in found.items()}
    assert dirs == {"a": outer, "a/b": outer, "a/b/c/d": inner, "ab": None, "": None}


def test_mounts_that_only_the_kernel_knows_are_listed_but_not_those_of_others(
    tmp_path: Path, table: Path
) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    table.write_text(_line(mine) + _line(others, "0:9", user=os.getuid() + 1))
    (entry,) = registry.entries()
    assert (entry.dir, entry.repo, entry.revision) == (mine, "/data/y", "main")
    assert (entry.pid, entry.alive, entry.mounted, entry.folder) == (None, False, True, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}'])
def test_a_damaged_entry_is_no_obstacle(tmp_path: Path, table: Path, text: str) -> None:
    path = tmp_path / "mnt"
    folder = places.runtime_dir() / "mounts" / registry.mount_id(path)
    folder.mkdir(parents=True)
    (folder / "info.json").write_text(text)
    assert registry.entries() == []
    assert not folder.exists()
    with registry.claim(path):
        pass


def test_a_path_that_is_not_utf_8_keeps_its_bytes(tmp_path: Path, table: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    table.write_bytes(os.fsencode(_line(path)))
    with registry.claim(path) as claim:
        claim.describe((0, 1), repo="/data/x", revision=None, branch=None, commit="ab")
        (entry,) = registry.entries()
        assert os.fsencode(entry.dir) == os.fsencode(path)
        json.dumps(str(entry.dir)).encode()


def test_looking_never_keeps_a_daemon_from_its_mount_point(tmp_path: Path, table: Path) -> None:
    # Lists take the lock of a dead entry for a moment, to clean it up.
    path = tmp_path / "mnt"
    stop = threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not stop.is_set():
                registry.entries()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with registry.claim(path) as claim:
                claim.describe((0, 1), repo="/data/x", revision=None, branch=None, commit="ab")
                assert claim.folder.is_dir()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    until(lambda: registry.entries() == [], "cleaned up")
