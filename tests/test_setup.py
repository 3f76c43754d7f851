"""The script `setup`: what it does without installing anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--help"], 0), (["nope"], 2)])
def test_setup_prints_its_usage(words: list[str], code: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "setup"), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "./setup demo" in (done.stderr if code else done.stdout)


@pytest.mark.parametrize("name", ["setup", ".ci/run"])
def test_scripts_are_executable_and_parse(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True, timeout=60)
