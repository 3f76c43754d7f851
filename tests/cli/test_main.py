from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from repositories import commit, make_repository

from oxenfs.errors import Conflict, IntegrityError, NothingToPublish, OxenfsError, UsageError
from oxenfs_cli import main


def raising(exc: BaseException) -> click.Command:
    @click.command
    def command() -> None:
        raise exc

    return command


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Give what makes a command `fails` that raises, runs it and returns the exit code."""

    def run(exc: BaseException) -> int:
        module = type(sys)("oxenfs_cli.fails_for_test")
        module.command = raising(exc)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "oxenfs_cli.fails_for_test", module)
        monkeypatch.setitem(main.COMMANDS, "fails", ("fails_for_test", "Fail."))
        return main.main(["fails"])

    return run


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (OxenfsError("what"), 1),
        (IntegrityError("what"), 1),
        (UsageError("what"), 2),
        (Conflict("what", (b"path",)), 3),
        (NothingToPublish("what"), 4),
        (click.UsageError("what"), 2),
    ],
)
def test_our_errors_are_one_line_and_a_code(exc, code, fails, capsys) -> None:  # type: ignore[no-untyped-def]
    assert fails(exc) == code
    captured = capsys.readouterr()
    assert captured.err == "oxenfs: what\n"
    assert captured.out == ""


def test_an_error_cannot_play_tricks(fails, capsys) -> None:  # type: ignore[no-untyped-def]
    assert fails(OxenfsError("no such name: a\n\x1b[2Jb")) == 1
    assert capsys.readouterr().err == "oxenfs: no such name: a\\n\\x1b[2Jb\n"


def test_an_unexpected_error_says_where_its_traceback_is(fails, capsys, home) -> None:  # type: ignore[no-untyped-def]
    assert fails(KeyError("lost")) == 1
    error = capsys.readouterr().err
    kept = home / ".local" / "state" / "oxenfs" / "last-error.txt"
    assert error.startswith("oxenfs: internal error: KeyError: 'lost'")
    assert error.count("\n") == 1
    assert str(kept) in error
    assert "Traceback" in kept.read_text()


def test_an_unexpected_error_is_raised_for_debugging(fails, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OXENFS_DEBUG", "1")
    with pytest.raises(KeyError, match="lost"):
        fails(KeyError("lost"))


def test_interruption_is_130(fails, capsys) -> None:  # type: ignore[no-untyped-def]
    assert fails(KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == (0 if words else 2)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    for name, (_, line) in main.COMMANDS.items():
        assert f"\n  {name} " in text
        assert line in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import oxenfs

    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"oxenfs {oxenfs.__version__}\n"


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_in_the_table_exists_and_has_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([name, "--help"]) == 0
    assert f"Usage: oxenfs {name}" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["nope"]) == 2
    assert "nope" in capsys.readouterr().err


def run(*words: str, **options) -> subprocess.Popen[bytes]:  # type: ignore[no-untyped-def]
    call = [sys.executable, "-m", "oxenfs_cli", *words]
    return subprocess.Popen(call, stderr=subprocess.PIPE, **options)


def test_a_reader_that_goes_away_is_not_complained_about() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = run("--help", stdout=writing)
    os.close(writing)
    _, error = process.communicate(timeout=30)
    assert error == b""
    assert process.returncode == 1


def test_a_closed_stdout_does_not_hide_the_exit_code(tmp_path: Path) -> None:
    process = run("log", stdout=subprocess.DEVNULL, cwd=tmp_path)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert b"does not lie in a mount" in error


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose log is longer than any buffer, with a large file."""
    remote = make_repository(tmp_path / "data", {b"big": bytes(1 << 20)})
    for number in range(20):
        commit(remote, {b"a": b"%d" % number}, message="long" * 250)
    remote.close()
    return tmp_path / "data"


@pytest.mark.parametrize(
    "words", [["log", "--json"], ["branch", "--repo"], ["show", "main:big", "--repo"], ["--help"]]
)
@pytest.mark.parametrize("where", ["full", "closed", "gone"])
def test_what_cannot_be_written_is_said_in_one_line(
    repository: Path, words: list[str], where: str
) -> None:
    words = words if words == ["--help"] else [*words, str(repository)]
    if where == "closed":
        process = run(*words, preexec_fn=lambda: os.close(1))
        reason = b"it is closed"
    elif where == "full":
        with Path("/dev/full").open("wb") as full:
            process = run(*words, stdout=full)
        reason = b"No space left on device"
    else:
        reading, writing = os.pipe()
        os.close(reading)
        process = run(*words, stdout=writing)
        os.close(writing)
        reason = b""
    _, error = process.communicate(timeout=30)
    assert error == (b"oxenfs: cannot write the output: %s\n" % reason if reason else b"")
    assert process.returncode == 1


def test_closed_streams_hide_no_exit_code(repository: Path, tmp_path: Path) -> None:
    def close() -> None:
        os.closerange(0, 3)

    for words, code in ((["init", "new"], 1), (["fsck", "nosuch"], 2)):
        process = run(*words, preexec_fn=close, cwd=tmp_path)
        process.communicate(timeout=30)
        assert process.returncode == code
    assert (tmp_path / "new").is_dir()


def test_the_error_of_a_file_is_not_one_of_the_output(fails, capsys) -> None:  # type: ignore[no-untyped-def]
    assert fails(OSError(28, "No space left on device")) == 1
    assert "internal error: OSError" in capsys.readouterr().err
