"""What doctor finds, with things taken away."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from oxenfs.mount import doctor
from oxenfs.mount.doctor import Check

from .conftest import ROOT, Sandbox


def _check(name: str) -> Check:
    return next(check for check in doctor.checks() if check.name == name)


def test_nothing_heavy_is_imported_for_it() -> None:
    script = "import sys, oxenfs.mount.doctor; print({'pyfuse3', 'trio', 'lmdb'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.fuse
def test_where_mounts_work_nothing_needed_is_missing() -> None:
    found = doctor.checks()
    assert doctor.can_mount(found), [check for check in found if not check.ok]
    assert all(check.fix is None for check in found if check.ok)


def test_a_missing_device_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "fuse"
    monkeypatch.setattr(doctor, "_DEVICE", device)
    check = _check(str(device))
    assert (check.ok, check.needed) == (False, True)
    assert check.fix is not None
    assert "modprobe fuse" in check.fix
    assert not doctor.can_mount(doctor.checks())


def test_a_missing_module_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str) -> ModuleType:
        if name in ("pyfuse3", "av"):
            raise ImportError("libfuse3.so.3: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    check = _check("python module pyfuse3")
    assert (check.ok, check.needed) == (False, True)
    assert "libfuse3.so.3" in check.detail
    assert check.fix is not None
    assert "pip install pyfuse3" in check.fix
    assert _check("python module av").needed is False


def test_a_missing_fusermount_matters_to_ordinary_users_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    for user, needed in ((0, False), (1000, True)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        check = doctor._fusermount()
        assert (check.ok, check.needed) == (False, needed)
        assert check.fix == "sudo apt install fuse3"


def test_a_fusermount_that_is_not_setuid_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "fusermount3"
    program.touch(mode=0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check = doctor._fusermount()
    assert (check.ok, check.needed) == (False, True)
    assert check.fix is not None
    assert f"chmod u+s {program}" in check.fix


def test_allow_other_reads_fuse_conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conf = tmp_path / "fuse.conf"
    monkeypatch.setattr(doctor, "_FUSE_CONF", conf)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert doctor._allow_other().ok is False
    conf.write_text("#user_allow_other\n")
    assert doctor._allow_other().ok is False
    conf.write_text("mount_max = 5\nuser_allow_other \n")
    assert doctor._allow_other().ok is True


def test_other_kernels_and_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "3.2.0-4-amd64")
    assert (doctor._kernel().ok, doctor._kernel().needed) == (False, True)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert (doctor._kernel().ok, doctor._kernel().needed) == (False, True)


def test_a_full_disk_under_the_cache_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SPACE_BYTES_MIN", 2**80)
    check = _check("cache folder")
    assert (check.ok, check.needed) == (False, False)


def test_a_cache_folder_in_the_way_is_told(home: Path) -> None:
    (home / ".cache" / "oxenfs").touch()
    check = _check("cache folder")
    assert (check.ok, check.needed) == (False, True)


@pytest.mark.fuse
def test_the_command_exits_with_what_it_finds(user: Sandbox) -> None:
    done = user.oxenfs("doctor", "--json")
    assert done.returncode == 0, done.stdout
    rows = json.loads(done.stdout)
    assert all({"name", "ok", "needed", "detail", "fix"} == row.keys() for row in rows)
    Path("/dev/fuse").chmod(0o600)
    done = user.oxenfs("doctor")
    assert done.returncode == 1
    assert "MISSING  /dev/fuse" in done.stdout
    assert "sudo chmod 666 /dev/fuse" in done.stdout
