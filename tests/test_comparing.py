"""What differs between two commits."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import Spy, commit, make_repository, spied

from oxenfs.comparing import Changed, changes_between, facts_of, lines_of
from oxenfs.errors import NotFound
from oxenfs.model import Commit, tree_order
from oxenfs.remote.base import Remote
from oxenfs.remote.local.repository import LocalRemote

FILES = {
    b"a": b"one\n",
    b"same": b"same\n",
    b"sub/x": b"1\n2\n3\n",
    b"sub/deep/y": b"y\n",
    b"gone/z": b"z\n",
    b"turns": b"file\n",
    b"unturns/inside": b"inside\n",
    **{b"still/%02d/%02d" % (a, b): b"%d\n" % b for a in range(10) for b in range(10)},
}


class Place:
    def __init__(self, remote: LocalRemote) -> None:
        self.remote = remote
        spy, asked = spied(remote)
        self.spy: Spy = spy
        self.asked: Remote = asked
        self.old = remote.commit(remote.branch("main").commit)
        new = commit(
            remote,
            {
                b"a": b"two\n",
                b"sub/deep/y": b"yy\n",
                b"new/w": b"w\n",
                b"turns/now": b"folder\n",
                b"unturns": b"file\n",
                b"same-": b"sorts between\n",
            },
            remove=[b"gone"],
        )
        self.new: Commit = remote.commit(new)

    def changed(self, *paths: bytes) -> list[tuple[str, bytes]]:
        found = changes_between(self.asked, self.old, self.new, paths)
        return [(change.op, change.path) for change in found]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    remote = make_repository(tmp_path / "repository", FILES)
    yield Place(remote)
    remote.close()


ALL = [
    ("M", b"a"),
    ("D", b"gone/z"),
    ("A", b"new/w"),
    ("A", b"same-"),
    ("M", b"sub/deep/y"),
    ("D", b"turns"),
    ("A", b"turns/now"),
    ("A", b"unturns"),
    ("D", b"unturns/inside"),
]


def test_changes_are_found_in_tree_order_without_a_look_at_equal_folders(place: Place) -> None:
    found = place.changed()
    assert found == ALL
    assert [path for _, path in found] == sorted((path for _, path in found), key=tree_order)
    # Root, sub, sub/deep twice; gone, new, turns, unturns once.
    assert len(place.spy.calls) == 10


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ([b"a"], ALL[:1]),
        ([b"same"], []),
        ([b"still"], []),
        ([b"sub"], [("M", b"sub/deep/y")]),
        ([b"sub/deep/y", b"sub", b"sub"], [("M", b"sub/deep/y")]),
        ([b"turns"], ALL[5:7]),
        ([b"turns/now"], [("A", b"turns/now")]),
        ([b"new", b"gone"], ALL[1:3]),
        ([b""], ALL),
    ],
)
def test_paths_choose(place: Place, paths: list[bytes], wanted: list[tuple[str, bytes]]) -> None:
    assert place.changed(*paths) == wanted


def test_a_path_in_neither_commit_is_not_found(place: Place) -> None:
    for path in (b"nothing", b"a/below/a/file", b"same/x"):
        with pytest.raises(NotFound, match="in either commit"):
            place.changed(path)


def test_equal_commits_differ_in_nothing(place: Place) -> None:
    assert list(changes_between(place.asked, place.old, place.old)) == []
    assert place.spy.calls == []


def diff(place: Place, old: bytes | None, new: bytes | None) -> str:
    before = commit(place.remote, {b"t": old} if old is not None else {b"other": b"1"})
    after = commit(
        place.remote,
        {b"t": new} if new is not None else {},
        remove=[b"t"] if new is None else [],
    )
    remote = place.remote
    (change,) = changes_between(remote, remote.commit(before), remote.commit(after), [b"t"])
    lines = lines_of(remote, change)
    assert lines is not None
    return "".join(f"{line}\n" for line in lines)


def test_a_unified_diff_is_one_that_patch_takes(place: Place, tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("no patch")
    rng = random.Random(1)
    lines = [b"a", b"b", b"c\r", b"\x0cd", b"", b"-- x", b"+++ y", "e\u2028f".encode()]
    cases: list[tuple[bytes | None, bytes | None]] = [(None, b"new"), (b"old\n", None)]
    for _ in range(12):
        pair = [
            b"\n".join(rng.choices(lines, k=rng.randrange(2, 12))) + rng.choice([b"", b"\n"])
            for _ in range(2)
        ]
        if pair[0] != pair[1]:
            cases.append((pair[0], pair[1]))
    for old, new in cases:
        folder = tmp_path / "patched"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if old is not None:
            (folder / "t").write_bytes(old)
        text = diff(place, old, new)
        done = subprocess.run(
            ["patch", "-p1", "--binary", "-s", "-N"],
            cwd=folder,
            input=text.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (old, new, text, done.stdout)
        found = (folder / "t").read_bytes() if (folder / "t").exists() else None
        assert found == new, (old, new, text)


def test_patch_finds_a_file_whatever_its_name(place: Place, tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("no patch")
    for name in ("new\nline", 'a "q" \\', "\x1b[31mé", "txt.\u202eexe", "tab\t", "Löve lace"):
        path = name.encode()
        before = commit(place.remote, {path: b"1\n"})
        after = commit(place.remote, {path: b"2\n"})
        remote = place.remote
        (change,) = changes_between(remote, remote.commit(before), remote.commit(after))
        text = "".join(f"{line}\n" for line in lines_of(remote, change) or ())
        assert len(text.splitlines()) == 5
        assert "\x1b" not in text
        assert "\u202e" not in text
        (tmp_path / name).write_bytes(b"1\n")
        done = subprocess.run(
            ["patch", "-p1", "-s", "-N"],
            cwd=tmp_path,
            input=text.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (name, done.stdout)
        assert (tmp_path / name).read_bytes() == b"2\n"


def test_what_is_no_text_has_facts(place: Place) -> None:
    change = next(changes_between(place.remote, place.old, place.new, [b"a"]))
    assert isinstance(change, Changed)
    assert change.old is not None
    assert facts_of(change.old) == []
    new = commit(place.remote, {b"a": b"\xff\xfe\x00", b"b.bin": bytes(10)})
    for change in changes_between(
        place.remote, place.new, place.remote.commit(new), [b"a", b"b.bin"]
    ):
        assert lines_of(place.remote, change) is None
