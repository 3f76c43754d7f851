"""The wheel and the source distribution: what is in them, and that they install and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import oxenfs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a checkout holds, with some of what must not be packed."""
    folder = tmp_path_factory.mktemp("source") / "oxenfs"
    folder.mkdir()
    for name in ("oxenfs", "cli", "tests", "docs", "benchmarks", ".ci"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)
    for left in (".venv/lib/x.py", ".mypy_cache/x.json", "oxenfs/__pycache__/x.pyc", "scratch/x"):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).write_text("left behind")
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, made from the source distribution as an index would get both, and that one."""
    folder = tmp_path_factory.mktemp("built")
    # No isolation: hatchling is in the dev extra, so that nothing is downloaded.
    call = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def python_files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root.parent))
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_our_two_packages_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    ours = python_files(ROOT / "oxenfs") | python_files(ROOT / "cli" / "oxenfs_cli")
    assert names == ours


def test_the_sdist_has_sources_tests_and_setup_and_nothing_left_behind(
    built: tuple[Path, Path],
) -> None:
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for wanted in ("pyproject.toml", "setup", "README.md", "CHANGELOG.md", "tests/conftest.py"):
        assert wanted in names
    assert "cli/oxenfs_cli/main.py" in names
    tops = {name.partition("/")[0] for name in names}
    assert tops.isdisjoint({".venv", ".git", ".mypy_cache", "scratch"})
    assert not any("__pycache__" in name for name in names)


@pytest.fixture(scope="module")
def clean(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it and, beside it, only the libraries it depends on."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    call = [sys.executable, "-m", "pip", f"--python={folder}/bin/python", "install", "-q"]
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", str(built[0])]
    subprocess.run([*call, *offline], check=True, timeout=120)
    # The libraries of the environment that runs the tests, without its .pth files: with those
    # an editable oxenfs would come along.
    libraries = sysconfig.get_paths()["purelib"]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    (site / "libraries.pth").write_text(f"{libraries}\n")
    return folder


def run(clean: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(clean / "bin" / words[0]), *words[1:]],
        cwd=clean,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_runs_in_a_clean_environment(clean: Path) -> None:
    where = run(clean, "python", "-c", "import oxenfs; print(oxenfs.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(clean), where
    done = run(clean, "oxenfs", "--help")
    assert done.returncode == 0, done.stderr
    assert "mount" in done.stdout
    assert run(clean, "oxenfs", "--version").stdout == f"oxenfs {oxenfs.__version__}\n"


def test_the_wheels_commands_work_on_a_repository(clean: Path) -> None:
    assert run(clean, "oxenfs", "init", "data").returncode == 0
    done = run(clean, "oxenfs", "log", "data", "--json")
    assert done.returncode == 0, done.stderr
    assert '"parents": []' in done.stdout


def test_the_wheel_has_the_script_oxen(clean: Path) -> None:
    assert run(clean, "oxen", "mounts", "--help").returncode == 0


def test_the_versions_agree(built: tuple[Path, Path]) -> None:
    assert built[0].name.startswith(f"oxenfs-{oxenfs.__version__}-py3-none-any")
