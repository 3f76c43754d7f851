"""The commands on a repository on a server, run as a script would."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from remote.http import serving

from oxenfs.address import Hosted
from oxenfs_cli.server_options import seconds

from .conftest import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    with serving.ours(tmp_path_factory.mktemp("served")) as started:
        yield started


@pytest.fixture
def repo(server: serving.Server) -> str:
    """The address of a repository with an empty commit on `main`."""
    remote = server.remote()
    remote.close()
    return remote.address


@pytest.fixture
def files(place: Path) -> Path:
    """A folder to import, with a file that is sent in parts."""
    (place / "files" / "sub" / "b.bin").write_bytes(bytes(range(256)) * 40_000)
    return place / "files"


def messages(run: Run, *words: str) -> list[str]:
    commits: list[dict[str, Any]] = json.loads(run("log", *words, "--json"))
    return [commit["message"] for commit in commits]


def test_a_folder_goes_to_a_server_and_is_shown_from_there(
    run: Run, repo: str, files: Path
) -> None:
    said = json.loads(run("import", "files", repo, "-m", "first", "--json"))
    assert (said["branch"], said["files"], said["uploaded_files"]) == ("main", 2, 2)
    assert said["uploaded_bytes"] == 4 + 256 * 40_000
    assert run("show", "main:a.txt", "--repo", repo) == "one\n"
    assert run("show", "main:", "--repo", repo) == "a.txt\nsub/\n"
    assert "author Ada <ada@x>" in run("show", said["commit"][:8], "--repo", repo)
    (files / "a.txt").write_bytes(b"two\n")
    text = run("import", "files", f"{repo}@feature/x", "-m", "second")
    commit = text.split()[-1]
    assert messages(run, f"{repo}@feature/x")[:2] == ["second", "first"]
    assert messages(run, f"{repo}@feature/x", "sub") == ["first"]
    assert messages(run, f"{repo}@{commit}", "a.txt") == ["second", "first"]
    branches = json.loads(run("branch", "--repo", f"{repo}@feature/x", "--json"))
    assert [(b["name"], b["current"]) for b in branches] == [("feature/x", True), ("main", False)]
    assert run("show", "feature/x:a.txt", "--repo", repo) == "two\n"


@pytest.mark.parametrize(("rev", "branch"), [("", "main"), ("@main", "main"), ("@a/b", "a/b")])
def test_a_folder_goes_into_a_repository_without_branches(
    run: Run, server: serving.Server, files: Path, rev: str, branch: str
) -> None:
    repo = str(server.create())
    said = json.loads(run("import", "files", repo + rev, "-m", "first", "--json"))
    assert (said["branch"], said["files"]) == (branch, 2)
    assert messages(run, f"{repo}@{branch}")[0] == "first"
    assert run("show", f"{branch}:a.txt", "--repo", repo) == "one\n"


def test_importing_the_same_again_commits_nothing(run: Run, repo: str, files: Path) -> None:
    run("import", "files", repo, "-m", "first")
    assert "has all of this already" in run("import", "files", repo, "-m", "again", code=4)
    (files / "a.txt").unlink()
    (files / "moved").write_bytes(b"one\n")
    said = json.loads(run("import", "files", repo, "--delete", "-m", "moved", "--json"))
    assert (said["files"], said["uploaded_files"], said["uploaded_bytes"]) == (2, 0, 0)
    assert run("show", "main:", "--repo", repo) == "moved\nsub/\n"


def test_an_empty_folder_is_named(run: Run, repo: str, files: Path) -> None:
    (files / "empty").mkdir()
    assert "'empty' is empty" in run("import", "files", repo, "-m", "m", code=1)
    assert run("show", "main:", "--repo", repo) == ""


def test_a_revision_that_is_not_there_names_near_ones(run: Run, repo: str) -> None:
    assert "there is main" in run("log", f"{repo}@mian", code=1)
    assert repo in run("log", f"{repo}@mian", code=1)


@pytest.mark.parametrize("command", ["log", "branch", "show", "import", "mount"])
def test_a_repository_that_is_not_there_is_named(
    run: Run, server: serving.Server, files: Path, tmp_path: Path, command: str
) -> None:
    repo = str(Hosted("http", server.host, "ns", "nothing"))
    (tmp_path / "mnt").mkdir()
    said = run(*_words(command, repo), code=1)
    assert f"no repository {repo}" in said


@pytest.mark.parametrize("command", ["log", "branch", "show", "import", "mount"])
def test_a_server_that_does_not_run_is_named(
    run: Run, files: Path, tmp_path: Path, command: str
) -> None:
    host = f"127.0.0.1:{serving.free_port()}"
    (tmp_path / "mnt").mkdir()
    said = run(*_words(command, f"http://{host}/ns/name"), code=1)
    assert f"{host} refused the connection: is a server running there?" in said


@pytest.mark.parametrize("command", ["log", "branch", "show", "import", "mount"])
def test_a_token_is_not_sent_in_the_clear_unless_told(
    run: Run,
    home: Path,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Nobody outside of this machine is asked.
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    host = "server.invalid:3000"
    config = home / ".config" / "oxen" / "auth_config.toml"
    config.write_text(f'[[host_configs]]\nhost = "{host}"\nauth_token = "s3cret"\n')
    (tmp_path / "mnt").mkdir()
    words = _words(command, f"http://{host}/ns/name")
    said = run(*words, code=2)
    assert host in said
    assert "--insecure" in said
    said = run(*words, "--insecure", code=1)
    assert f"there is no host {host}" in said
    assert "s3cret" not in said


def _words(command: str, repo: str) -> list[str]:
    return {
        "log": ["log", repo],
        "branch": ["branch", "--repo", repo],
        "show": ["show", "main", "--repo", repo],
        "import": ["import", "files", repo, "-m", "m"],
        "mount": ["mount", repo, "mnt"],
    }[command]


@pytest.mark.parametrize(
    ("text", "value"),
    [("30", 30.0), ("30s", 30.0), ("0.5", 0.5), ("0.25 s", 0.25), ("86400", 86400)],
)
def test_a_timeout_is_seconds(text: str, value: float) -> None:
    context = click.Context(click.Command("mount"))
    assert seconds(context, click.Option(["--timeout"]), text) == value


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "1m", "s", "1e3", "inf", "nan", "1000000"])
def test_what_is_no_timeout_is_a_usage_error(run: Run, tmp_path: Path, text: str) -> None:
    said = run("mount", "--timeout", text, "x/y", str(tmp_path), code=2)
    assert "write seconds" in said
