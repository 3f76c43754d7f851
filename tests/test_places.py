from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from oxenfs import places
from oxenfs.errors import AccessDenied, OxenfsError

ALL = [places.cache_dir, places.data_dir, places.state_dir, places.runtime_dir]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("place", ALL)
def test_each_place_is_a_private_folder_called_oxenfs(place, home: Path) -> None:  # type: ignore[no-untyped-def]
    folder = place()
    assert folder.name == "oxenfs"
    assert folder.is_dir()
    assert mode(folder) == 0o700
    assert home in folder.parents
    assert place() == folder


def test_the_places_differ() -> None:
    assert len({place() for place in ALL}) == 4


@pytest.mark.parametrize(
    ("variable", "place", "below"),
    [
        ("XDG_CACHE_HOME", places.cache_dir, ".cache/oxenfs"),
        ("XDG_DATA_HOME", places.data_dir, ".local/share/oxenfs"),
        ("XDG_STATE_HOME", places.state_dir, ".local/state/oxenfs"),
        ("XDG_RUNTIME_DIR", places.runtime_dir, ".local/state/oxenfs"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "relative/path"])
def test_without_a_usable_variable_the_default_is_below_home(  # type: ignore[no-untyped-def]
    variable: str, place, below: str, value: str | None, home, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    assert place() == home / below


def test_missing_parents_are_private_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a" / "b"))
    assert mode(places.cache_dir()) == 0o700
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_wide_folder_is_narrowed(home: Path) -> None:
    folder = home / ".cache" / "oxenfs"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert places.cache_dir() == folder
    assert mode(folder) == 0o700


def test_a_runtime_folder_that_is_gone_gives_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert places.runtime_dir() == places.state_dir()
    assert not (tmp_path / "gone").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_runtime_folder_of_another_user_gives_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, 65534, -1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert places.runtime_dir() == places.state_dir()
    assert not (tmp_path / "oxenfs").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_refused(home: Path) -> None:
    folder = home / ".cache" / "oxenfs"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    with pytest.raises(AccessDenied, match="belongs to user 65534"):
        places.cache_dir()


def test_a_link_to_a_folder_of_ours_is_followed(home: Path, tmp_path: Path) -> None:
    (home / ".cache" / "oxenfs").symlink_to(tmp_path)
    assert places.cache_dir().resolve() == tmp_path
    assert mode(tmp_path) == 0o700


def test_a_dangling_link_is_an_error_of_ours(home: Path) -> None:
    (home / ".cache" / "oxenfs").symlink_to(home / "nowhere")
    with pytest.raises(OxenfsError, match="oxenfs"):
        places.cache_dir()


@pytest.mark.parametrize("blocked", [".cache", ".cache/oxenfs"])
def test_a_file_in_the_way_is_named(
    blocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("in the way")
    with pytest.raises(OxenfsError, match="not a folder"):
        places.cache_dir()
