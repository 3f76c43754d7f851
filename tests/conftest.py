"""Fixtures for every test: nothing of the user's own configuration, caches or mounts is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long drawing an example takes says something about the machine, and nothing about the code.
settings.register_profile("oxenfs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oxenfs")

_XDG = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": "run",
}
_OURS = ("OXENFS_TOKEN_FILE", "OXENFS_TOKEN_HOST", "OXENFS_DEBUG", "OXENFS_EXEC_GUARD")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the long runs be longer."""
    parser.addoption(
        "--chaos-reads",
        type=int,
        default=100_000,
        help="reads over a bad network (tests/chaos; default: 100000; the long run: 1000000)",
    )
    parser.addoption(
        "--full-size",
        action="store_true",
        help="amounts as they are promised (5 GB, 200,000 files, 50 rounds), not small ones",
    )


@pytest.fixture(scope="session")
def full_size(request: pytest.FixtureRequest) -> bool:
    """Whether to take the promised amounts, which need minutes and gigabytes."""
    return bool(request.config.getoption("--full-size"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder that every XDG place and the client's configuration are in.

    Not below `tmp_path`: tests list that. Short, because sockets lie in it (108 bytes at most).
    """
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    for variable, below in _XDG.items():
        place = folder / below
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o700)
        monkeypatch.setenv(variable, str(place))
    monkeypatch.setenv("OXEN_CONFIG_DIR", str(folder / ".config" / "oxen"))
    for variable in _OURS:
        monkeypatch.delenv(variable, raising=False)
    return folder


def fuse_missing() -> str | None:
    """Return why nothing can be mounted here, None when it can."""
    if shutil.which("fusermount3") is None:
        return "no fusermount3 (apt-get install fuse3)"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as exc:
        return f"/dev/fuse: {exc.strerror}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs to mount where that is impossible, and say why."""
    if item.get_closest_marker("fuse") is not None and (reason := fuse_missing()) is not None:
        pytest.skip(reason)
