"""All revisions of a repository in one mount."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repositories import MIB, commit, make_repository, noise

from oxenfs.model import hash_text
from oxenfs.remote.local.repository import LocalRemote

from .mounted import Mounted, until
from .test_moving import counts, shown

pytestmark = pytest.mark.fuse

MAIN = {
    b"a": b"one",
    b"large": noise(2 * MIB, 1),
    b"sub/same": noise(MIB, 2),
    **{b"many/%03d" % number: b"%d" % number for number in range(300)},
}
DEV = {**MAIN, b"a": b"two", b"many/100": b"changed", b"sub/new": b"new"}


class Place:
    def __init__(self, remote: LocalRemote, mounted: Mounted) -> None:
        self.remote = remote
        self.mounted = mounted
        self.dir = mounted.dir
        self.first = hash_text(remote.branch("main").commit)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", MAIN)
    first = made.branch("main").commit
    made.make_branch("feature/dev", first)
    changed = {path: data for path, data in DEV.items() if MAIN.get(path) != data}
    commit(made, changed, branch="feature/dev")
    yield made
    made.close()


@pytest.fixture
def place(remote: LocalRemote, mounting: Callable[..., Mounted]) -> Place:
    return Place(remote, mounting(str(remote.layout.root), command=COUNTING))


COUNTING = ("-m", "semantics.counting", "--revisions")
FOLLOWING = ("-m", "oxenfs_cli", "mount", "--foreground", "--revisions", "--follow", "0.2")


def test_branches_and_commits_are_folders(place: Place) -> None:
    assert sorted(os.listdir(place.dir)) == ["HEAD", "branches", "commits"]  # noqa: PTH208
    assert shown(place.dir / "branches" / "main") == MAIN
    assert shown(place.dir / "branches" / "feature" / "dev") == DEV
    assert shown(place.dir / "HEAD") == MAIN
    dev = hash_text(place.remote.branch("feature/dev").commit)
    for name, tree in ((place.first, MAIN), (dev, DEV), (dev[:8], DEV)):
        assert shown(place.dir / "commits" / name) == tree
    assert {place.first, dev} <= set(os.listdir(place.dir / "commits"))  # noqa: PTH208
    with pytest.raises(FileNotFoundError):
        (place.dir / "commits" / "0123456789").stat()
    dated = (place.dir / "commits" / dev).stat().st_mtime_ns
    assert dated == place.remote.commit(place.remote.branch("feature/dev").commit).timestamp_ns


def test_diff_of_two_branches_reads_only_what_differs(place: Place) -> None:
    before = counts(place.mounted)
    done = subprocess.run(
        ["diff", "-rq", "branches/main", "branches/feature/dev"],
        cwd=place.dir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "Files branches/main/a and branches/feature/dev/a differ",
        "Files branches/main/many/100 and branches/feature/dev/many/100 differ",
        "Only in branches/feature/dev/sub: new",
    ]
    after = counts(place.mounted)
    # Two differing files on each side: `many/100` differs in size, which is enough for diff.
    assert after.get("open", 0) - before.get("open", 0) <= 4
    assert after.get("read", 0) - before.get("read", 0) <= 4


def test_a_file_that_is_the_same_in_two_revisions_is_one_and_is_read_once(place: Place) -> None:
    main, dev = place.dir / "branches" / "main", place.dir / "branches" / "feature" / "dev"
    for path in MAIN:
        name = os.fsdecode(path)
        same = (main / name).stat().st_ino == (dev / name).stat().st_ino
        assert same == (DEV[path] == MAIN[path]), path
    for name in ("sub", "many"):
        assert (main / name).stat().st_ino != (dev / name).stat().st_ino
    assert (main / "large").read_bytes() == MAIN[b"large"]
    before = counts(place.mounted)["read"]
    assert (dev / "large").read_bytes() == MAIN[b"large"]
    assert counts(place.mounted)["read"] == before


def test_branches_that_move_come_or_go_are_followed(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    place = Place(remote, mounting(str(remote.layout.root), command=FOLLOWING))
    branches = place.dir / "branches"
    assert (branches / "main" / "a").read_bytes() == b"one"
    kept = (branches / "feature" / "dev" / "large").stat()
    commit(remote, {b"a": b"three"})
    until(lambda: (branches / "main" / "a").read_bytes() == b"three", "main has moved")
    assert (place.dir / "HEAD" / "a").read_bytes() == b"three"
    assert (place.dir / "commits" / place.first / "a").read_bytes() == b"one"
    assert (branches / "feature" / "dev" / "large").stat() == kept
    remote.make_branch("new", remote.branch("main").commit)
    until((branches / "new" / "a").exists, "the new branch is there")
    with remote.meta.write() as txn:
        txn.delete("refs", b"feature/dev")
    until(lambda: not (branches / "feature").exists(), "the other one is gone")


def test_branches_with_names_that_are_no_paths_are_listed_encoded(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    head = remote.branch("main").commit
    remote.make_branch("main/below", head)
    remote.make_branch("per%2Fcent", head)
    place = Place(remote, mounting(str(remote.layout.root), command=FOLLOWING))
    branches = place.dir / "branches"
    assert sorted(os.listdir(branches)) == ["feature", "main", "main%2Fbelow", "per%252Fcent"]  # noqa: PTH208
    for name in ("main", "main%2Fbelow", "main/below", "per%252Fcent"):
        assert (branches / name / "a").read_bytes() == b"one"
    assert "below" not in os.listdir(branches / "main")  # noqa: PTH208


def test_a_mount_of_all_revisions_takes_no_revision(
    remote: LocalRemote, mounting: Callable[..., Mounted]
) -> None:
    place = Place(remote, mounting(str(remote.layout.root), command=FOLLOWING))
    address = f"{remote.layout.root}@main"
    process = place.mounted.popen("-m", "oxenfs_cli", "mount", "--revisions", address, "/nowhere")
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "leave out @main" in said
    info = json.loads((place.dir / ".oxenfs" / "info.json").read_text())
    assert (info["commit"], info["branch"]) == (place.first, None)
