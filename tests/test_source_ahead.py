"""The walk by a second process: the same steps, the same errors, and no process left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from folders import fill, head_tree, take
from repositories import AUTHOR

from oxenfs import importing
from oxenfs.errors import AccessDenied, OxenfsError, SourceChanged, Unsupported
from oxenfs.remote.local.repository import create
from oxenfs.source.ahead import walk_ahead
from oxenfs.source.walk import WHOLE_BYTES_MAX, Found, Step, walk

if TYPE_CHECKING:
    from remote.reference import Tree


def children() -> list[str]:
    own = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return own.split()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    tree: Tree = {b"empty/inside": None}
    fill(
        folder,
        tree
        | {b"%d/%03d" % (n % 7, n): bytes([n % 256]) * (n * 37 % 5000) for n in range(700)}
        | {
            b"large": bytes(WHOLE_BYTES_MAX + 1),
            b"whole": bytes(WHOLE_BYTES_MAX),
            b"none": b"",
            "ü/ö\n".encode(): b"x",
        },
    )
    return folder


def test_the_steps_are_those_of_the_walk(source: Path) -> None:
    steps = list(walk(source, b"to", skip_unsupported=False))
    assert list(walk_ahead(source, b"to", skip_unsupported=False)) == steps
    found = {step.name: step for step in steps if isinstance(step, Found)}
    assert found[b"large"].data is None
    assert found[b"whole"].data == bytes(WHOLE_BYTES_MAX)


@pytest.mark.parametrize("many", [False, True])
def test_an_import_is_the_same_with_and_without(
    source: Path, tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_READ_AHEAD_FROM", 1 if many else 1 << 60)
    used: list[bool] = []

    def ahead(*args: Any, **options: Any) -> Any:
        used.append(True)
        return walk_ahead(*args, **options)

    monkeypatch.setattr(importing, "walk_ahead", ahead)
    remote = create(tmp_path / "repository", AUTHOR)
    try:
        take(remote, source)
        tree = head_tree(remote)
    finally:
        remote.close()
    assert bool(used) == many
    assert tree[b"large"] == bytes(WHOLE_BYTES_MAX + 1)
    assert len([path for path, data in tree.items() if data is not None]) == 704
    assert tree[b"empty/inside"] is None


def test_what_goes_wrong_there_is_raised_here_after_what_came_before(source: Path) -> None:
    (source / "6" / "999").symlink_to("x")
    steps = walk_ahead(source, b"to", skip_unsupported=False)
    seen: list[Step] = []
    with pytest.raises(Unsupported, match="'to/6/999' \\(a symlink\\)"):
        seen.extend(steps)
    assert len([step for step in seen if isinstance(step, Found)]) == 700
    names = [step.name for step in walk_ahead(source, b"", skip_unsupported=True) if step]
    assert b"999" not in names


def test_a_walk_that_is_given_up_leaves_no_process(source: Path) -> None:
    before = children()
    steps = walk_ahead(source, b"", skip_unsupported=False)
    next(steps)
    assert len(children()) == len(before) + 1
    steps.close()
    assert children() == before


def test_a_reading_process_that_is_killed_is_told(source: Path) -> None:
    before = children()
    for number in range(3):
        (source / f"zz{number}").write_bytes(bytes(WHOLE_BYTES_MAX))
    steps = walk_ahead(source, b"", skip_unsupported=False)
    next(steps)
    (pid,) = set(children()) - set(before)
    os.kill(int(pid), 9)
    with pytest.raises(OxenfsError, match="ended with status -9; nothing was committed"):
        list(steps)


def test_no_reading_process_outlives_the_one_that_asked(source: Path, tmp_path: Path) -> None:
    script = """
import sys, os
from pathlib import Path
from oxenfs.source.ahead import walk_ahead
steps = walk_ahead(Path(sys.argv[1]), b"", skip_unsupported=False)
next(steps)
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text())
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
    for number in range(4):
        (source / f"zz{number}").write_bytes(bytes(WHOLE_BYTES_MAX))
    ended = subprocess.run(
        [sys.executable, "-c", script, str(source)], stdout=subprocess.PIPE, text=True, check=False
    )
    # Its output is closed by then: the kernel ends the child when its parent's thread ends.
    pid = ended.stdout.strip()
    assert pid
    for _ in range(100):
        if not Path("/proc", pid).exists() or "Z" in Path("/proc", pid, "stat").read_text():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("still there")


def test_a_folder_that_goes_away_is_told(source: Path) -> None:
    steps = walk(source, b"", skip_unsupported=False)
    for step in steps:
        if isinstance(step, Found) and step.name == b"000":
            break
    subprocess.run(["rm", "-r", source / "6"], check=True)
    with pytest.raises((SourceChanged, AccessDenied), match=r"'6.* went away"):
        list(steps)
