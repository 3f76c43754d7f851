"""Bytes that change on the way, where only the hash of a whole file can tell."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.http import serving
from repositories import MIB, noise
from semantics.mounted import Mounted, until

from .conftest import drop_pages, mounted
from .faults import Between, Fault, chaos
from .files import Files, import_into

pytestmark = pytest.mark.fuse

FILES: Files = {f"{name}.bin": noise(6 * MIB + 11, name) for name in "abc"}
ONCE = Fault("flip", kinds=("GET chunk",), most=1)
ALWAYS = Fault("flip", kinds=("GET chunk",))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("damage")
    import_into(folder / "ns" / "files", FILES)
    with serving.ours(folder) as server:
        yield server.host


@pytest.fixture
def between(host: str) -> Iterator[Between]:
    with chaos(host) as running:
        yield running


def read(mount: Mounted, name: str) -> bytes | None:
    """Return a whole file, asked of the daemon anew; None for EIO."""
    fd = os.open(mount.dir / name, os.O_RDONLY)
    try:
        drop_pages(fd)
        parts = []
        while part := os.read(fd, MIB):
            parts.append(part)
        return b"".join(parts)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        return None
    finally:
        os.close(fd)


@pytest.mark.parametrize("fault", [ONCE, ALWAYS], ids=["once", "always"])
def test_with_verify_full_not_one_wrong_byte_is_handed_out(
    between: Between, tmp_path: Path, fault: Fault
) -> None:
    address = f"http://{between.host}/ns/files@main"
    with mounted(tmp_path, address, timeout_s=10, words=("--verify", "full")) as mount:
        between.play(fault)
        first = read(mount, "a.bin")
        assert between.fired("flip")
        assert first in (None, FILES["a.bin"])
        if fault is ALWAYS:
            assert first is None
            assert reason(mount, "a.bin")
        between.calm()
        until(lambda: read(mount, "b.bin") == FILES["b.bin"], "others are read")


def test_a_flip_in_a_range_is_found_when_the_file_is_complete(
    between: Between, tmp_path: Path
) -> None:
    address = f"http://{between.host}/ns/files@main"
    with mounted(tmp_path, address, timeout_s=10) as mount:
        between.play(ONCE)
        read(mount, "a.bin")
        assert between.fired("flip") == 1
        # Dropped and fetched again: from now on it is right, and nobody has to remount.
        until(lambda: read(mount, "a.bin") == FILES["a.bin"], "the damage is healed")
    asked = len(between.asked())
    with mounted(tmp_path / "again", address, timeout_s=10) as mount:
        assert read(mount, "a.bin") == FILES["a.bin"]
    assert len(between.asked()) > asked


def test_a_server_that_always_damages_a_file_is_an_error_with_a_reason(
    between: Between, tmp_path: Path
) -> None:
    address = f"http://{between.host}/ns/files@main"
    with mounted(tmp_path, address, timeout_s=10) as mount:
        between.play(ALWAYS)
        until(lambda: read(mount, "c.bin") is None, "it is given up")
        assert read(mount, "c.bin") is None
        assert reason(mount, "c.bin")


def reason(mount: Mounted, name: str) -> bytes:
    return os.getxattr(mount.dir / name, "user.oxenfs.error")
