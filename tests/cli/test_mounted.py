"""The commands about history on a real mount, found by its mount point or the current folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fuse


class Place:
    """A folder with a repository `data` that is mounted at `mnt`, at its first branch's head."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mount = path / "mnt"

    def oxenfs(self, *words: str, cwd: Path | None = None, module: str = "oxenfs_cli") -> str:
        done = self.run(*words, cwd=cwd, module=module)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(
        self, *words: str, cwd: Path | None = None, module: str = "oxenfs_cli"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=cwd or self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def messages(self, *words: str, cwd: Path | None = None) -> list[str]:
        return [c["message"] for c in json.loads(self.oxenfs("log", *words, "--json", cwd=cwd))]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "a").write_text("one")
    (tmp_path / "files" / "sub" / "b").write_text("b")
    place.oxenfs("init", "data")
    place.oxenfs("import", "files", "data", "-m", "first")
    (tmp_path / "files" / "a").write_text("two")
    place.oxenfs("import", "files", "data@feature/x", "-m", "second")
    place.mount.mkdir()
    place.oxenfs("mount", "data@feature/x", "mnt")
    yield place
    place.oxenfs("umount", "mnt")


def test_log_of_a_mount(place: Place) -> None:
    assert place.messages("mnt")[:2] == ["second", "first"]
    assert place.messages("mnt", "sub") == ["first"]
    assert place.messages("a", cwd=place.mount) == ["second", "first"]
    assert place.messages("b", "../a", cwd=place.mount / "sub") == ["second", "first"]
    assert place.messages("-C", "mnt/sub", "sub/b") == ["first"]


def test_log_ends_at_the_commit_that_is_mounted(place: Place) -> None:
    (place.path / "files" / "a").write_text("three")
    place.oxenfs("import", "files", "data@feature/x", "-m", "third")
    assert place.messages("mnt")[0] == "second"
    assert place.messages("data@feature/x")[0] == "third"


def test_branch_marks_the_one_that_is_mounted(place: Place) -> None:
    branches: list[dict[str, Any]] = json.loads(place.oxenfs("branch", "mnt", "--json"))
    assert [(b["name"], b["current"]) for b in branches] == [("feature/x", True), ("main", False)]
    assert "* feature/x" in place.oxenfs("branch", cwd=place.mount / "sub")


def test_show_takes_the_repository_of_the_mount(place: Place) -> None:
    assert place.oxenfs("show", "main:a", "-C", "mnt") == "one"
    assert place.oxenfs("show", "feature/x:a", cwd=place.mount / "sub") == "two"


def test_oxen_is_ours_in_a_mount(place: Place) -> None:
    text = place.oxenfs("log", cwd=place.mount, module="oxenfs_cli.oxen")
    assert text == place.oxenfs("log", "mnt")


@pytest.mark.parametrize("command", ["prefetch", "pin", "unpin"])
def test_a_path_that_is_not_there_is_said_also_where_nothing_is_fetched(
    place: Place, command: str
) -> None:
    done = place.run(command, "sub", "nosuch", cwd=place.mount)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "oxenfs: no 'nosuch' in this commit\n"
    done = place.run(command, "-C", "mnt", "a/b")
    assert (done.returncode, done.stderr) == (1, "oxenfs: 'a/b' goes on below a file\n")
    place.oxenfs(command, "sub/b", "a", cwd=place.mount)


def test_with_c_the_root_can_be_a_path(place: Place) -> None:
    for command in (["prefetch", "-C", ".", "."], ["log", "-C", "sub", "."], ["prefetch", "."]):
        place.oxenfs(*command, cwd=place.mount)
