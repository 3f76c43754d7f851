"""Importing what cannot be stored, cannot be read, changes meanwhile, or is very much."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from folders import fill, head_tree, take
from repositories import AUTHOR

from oxenfs.errors import (
    NothingToPublish,
    SourceChanged,
    Unsupported,
)
from oxenfs.names import quoted
from oxenfs.remote.local.repository import LocalRemote, create


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = create(tmp_path / "repository", AUTHOR, vnode_size=8)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def unsupported_things(folder: Path) -> list[bytes]:
    """Put things into `folder` that Oxen cannot store; return their paths."""
    (folder / "d").mkdir(exist_ok=True)
    (folder / "link").symlink_to("plain")
    (folder / "d" / "dangling").symlink_to("/nowhere")
    (folder / "d" / "to-folder").symlink_to(folder)
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        at = Path.cwd()
        os.chdir(folder)
        listening.bind("socket")
        os.chdir(at)
    (folder / "d" / ".OXEN").mkdir()
    (folder / "d" / ".OXEN" / "inside").write_bytes(b"1")
    (folder / os.fsdecode(b"bad\xff")).mkdir()
    (folder / os.fsdecode(b"d/bad\xfe")).write_bytes(b"1")
    return [
        b"link",
        b"d/dangling",
        b"d/to-folder",
        b"fifo",
        b"socket",
        b"d/.OXEN",
        b"bad\xff",
        b"d/bad\xfe",
    ]


def test_what_cannot_be_stored_is_refused_all_at_once(remote: LocalRemote, source: Path) -> None:
    fill(source, {b"plain": b"1"})
    paths = unsupported_things(source)
    before = remote.branches()
    with pytest.raises(Unsupported, match="--skip-unsupported") as caught:
        take(remote, source)
    for path in paths:
        assert quoted(path) in str(caught.value)
    assert "inside" not in str(caught.value)
    assert remote.branches() == before
    assert list(remote.layout.packs.iterdir()) == []


def test_of_very_many_only_the_first_are_named(remote: LocalRemote, source: Path) -> None:
    for number in range(25):
        (source / f"link{number}").symlink_to("x")
    with pytest.raises(Unsupported, match="and 15 more"):
        take(remote, source)


def test_what_cannot_be_stored_can_be_left_out(remote: LocalRemote, source: Path) -> None:
    fill(source, {b"plain": b"1", b"d/plain": b"2"})
    unsupported_things(source)
    (source / "only").mkdir()
    (source / "only" / "link").symlink_to("x")
    take(remote, source, skip_unsupported=True)
    assert head_tree(remote) == {b"plain": b"1", b"d": None, b"d/plain": b"2", b"only": None}
    with pytest.raises(NothingToPublish):
        take(remote, source, skip_unsupported=True, delete=True)


def test_what_is_left_out_is_not_removed_without_delete(remote: LocalRemote, source: Path) -> None:
    fill(source, {b"a": b"1", b"b": b"2"})
    take(remote, source)
    (source / "a").unlink()
    (source / "a").symlink_to("b")
    with pytest.raises(NothingToPublish):
        take(remote, source, skip_unsupported=True)
    take(remote, source, skip_unsupported=True, delete=True)
    assert head_tree(remote) == {b"b": b"2"}


def test_folders_nested_too_deeply_are_refused_by_name(remote: LocalRemote, source: Path) -> None:
    at = os.open(source, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    with pytest.raises(Unsupported, match="a folder below 300 others"):
        take(remote, source)
    take(remote, source, skip_unsupported=True)
    assert max(path.count(b"/") for path in head_tree(remote)) == 299
    subprocess.run(["rm", "-r", source / "d"], check=True)


@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("harm", ["grow", "shrink", "rewrite", "vanish", "link", "fifo", "folder"])
def test_a_file_that_changes_while_it_is_imported_is_told(
    remote: LocalRemote, source: Path, harm: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, {b"a": b"1", b"file": bytes(size)})
    victim = source / "file"
    before = remote.branches()
    hurt: list[str] = []
    really_open, really_read = os.open, os.read

    def do_harm() -> None:
        hurt.append(harm)
        if harm == "grow":
            with victim.open("ab") as file:
                file.write(b"x")
        elif harm == "shrink":
            os.truncate(victim, size - 1)
        elif harm == "rewrite":
            with victim.open("r+b") as file:
                file.write(b"x")
            os.utime(victim, ns=(0, 0))
        else:
            victim.unlink()
            if harm == "link":
                victim.symlink_to("a")
            elif harm == "fifo":
                os.mkfifo(victim)
            elif harm == "folder":
                victim.mkdir()

    def opening(path: Any, *args: Any, **kwargs: Any) -> int:
        # Between listing and opening.
        at_file = os.fspath(path) in ("file", b"file")
        if at_file and not hurt and harm in ("vanish", "link", "fifo", "folder"):
            do_harm()
        return really_open(path, *args, **kwargs)

    def reading(fd: int, count: int) -> bytes:
        data = really_read(fd, count)
        if not hurt and len(data) > 1 and harm in ("grow", "shrink", "rewrite"):
            do_harm()
        return data

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "read", reading)
    with pytest.raises(SourceChanged, match=r"'file'.*nothing was committed"):
        take(remote, source)
    assert hurt == [harm]
    assert remote.branches() == before


# Imports argv[2] into a new repository argv[1] as an ordinary user; prints how that fails.
STRANGER = """
import os, sys
from pathlib import Path
from oxenfs.errors import OxenfsError
from oxenfs.importing import import_tree
from oxenfs.model import Author
from oxenfs.names import quoted
from oxenfs.remote.local.repository import create

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
remote = create(Path(sys.argv[1]), Author("a", "e"))
try:
    import_tree(remote, Path(sys.argv[2]), "main", message="m", author=Author("a", "e"))
except OxenfsError as exc:
    print(type(exc).__name__, exc)
"""


@pytest.mark.parametrize("closed", ["d/secret", "d", "."])
def test_what_may_not_be_read_is_named(closed: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        source = Path(folder) / "source"
        fill(source, {b"a": b"1", b"d/secret": b"2"})
        (source / closed).chmod(0)
        command = [sys.executable, "-c", STRANGER, f"{folder}/repository", str(source)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("AccessDenied no permission to read"), ended.stdout
        assert repr(closed if closed != "." else str(source)) in ended.stdout
        (source / closed).chmod(0o755)


# Imports argv[2] into a new repository argv[1]; prints how much memory it had for itself, in KiB,
# when the first thousand files were in, and at the most.
MEASURED = """
import sys
from pathlib import Path
from oxenfs.importing import import_tree
from oxenfs.model import Author
from oxenfs.remote.local.repository import create

seen = {}

def anonymous(files, done):
    if files % 1000 == 0:
        status = Path("/proc/self/status").read_text()
        seen[files] = int(status.split("RssAnon:")[1].split()[0])

author = Author("a", "e")
remote = create(Path(sys.argv[1]), author)
import_tree(remote, Path(sys.argv[2]), "main", message="m", author=author, progress=anonymous)
print(seen[1000], max(seen.values()), max(seen))
"""


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    source = tmp_path / "many"
    for folder in range(16):
        (source / f"{folder:03}").mkdir(parents=True)
        for number in range(500):
            (source / f"{folder:03}" / f"{number:03}").write_bytes(b"%d %d" % (folder, number))
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "r"), str(source)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    first, most, files = map(int, ended.stdout.split())
    assert files == 8_000
    assert most - first < 15_000
