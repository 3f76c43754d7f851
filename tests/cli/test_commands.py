"""The commands on a repository that is not mounted, run as a script would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from oxenfs.remote.local.repository import create_empty
from oxenfs_cli.main import main

from .conftest import Run

HASH = re.compile(r"[0-9a-f]{1,32}\Z")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{9})?Z\Z")


@pytest.fixture
def repository(place: Path, run: Run) -> Path:
    """A repository `data` with two commits on `main` after the empty one."""
    run("init", "data")
    run("import", "files", "data@main", "-m", "first")
    (place / "files" / "a.txt").write_bytes(b"two\n")
    run("import", "files", "data@main", "-m", "second\n\nwith more to say")
    return place / "data"


def log(run: Run, *words: str) -> list[dict[str, Any]]:
    commits = json.loads(run("log", *words, "--json"))
    assert isinstance(commits, list)
    return commits


def messages(run: Run, *words: str) -> list[str]:
    return [commit["message"].partition("\n")[0] for commit in log(run, *words)]


def test_init_makes_branch_main_with_one_empty_commit(place: Path, run: Run) -> None:
    text = run("init", "data")
    (commit,) = log(run, "data")
    assert text.rstrip().endswith(commit["id"])
    assert (commit["author"], commit["email"], commit["parents"]) == ("Ada", "ada@x", [])
    assert json.loads(run("branch", "--repo", "data", "--json")) == [
        {"name": "main", "commit": commit["id"], "current": True}
    ]
    assert run("show", f"{commit['id']}:", "--repo", "data") == ""


def test_init_twice_is_refused(place: Path, run: Run) -> None:
    run("init", "data")
    assert "data" in run("init", "data", code=2)


def test_import_prints_the_commit_last(repository: Path, place: Path, run: Run) -> None:
    (place / "files" / "new").write_text("new")
    text = run("import", "files", "data@main", "-m", "third")
    assert text.split()[-1] == log(run, "data")[0]["id"]


def test_import_as_json(place: Path, run: Run) -> None:
    run("init", "data")
    done = json.loads(run("import", "files", "data", "-m", "first", "--json"))
    assert done == {
        "commit": log(run, "data")[0]["id"],
        "branch": "main",
        "files": 2,
        "uploaded_files": 2,
        "uploaded_bytes": 4 + 512_000,
    }


def test_import_of_nothing_new_is_exit_code_4(repository: Path, run: Run) -> None:
    run("import", "files", "data@main", "-m", "again", code=4)
    assert len(log(run, "data")) == 3


def test_import_into_a_folder_and_with_delete(repository: Path, place: Path, run: Run) -> None:
    run("import", "files/sub", "data", "--to", "/x/y/", "-m", "below")
    assert run("show", "main:x/y", "--repo", "data") == "b.bin\n"
    run("import", "files/sub", "data", "--delete", "-m", "nothing else")
    assert run("show", "main:", "--repo", "data") == "b.bin\n"


def test_import_makes_a_new_branch_of_the_default_branch(repository: Path, run: Run) -> None:
    run("import", "files/sub", "data@feature/x", "-m", "on a branch")
    assert messages(run, "data@feature/x") == ["on a branch", *messages(run, "data@main")]


def test_import_to_a_commit_is_refused(repository: Path, run: Run) -> None:
    head = log(run, "data")[0]["id"]
    for rev in (head, head.upper(), head[:8]):
        error = run("import", "files/sub", f"data@{rev}", "-m", "x", code=2)
        assert "is a commit" in error
        assert "@NAME" in error
    assert len(json.loads(run("branch", "--repo", "data", "--json"))) == 1


def test_import_names_what_cannot_be_stored(place: Path, run: Run) -> None:
    run("init", "data")
    (place / "files" / "link\n").symlink_to("a.txt")
    assert "link\\n" in run("import", "files", "data", "-m", "first", code=1)
    run("import", "files", "data", "-m", "first", "--skip-unsupported")
    assert run("show", "main:", "--repo", "data") == "a.txt\nsub/\n"


@pytest.mark.parametrize(
    "words",
    [
        ["import", "files", "data"],
        ["import", "files", "data", "-m", " "],
        ["import", "gone", "data", "-m", "x"],
        ["import", "files", "data", "-m", "x", "--to", "../x"],
        ["import", "files", "data@", "-m", "x"],
        ["import", "files", "http://ada:pw@h/ns/name", "-m", "x"],
        ["branch"],
        ["branch", "files"],
        ["branch", "files", "--repo", "data"],
        ["log"],
        ["show", "main:a.txt"],
        ["show", ":a.txt", "--repo", "data"],
        ["show", "main:../a.txt", "--repo", "data"],
        ["show", "main", "--repo", "data@main"],
    ],
)
def test_wrong_calls_are_exit_code_2(words: list[str], repository: Path, run: Run) -> None:
    assert "pw" not in run(*words, code=2)


def test_without_a_configured_author_the_login_commits_and_is_told(
    place: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / ".config" / "oxen" / "user_config.toml").unlink()
    assert main(["init", "data"]) == 0
    captured = capfd.readouterr()
    assert "user_config.toml" in captured.err
    assert main(["log", "data", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["author"]


def test_who_committed_is_told_of_what_was_committed_only(
    place: Path, home: Path, run: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (home / ".config" / "oxen" / "user_config.toml").unlink()
    assert main(["init", "data"]) == 0
    assert main(["import", "files", "data", "-m", "first"]) == 0
    assert capfdbinary.readouterr().err.count(b"oxenfs: committed as ") == 2
    # `run` wants one line of an error.
    assert "already" in run("import", "files", "data", "-m", "again", code=4)
    run("init", "data", code=2)
    (place / "files" / "link").symlink_to("a.txt")
    assert "link" in run("import", "files", "data", "-m", "link", code=1)


def test_log_is_newest_first_with_all_facts(repository: Path, run: Run) -> None:
    commits = log(run, "data")
    assert [commit["message"] for commit in commits[:2]] == ["second\n\nwith more to say", "first"]
    for commit, parent in zip(commits, [*commits[1:], None], strict=True):
        assert list(commit) == ["id", "parents", "author", "email", "date", "message"]
        assert HASH.match(commit["id"])
        assert DATE.match(commit["date"])
        assert commit["parents"] == ([parent["id"]] if parent else [])


def test_log_as_text(repository: Path, run: Run) -> None:
    newest = log(run, "data")[0]
    lines = run("log", "data", "-n", "1").splitlines()
    assert lines[0] == f"commit {newest['id']}"
    assert lines[1] == "author Ada <ada@x>"
    assert lines[3:] == ["", "    second", "", "    with more to say"]


def test_log_of_paths(repository: Path, run: Run) -> None:
    assert messages(run, "data", "a.txt") == ["second", "first"]
    assert messages(run, "data", "sub") == ["first"]
    assert messages(run, "data", "sub/b.bin", "a.txt") == ["second", "first"]
    run("log", "data", "never-there", code=1)


def test_a_message_cannot_play_tricks(repository: Path, place: Path, run: Run) -> None:
    (place / "files" / "new").write_text("new")
    run("import", "files", "data", "-m", "\x1b[2J\u202eevil")
    assert "\\x1b[2J\\u202eevil" in run("log", "data", "-n", "1")
    assert log(run, "data")[0]["message"] == "\x1b[2J\u202eevil"


@pytest.mark.parametrize("command", [["log", "data@mian"], ["show", "mian", "--repo", "data"]])
def test_an_unknown_revision_names_near_ones(
    command: list[str], repository: Path, run: Run
) -> None:
    assert "main" in run(*command, code=1)


def test_an_unknown_repository_is_named(place: Path, run: Run) -> None:
    assert "nowhere" in run("log", "nowhere", code=1)


def test_branch_marks_what_the_address_means(repository: Path, run: Run) -> None:
    run("import", "files/sub", "data@feature/x", "-m", "on a branch")
    assert [line[:12] for line in run("branch", "--repo", "data").splitlines()] == [
        "  feature/x ",
        "* main      ",
    ]
    assert run("branch", "--repo", "data@feature/x").startswith("* feature/x")
    commit = log(run, "data")[0]["id"]
    assert "*" not in run("branch", "--repo", f"data@{commit}")


def test_show_writes_the_bytes_of_any_commit(repository: Path, run: Run, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    first = log(run, "data")[1]["id"]
    assert run("show", "main:a.txt", "--repo", "data") == "two\n"
    assert run("show", f"{first[:8]}:/a.txt", "--repo", "data") == "one\n"
    assert main(["show", "main:sub/b.bin", "--repo", "data"]) == 0
    assert capfdbinary.readouterr().out == bytes(range(256)) * 2000


def test_show_lists_folders_and_tells_about_commits(repository: Path, run: Run) -> None:
    assert run("show", "main:", "--repo", "data") == "a.txt\nsub/\n"
    assert json.loads(run("show", "main:sub", "--repo", "data", "--json")) == ["b.bin"]
    newest = log(run, "data")[0]
    assert json.loads(run("show", "main", "--repo", "data", "--json")) == newest
    assert run("show", "main", "--repo", "data").startswith(f"commit {newest['id']}\n")


@pytest.mark.parametrize("path", ["gone", "sub/gone", "a.txt/below"])
def test_show_of_nothing_is_exit_code_1(path: str, repository: Path, run: Run) -> None:
    run("show", f"main:{path}", "--repo", "data", code=1)


def test_fsck_of_a_sound_repository(repository: Path, run: Run) -> None:
    assert "right" in run("fsck", "data")
    assert json.loads(run("fsck", "data", "--json")) == {"path": "data", "problems": []}


def test_fsck_finds_a_changed_byte(
    repository: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    largest = max(
        (path for path in repository.rglob("*") if path.is_file() and path.suffix != ".mdb"),
        key=lambda path: path.stat().st_size,
    )
    with largest.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    capfdbinary.readouterr()
    assert main(["fsck", "data", "--json"]) == 1
    (problem,) = json.loads(capfdbinary.readouterr().out)["problems"]
    assert main(["fsck", "data"]) == 1
    assert capfdbinary.readouterr().out.decode() == f"{problem}\ndata: 1 problem\n"


def test_a_folder_goes_into_a_repository_without_branches(run: Run, place: Path) -> None:
    create_empty(place / "data").close()
    run("import", "files", "data@work", "-m", "first")
    assert messages(run, "data@work") == ["first", "Initialized repository"]
    assert run("show", "work:a.txt", "--repo", "data") == "one\n"


def test_a_repository_itself_is_not_served(repository: Path, place: Path, run: Run) -> None:
    pytest.importorskip("uvicorn")
    text = run("serve", "data", "--port", "0", code=1)
    assert f"{repository} is a repository itself" in text
    assert f"{place.parent}, which serves this one as {place.name}/data" in text
