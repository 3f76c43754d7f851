"""`oxenfs mount`, `umount`, `mounts` on a real repository, as root and as an ordinary user."""

from __future__ import annotations

import signal
import sys

import pytest

from .conftest import Sandbox

pytestmark = pytest.mark.fuse

FILES = {"a/b/deep.txt": b"deep\n", "a/empty": b"", "top.bin": bytes(range(256)) * 2000}


@pytest.fixture(params=["root", "ordinary user"])
def box(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox with a repository `home/data` of `FILES`."""
    made: Sandbox = request.getfixturevalue("sandbox" if request.param == "root" else "user")
    home = made.root / "home"
    source = made.root / "source"
    for name, content in FILES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for words in (("init", "data"), ("import", str(source), "data@main", "-m", "first")):
        done = made.oxenfs(*words, cwd=home)
        assert done.returncode == 0, done.stderr
    return made


def _equal(box: Sandbox) -> bool:
    return box.run("diff", "-r", str(box.root / "source"), str(box.dir)).returncode == 0


def test_relative_paths_are_mounted_and_unmounted(box: Sandbox) -> None:
    home = box.root / "home"
    done = box.oxenfs("mount", "data@main", "../mnt", cwd=home)
    assert done.returncode == 0, done.stderr
    (row,) = box.mounts()
    assert done.stdout == (f"mounted {home}/data@main (commit {row['commit'][:10]}) on {box.dir}\n")
    assert list(row) == [
        "dir", "repo", "revision", "branch", "commit", "base", "pid", "overlay", "changes",
    ]  # fmt: skip
    assert (row["dir"], row["repo"], row["revision"], row["branch"]) == (
        str(box.dir),
        str(home / "data"),
        "main",
        "main",
    )
    assert (row["base"], row["overlay"], row["changes"]) == (None, None, None)
    assert _equal(box)
    assert box.oxenfs("umount", "../mnt", cwd=home).returncode == 0
    box.assert_nothing_left()


def test_a_commit_is_mounted_by_its_prefix(box: Sandbox) -> None:
    home = box.root / "home"
    box.oxenfs("mount", "data", str(box.dir), cwd=home)
    (row,) = box.mounts()
    assert (row["revision"], row["branch"]) == (None, "main")
    box.oxenfs("umount", str(box.dir))
    prefix = row["commit"][:8]
    done = box.oxenfs("mount", f"data@{prefix}", str(box.dir), cwd=home)
    assert done.returncode == 0, done.stderr
    (again,) = box.mounts()
    assert (again["revision"], again["branch"], again["commit"]) == (prefix, None, row["commit"])
    assert _equal(box)


def test_writing_gets_the_error_of_a_read_only_file_system(box: Sandbox) -> None:
    box.oxenfs("mount", "data", str(box.dir), cwd=box.root / "home")
    for words in (("touch", "new"), ("rm", "top.bin"), ("mkdir", "x"), ("mv", "top.bin", "y")):
        done = box.run(words[0], *(str(box.dir / word) for word in words[1:]))
        assert "Read-only file system" in done.stderr, words


def test_the_foreground_prints_and_ends_with_ctrl_c(box: Sandbox) -> None:
    process = box.popen(
        *(sys.executable, "-m", "oxenfs_cli", "mount", "--foreground", "-v"),
        *(str(box.root / "home" / "data"), str(box.dir)),
    )
    assert process.stdout is not None
    assert "mounted" in process.stdout.readline()
    assert f"process {process.pid}, log " in process.stdout.readline()
    assert _equal(box)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    box.assert_nothing_left()


def test_trees_are_kept_in_the_cache_folder_that_is_named(box: Sandbox) -> None:
    cache = box.root / "home" / "elsewhere"
    words = ("mount", "--cache-dir", "elsewhere", "data", str(box.dir))
    done = box.oxenfs(*words, cwd=box.root / "home")
    assert done.returncode == 0, done.stderr
    assert any(path.is_file() for path in cache.rglob("*"))


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("missing@main", "mnt"), 1, "missing"),
        (("./home/data@mian", "mnt"), 1, "main"),
        (("http://user:secret@host/a/b", "mnt"), 2, "no user or password"),
        (("./home/data", "nowhere"), 1, "mkdir -p"),
        (("./home/data", "home"), 1, "not empty"),
        (("./home/data",), 2, "DIR"),
        (("./home/data", "mnt", "--overlay", "--revisions"), 2, "--overlay"),
    ],
)
def test_failures_are_one_line_and_leave_nothing(
    sandbox: Sandbox, words: tuple[str, ...], code: int, text: str
) -> None:
    sandbox.oxenfs("init", str(sandbox.root / "home" / "data"))
    done = sandbox.oxenfs("mount", *words, cwd=sandbox.root)
    assert done.returncode == code
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    sandbox.assert_nothing_left()


def test_mounts_of_nothing_is_empty(sandbox: Sandbox) -> None:
    assert sandbox.oxenfs("mounts", "--pending").stdout == ""
    assert sandbox.oxenfs("mounts", "--pending", "--json").stdout == "[]\n"
