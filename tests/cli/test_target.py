"""Which repository and paths a command is about, with a table of mounts made up for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oxenfs.errors import UsageError
from oxenfs.mount import registry
from oxenfs.mount.registry import Entry
from oxenfs_cli import target
from oxenfs_cli.main import main

COMMIT = "abc123"


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A living mount at `mnt`, below the current folder, of the repository `data`."""
    (tmp_path / "mnt" / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    entry = Entry(
        dir=tmp_path / "mnt",
        repo=str(tmp_path / "data"),
        revision="main",
        branch="main",
        commit=COMMIT,
        base=None,
        pid=1,
        alive=True,
        mounted=True,
        overlay=None,
        changes=None,
        log=None,
        folder=None,
        started=None,
    )
    monkeypatch.setattr(registry, "entries", lambda: [entry])
    monkeypatch.chdir(tmp_path)
    return entry


def found(mount: Entry, *words: str, c: str | None = None, address: bool = False):  # type: ignore[no-untyped-def]
    answer = target.find(words, Path(c) if c is not None else None, address=address)
    return answer.mount.dir if answer.mount else None, str(answer.address), answer.paths


def of(mount: Entry, *paths: bytes) -> tuple[Path, str, tuple[bytes, ...]]:
    """Return what must be found: the commit that is mounted, wherever the branch is by now."""
    return mount.dir, f"{mount.repo}@{COMMIT}", paths


@pytest.mark.parametrize("word", ["mnt", "./mnt", "mnt/", "mnt/sub/..", "{mnt}"])
def test_a_mount_point_is_found_however_it_is_written(word: str, mount: Entry) -> None:
    assert found(mount, word.format(mnt=mount.dir)) == of(mount)


def test_a_mount_point_is_found_through_a_link(mount: Entry, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("mnt")
    assert found(mount, "link") == of(mount)


def test_paths_after_a_mount_point_start_at_its_root(mount: Entry) -> None:
    assert found(mount, "mnt", "sub", "a//b/./c", ".") == of(mount, b"sub", b"a/b/c", b"")


def test_in_a_mount_paths_start_at_the_current_folder(
    mount: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("mnt/sub")
    assert found(mount) == of(mount)
    expected = of(mount, b"sub/deep", b"sub/new", b"x", b"sub")
    assert found(mount, "deep", "new", "../x", ".") == expected
    assert found(mount, f"{mount.dir}/sub/a") == of(mount, b"sub/a")


def test_the_name_of_a_mount_point_is_a_path_where_it_is_none(
    mount: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("mnt/sub")
    assert found(mount, "mnt") == of(mount, b"sub/mnt")


@pytest.mark.parametrize("c", ["mnt", "mnt/sub", "mnt/sub/deep"])
def test_c_names_a_folder_in_the_mount(c: str, mount: Entry) -> None:
    # The current folder is outside: paths start at the root, not at DIR.
    assert found(mount, "x", c=c) == of(mount, b"x")


def test_with_c_a_mount_point_is_a_path(mount: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(mount, "mnt", c="mnt") == of(mount, b"mnt")
    assert found(mount, str(mount.dir), c="mnt") == of(mount, b"")
    monkeypatch.chdir("mnt")
    assert found(mount, ".", c=".") == of(mount, b"")
    assert found(mount, "sub", ".", c="sub", address=True) == of(mount, b"sub", b"")


@pytest.mark.parametrize(
    "words", [["commit", "-m", "x"], ["branch"], ["discard", "--yes"], ["pull"]]
)
def test_c_and_a_mount_point_are_too_much_where_there_are_no_paths(
    words: list[str], mount: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-C", "mnt", "mnt"]) == 2
    assert "both -C mnt and mnt are given" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["..", "a/../..", "{mnt}/../data"])
def test_a_path_that_leads_out_is_refused(word: str, mount: Entry) -> None:
    with pytest.raises(UsageError, match=r"leads out|not lie in the mount"):
        found(mount, "mnt", word.format(mnt=mount.dir))


@pytest.mark.parametrize("words", [[], ["sub"], ["mnt/sub"], ["data@main"]])
def test_elsewhere_something_must_be_named(words: list[str], mount: Entry) -> None:
    with pytest.raises(UsageError, match="-C DIR"):
        found(mount, *words)
    with pytest.raises(UsageError, match="/ does not lie in a mount"):
        found(mount, *words, c="/")


def test_elsewhere_the_first_word_may_be_an_address(mount: Entry, tmp_path: Path) -> None:
    answer = found(mount, "data@main", "a/b", address=True)
    assert answer == (None, f"{tmp_path}/data@main", (b"a/b",))
    with pytest.raises(UsageError, match="an address"):
        found(mount, address=True)


def test_in_a_mount_only_what_leads_out_is_an_address(
    mount: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("mnt")
    assert found(mount, "data@main", address=True) == of(mount, b"data@main")
    assert found(mount, "ns/name", address=True) == of(mount, b"ns/name")
    assert found(mount, f"{mount.dir}/x", address=True) == of(mount, b"x")
    assert found(mount, mount.repo, "x", address=True) == (None, mount.repo, (b"x",))
    assert found(mount, "http://h/ns/name", address=True) == (None, "http://h/ns/name", ())


def test_a_mount_that_only_the_kernel_knows_has_its_revision(
    mount: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = replace(mount, commit="", branch=None, alive=False)
    monkeypatch.setattr(registry, "entries", lambda: [lost])
    assert found(mount, "mnt") == (mount.dir, f"{mount.repo}@main", ())
