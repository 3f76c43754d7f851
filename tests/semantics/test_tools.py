"""Everyday programs see in a mount what was imported."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .mounted import Mounted

pytestmark = pytest.mark.fuse


def run(*words: str | Path, cwd: Path | None = None) -> bytes:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert done.stderr == b""
    return done.stdout


def facts(folder: Path) -> dict[bytes, tuple[bool, int, int, bytes]]:
    """Return kind, size, time (of files) and content of everything below a folder, by path."""
    found = {}
    top = os.fsencode(folder)
    for here, folders, files in os.walk(top):
        for name in folders:
            path = os.path.join(here, name)  # noqa: PTH118
            found[os.path.relpath(path, top)] = (True, 0, 0, b"")
        for name in files:
            path = os.path.join(here, name)  # noqa: PTH118
            status = os.stat(path)  # noqa: PTH116
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, top)] = (
                    False,
                    status.st_size,
                    status.st_mtime_ns,
                    file.read(),
                )
    return found


def test_names_sizes_times_and_bytes_are_the_originals(mount: Mounted, source: Path) -> None:
    assert facts(mount.dir) == facts(source)


def test_diff_finds_no_difference(mount: Mounted, source: Path) -> None:
    assert run("diff", "-r", source, mount.dir) == b""


def test_find_finds_the_same_paths_sizes_and_kinds(mount: Mounted, source: Path) -> None:
    shown = ["-mindepth", "1", "-type", "f", "-printf", r"%P %s %T@\0"]
    assert sorted(run("find", mount.dir, *shown).split(b"\0")) == sorted(
        run("find", source, *shown).split(b"\0")
    )
    shown = ["-mindepth", "1", "-printf", r"%P %y\0"]
    assert sorted(run("find", mount.dir, *shown).split(b"\0")) == sorted(
        run("find", source, *shown).split(b"\0")
    )


def test_ls_lists_the_same(mount: Mounted, source: Path) -> None:
    assert run("ls", "-1AR", "--quoting-style=c", ".", cwd=mount.dir) == run(
        "ls", "-1AR", "--quoting-style=c", ".", cwd=source
    )
    assert run("ls", "-lR", mount.dir).count(b"\n") == run("ls", "-lR", source).count(b"\n")


def test_du_counts_the_same_bytes(mount: Mounted, source: Path) -> None:
    def total(folder: Path) -> int:
        files = run("find", folder, "-type", "f", "-print0")
        assert files
        done = subprocess.run(
            ["du", "-bc", "--files0-from=-"], input=files, capture_output=True, check=True
        )
        return int(done.stdout.splitlines()[-1].split()[0])

    assert total(mount.dir) == total(source)
    blocks = int(run("du", "-s", "--block-size=1", mount.dir).split()[0])
    assert total(source) <= blocks <= total(source) + 512 * 600


def test_cp_copies_everything(mount: Mounted, source: Path, tmp_path: Path) -> None:
    run("cp", "-r", "--preserve=timestamps", mount.dir, tmp_path / "copy")
    assert facts(tmp_path / "copy") == facts(source)


@pytest.mark.skipif(not Path("/usr/bin/rsync").exists(), reason="no rsync")
def test_rsync_copies_everything_and_then_nothing(
    mount: Mounted, source: Path, tmp_path: Path
) -> None:
    run("rsync", "-a", f"{mount.dir}/", tmp_path / "copy/")
    assert facts(tmp_path / "copy") == facts(source)
    assert run("rsync", "-ai", f"{mount.dir}/", tmp_path / "copy/") == b""
    # Against the originals: modes differ, contents by checksum do not.
    assert run("rsync", "-rnic", "--delete", f"{mount.dir}/", f"{source}/") == b""


def test_tar_packs_everything(mount: Mounted, source: Path, tmp_path: Path) -> None:
    run("tar", "--format=pax", "-C", mount.dir, "-cf", tmp_path / "all.tar", ".")
    (tmp_path / "out").mkdir()
    # It warns of times that lie in the future, as one of the samples' does.
    run("tar", "--warning=no-timestamp", "-C", tmp_path / "out", "-xf", tmp_path / "all.tar")
    assert facts(tmp_path / "out") == facts(source)


def test_a_script_does_not_run_from_a_mount_but_can_be_read(mount: Mounted) -> None:
    script = mount.dir / "run.sh"
    with pytest.raises(PermissionError):
        subprocess.run([script], check=False)
    assert run("sh", script) == b"ran\n"
