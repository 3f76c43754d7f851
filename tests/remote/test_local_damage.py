"""Repositories that are damaged, missing, foreign or forbidden: a clear error, never a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import AUTHOR

from oxenfs.errors import IntegrityError, NotFound, OxenfsError, UsageError
from oxenfs.remote.local.check import check
from oxenfs.remote.local.layout import finish, make_layout, read_layout
from oxenfs.remote.local.repository import LocalRemote, create, open_repository

CONFIG = (
    'format = "oxenfs local repository 1"\n'
    'uuid = "5a1ff7b8-6d63-4a3e-9d5e-0a9f6e3a2b11"\n'
    'default_branch = "main"\nvnode_size = 10\n'
)


@pytest.fixture
def root(filled: LocalRemote) -> Path:
    """The folder of a repository that nobody has open."""
    filled.close()
    return filled.layout.root


def test_the_config_file_says_what_was_asked_for(tmp_path: Path) -> None:
    name = "odd \"näme'"
    layout = make_layout(tmp_path / "r", default_branch=name, vnode_size=3)
    finish(layout)
    assert read_layout(tmp_path / "r") == layout


@pytest.mark.parametrize(
    "config",
    [
        b"format = ",
        b"\xff\xfe",
        CONFIG.replace("uuid", "other").encode(),
        CONFIG.replace("5a1f", "5a1g").encode(),
        CONFIG.replace('"5a1ff7b8-6d63-4a3e-9d5e-0a9f6e3a2b11"', "5").encode(),
        CONFIG.replace('"main"', "1").encode(),
        CONFIG.replace("= 10", "= 0").encode(),
        CONFIG.replace("= 10", "= -1").encode(),
        CONFIG.replace("= 10", '= "10"').encode(),
        CONFIG.replace("= 10", "= true").encode(),
        CONFIG.replace("= 10", "= inf").encode(),
    ],
)
def test_a_damaged_config_file_is_told(root: Path, config: bytes) -> None:
    (root / "config.toml").write_bytes(config)
    with pytest.raises(IntegrityError, match=r"config\.toml"):
        open_repository(root)
    (line,) = check(root)
    assert "config.toml" in line


@pytest.mark.parametrize(
    "config", [b"", b"x = 1", CONFIG.replace("repository 1", "repository 2").encode()]
)
def test_another_format_is_no_repository_of_this_version(root: Path, config: bytes) -> None:
    (root / "config.toml").write_bytes(config)
    with pytest.raises(NotFound, match="this version"):
        open_repository(root)


def test_a_config_file_that_is_a_folder_is_told(root: Path) -> None:
    (root / "config.toml").unlink()
    (root / "config.toml").mkdir()
    with pytest.raises(IntegrityError):
        open_repository(root)


def test_where_there_is_no_repository_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="oxenfs init"):
        open_repository(tmp_path / "missing")
    with pytest.raises(NotFound, match="oxenfs init"):
        open_repository(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path in (file, file / "below"):
        with pytest.raises(NotFound):
            open_repository(path)


def test_a_clone_of_the_official_client_is_told_from_a_repository(tmp_path: Path) -> None:
    (tmp_path / ".oxen").mkdir()
    with pytest.raises(NotFound, match=r"official client.*oxenfs import"):
        open_repository(tmp_path)


def test_only_a_new_or_empty_folder_becomes_a_repository(tmp_path: Path) -> None:
    create(tmp_path / "deep" / "new", AUTHOR).close()
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty", AUTHOR).close()
    with pytest.raises(UsageError, match="a repository already"):
        create(tmp_path / "empty", AUTHOR)
    with pytest.raises(UsageError, match="not empty"):
        create(tmp_path, AUTHOR)
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="not a folder"):
            create(path, AUTHOR)


def test_a_repository_that_was_moved_keeps_its_key(root: Path, tmp_path: Path) -> None:
    first = open_repository(root)
    first.close()
    root.rename(tmp_path / "elsewhere")
    second = open_repository(tmp_path / "elsewhere")
    assert second.key == first.key
    assert second.address == str(tmp_path / "elsewhere")
    second.close()


@pytest.mark.parametrize("harm", ["no folder", "no file", "empty file"])
def test_a_missing_index_is_told_and_not_made_anew(root: Path, harm: str) -> None:
    data = root / "meta" / "data.mdb"
    if harm == "no folder":
        shutil.rmtree(root / "meta")
    elif harm == "no file":
        data.unlink()
    else:
        os.truncate(data, 0)
    with pytest.raises(IntegrityError, match="missing"):
        open_repository(root)
    assert not data.exists() or data.stat().st_size == 0
    (line,) = check(root)
    assert "missing" in line


@pytest.mark.parametrize("length", [1, 100, 4095, 4096, 5000, 8191])
def test_an_index_without_its_first_pages_is_told(root: Path, length: int) -> None:
    os.truncate(root / "meta" / "data.mdb", length)
    with pytest.raises(IntegrityError, match="damaged"):
        open_repository(root)
    (line,) = check(root)
    assert "damaged" in line


def test_an_index_of_other_bytes_is_told(root: Path) -> None:
    (root / "meta" / "data.mdb").write_bytes(b"no index at all " * 4096)
    with pytest.raises(IntegrityError, match="damaged"):
        open_repository(root)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# Opens argv[1] as an ordinary user and prints how that fails.
STRANGER = """
import os, sys
from pathlib import Path
from oxenfs.errors import OxenfsError
from oxenfs.remote.local import check
from oxenfs.remote.local.repository import create, open_repository

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for action in (open_repository, lambda path: list(check.check(path))):
    try:
        action(Path(sys.argv[1]))
        print("fine")
    except OxenfsError as exc:
        print(type(exc).__name__, sys.argv[1] in str(exc), len(str(exc).splitlines()))
"""


@pytest.mark.parametrize("closed", [".", "config.toml", "meta", "meta/data.mdb", "meta/lock.mdb"])
def test_a_repository_of_somebody_else_is_refused(shared: Path, closed: str) -> None:
    root = shared / "repository"
    create(root, AUTHOR).close()
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (root / closed).chmod(0)
    command = [sys.executable, "-c", STRANGER, str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["AccessDenied True 1"] * 2


def test_a_repository_cannot_be_made_where_nobody_may_write(shared: Path) -> None:
    script = STRANGER.replace("(open_repository,", "(lambda path: create(path, None),")
    shared.chmod(0o555)
    command = [sys.executable, "-c", script, str(shared / "new")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[0] == "AccessDenied True 1", ended.stderr


def test_errors_of_writing_are_told_in_one_line(filled: LocalRemote) -> None:
    shutil.rmtree(filled.layout.tmp)
    with pytest.raises(OxenfsError, match="cannot write"):
        filled.publish("main", filled.branch("main").commit, [], "m", AUTHOR)
