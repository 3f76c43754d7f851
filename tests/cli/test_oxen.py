"""The console script `oxen`: which calls are ours, and who gets the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oxenfs.mount import mountinfo
from oxenfs_cli import oxen

FAKE = """#!/bin/sh
printf 'official'
for word in "$@"; do printf ' <%s>' "$word"; done
exit 7
"""


def program(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "oxen"
    path.write_text(text)
    path.chmod(0o755)
    return path


def ours(folder: Path) -> Path:
    """Make the console script as an installation has it, in `folder`."""
    return program(
        folder,
        f"#!{sys.executable}\nimport sys\nfrom oxenfs_cli.oxen import main\nsys.exit(main())\n",
    )


def call(script: Path, *words: str, path: list[Path | str]) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([*map(str, path), "/usr/bin", "/bin"])
    environment = {**os.environ, "PATH": search}
    return subprocess.run(
        [str(script), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_other_calls_become_the_official_client_with_their_words(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "official", FAKE)
    done = call(script, "push", "a b", "*", "", path=[tmp_path / "ours", tmp_path / "official"])
    assert done.stdout == "official <push> <a b> <*> <>"
    assert done.returncode == 7


@pytest.mark.parametrize("words", [[], ["--help"], ["status"], ["commit", "-m", "x"], ["log"]])
def test_without_a_mount_the_official_client_gets_shared_commands(
    words: list[str], tmp_path: Path
) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "official", FAKE)
    done = call(script, *words, path=[tmp_path / "ours", tmp_path / "official"])
    assert done.stdout.startswith("official")


def test_mount_commands_are_always_ours(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "official", FAKE)
    for name in ("mount", "umount", "mounts"):
        done = call(script, name, "--help", path=[tmp_path / "official"])
        assert "Usage: oxenfs" in done.stdout
        assert done.returncode == 0


def test_without_an_official_client_it_says_how_to_get_one(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    done = call(script, "push", path=[tmp_path / "ours"])
    assert done.returncode == 1
    assert "docs.oxen.ai" in done.stderr
    assert done.stderr.count("\n") == 1


def test_never_ourselves_by_another_name(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "oxen").symlink_to(script)
    (tmp_path / "linked").symlink_to(tmp_path / "ours")
    ours(tmp_path / "second")
    places: list[Path | str] = [tmp_path / name for name in ("ours", "link", "linked", "second")]
    done = call(script, "push", path=places)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no official oxen client" in done.stderr
    program(tmp_path / "official", FAKE)
    done = call(script, "push", path=[*places, tmp_path / "official"])
    assert done.stdout == "official <push>"


@pytest.mark.parametrize("how", ["exec oxen", "oxen"])
def test_a_wrapper_that_leads_back_is_found_out(how: str, tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    wrapper = program(tmp_path / "wrapper", f'#!/bin/sh\n{how} "$@"\n')
    done = call(script, "push", path=[tmp_path / "ours", tmp_path / "wrapper"])
    assert done.returncode == 1
    assert f"{wrapper} only leads back here" in done.stderr


def test_an_official_client_may_call_oxen_itself(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "official", '#!/bin/sh\n[ "$1" = push ] && oxen add\necho "did $1"\n')
    done = call(script, "push", path=[tmp_path / "ours", tmp_path / "official"])
    assert done.stdout == "did add\ndid push\n"


def test_what_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "plain", FAKE).chmod(0o644)
    (tmp_path / "folder" / "oxen").mkdir(parents=True)
    program(tmp_path / "official", FAKE)
    places: list[Path | str] = [tmp_path / "plain", tmp_path / "folder", tmp_path / "official"]
    assert call(script, "push", path=places).stdout == "official <push>"


def test_the_current_folder_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ours(tmp_path / "ours")
    program(tmp_path / "here", FAKE)
    monkeypatch.chdir(tmp_path / "here")
    done = call(script, "push", path=["", "."])
    assert (done.returncode, done.stdout) == (1, "")


def test_a_program_that_does_not_start_is_named(tmp_path: Path) -> None:
    script = ours(tmp_path / "ours")
    bad = program(tmp_path / "bad", "#!/no/such/interpreter\n")
    done = call(script, "push", path=[tmp_path / "bad"])
    assert done.returncode == 1
    assert f"cannot run {bad}" in done.stderr


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the kernel's table, as far as we see it, has as a mount of ours."""
    path = tmp_path / "mnt"
    (path / "sub").mkdir(parents=True)
    text = mountinfo.read()
    line = f"999 1 0:99 / {path} ro - {mountinfo.FS_TYPE} /data@main ro,user_id=0".encode()
    (fake,) = mountinfo.read(line)
    monkeypatch.setattr(mountinfo, "read", lambda table=None: [*text, fake])
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize(
    ("words", "is_ours"),
    [
        (["status"], False),
        (["status", "mnt"], True),
        (["status", "./mnt/"], True),
        (["status", "mnt/sub"], False),
        (["-C", "mnt", "status"], False),
        (["status", "-C", "mnt"], True),
        (["status", "-Cmnt/sub"], True),
        (["status", "-C", "."], False),
        (["commit", "-m", "mnt"], False),
        (["commit", "mnt", "-m", "x"], True),
        (["commit", "-m", "x", "mnt"], True),
        (["log", "--", "mnt"], True),
        (["push", "mnt"], False),
        (["mount"], True),
        ([], False),
    ],
)
@pytest.mark.usefixtures("mount")
def test_a_shared_command_is_ours_when_it_concerns_a_mount(words: list[str], is_ours: bool) -> None:
    assert oxen.is_ours(words) is is_ours


@pytest.mark.parametrize("name", sorted(oxen.SHARED))
def test_inside_a_mount_shared_commands_are_ours(
    name: str, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mount / "sub")
    assert oxen.is_ours([name])
    assert not oxen.is_ours([name, "-C", "/"])
    assert not oxen.is_ours(["push"])
