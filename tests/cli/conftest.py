"""Commands run in this process, as a script would run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oxenfs_cli.main import main

Run = Callable[..., str]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command, check its exit code, and return stdout; of a failed one: stderr."""

    def run(*words: str, code: int = 0) -> str:
        capfdbinary.readouterr()
        got = main(words)
        out, err = capfdbinary.readouterr()
        assert got == code, err.decode()
        if code == 0:
            return out.decode()
        assert err.startswith(b"oxenfs: ")
        assert err.count(b"\n") == 1
        return err.decode()

    return run


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `files` to import; Ada commits."""
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "a.txt").write_bytes(b"one\n")
    (tmp_path / "files" / "sub" / "b.bin").write_bytes(bytes(range(256)) * 2000)
    config = home / ".config" / "oxen"
    config.mkdir()
    (config / "user_config.toml").write_text('name = "Ada"\nemail = "ada@x"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path
