"""The kernel's limits of a mount."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from oxenfs.mount import mountinfo, tuning

from .conftest import Sandbox

pytestmark = pytest.mark.fuse


def _limits(sandbox: Sandbox) -> tuple[str, str, str]:
    """Return read-ahead, max_background, congestion_threshold, without leaving fusectl mounted."""
    (mounted,) = mountinfo.layers(sandbox.dir)
    major, minor = mounted.device
    read_ahead = Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb").read_text().strip()
    folder = f"/sys/fs/fuse/connections/{minor}"
    script = (
        "mountpoint -q /sys/fs/fuse/connections || "
        "mount -t fusectl none /sys/fs/fuse/connections; "
        f"cat {folder}/max_background {folder}/congestion_threshold"
    )
    background, threshold = sandbox.run("unshare", "-m", "sh", "-c", script).stdout.split()
    return read_ahead, background, threshold


def test_root_raises_all_limits_before_the_mount_is_ready(sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may raise them")
    before = Path("/proc/self/mountinfo").read_text().count("fusectl")
    sandbox.start()
    assert _limits(sandbox) == ("1024", "256", "192")
    assert Path("/proc/self/mountinfo").read_text().count("fusectl") == before
    (log,) = sandbox.root.glob("state/oxenfs/log/*.log")
    assert "stays at the kernel's" not in log.read_text()


def test_an_ordinary_user_mounts_with_the_kernels_limits_and_the_log_says_so(user: Sandbox) -> None:
    told = user.start()
    log = Path(told["log"]).read_text()
    assert "read-ahead stays at the kernel's 128 KiB" in log
    assert "max_background stays at the kernel's 12" in log
    assert stat.S_IMODE(Path(told["log"]).stat().st_mode) == 0o600


def test_a_device_that_is_not_there_fails_nothing() -> None:
    said = tuning.raise_limits((0, 999_999))
    assert len(said) == 2
    assert "read-ahead" in said[0]
    assert "max_background" in said[1]
    assert tuning.background_limit((0, 999_999)) is None


def test_without_unshare_the_limits_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tuning, "_FUSECTL", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    if os.geteuid() == 0:
        assert "no unshare" in tuning.raise_limits((0, 999_999))[1]
