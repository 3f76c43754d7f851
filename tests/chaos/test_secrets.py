"""The token goes to its server and nowhere else: no log, no cache, no argument, no error."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.http import serving
from repositories import KIB, MIB, noise
from semantics.mounted import Mounted, until
from serving import running

from .conftest import mounted
from .faults import Between, Fault, chaos
from .files import Files, import_into

pytestmark = pytest.mark.fuse

TOKEN = "sEcReT-t0ken-7b1f"
FILES: Files = {"d/0.bin": noise(20 * KIB, 0)} | {
    f"large/{n}.bin": noise(2 * MIB, n) for n in range(1, 9)
}
REDIRECTS = ("GET chunk", "QUERY versions")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Between, Between]]:
    """A server that asks for a token, behind a proxy; and one that is another host."""
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    import_into(tmp_path / "served" / "ns" / "files", FILES)
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    with (
        running(tmp_path / "served", "--token-file", str(tmp_path / "token")) as server,
        chaos(server.host) as between,
        chaos(server.host) as other,
    ):
        yield between, other


def grep(folder: Path, what: bytes) -> list[Path]:
    """Return the files below a folder that contain `what`, in their bytes or their names."""
    found = [path for path in folder.rglob("*") if what.decode() in path.name]
    files = (path for path in folder.rglob("*") if path.is_file())
    return found + [path for path in files if what in path.read_bytes()]


def family(pid: int) -> list[int]:
    below = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(each for child in below for each in family(child))]


def try_to_read(mount: Mounted, name: str) -> None:
    with contextlib.suppress(OSError):
        (mount.dir / name).read_bytes()


def test_the_token_is_in_no_log_argument_error_cache_file_or_redirect(
    places: tuple[Between, Between], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between, other = places
    secret = tmp_path / "token"
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(secret))
    monkeypatch.setenv("OXENFS_TOKEN_HOST", between.host)
    monkeypatch.setenv("OXENFS_DEBUG", "1")
    address = f"http://{between.host}/ns/files@main"
    home = tmp_path / "mounting"
    with pytest.MonkeyPatch.context() as patch:
        original = Mounted.popen

        def with_token(mount: Mounted, *words: str) -> subprocess.Popen[str]:
            mount.environment |= {
                name: value for name, value in os.environ.items() if name.startswith("OXENFS_")
            }
            return original(mount, *words)

        patch.setattr(Mounted, "popen", with_token)
        with mounted(home, address, timeout_s=2) as mount:
            assert (mount.dir / "d/0.bin").read_bytes() == FILES["d/0.bin"]
            faults = (
                Fault("status", status=401, kinds=REDIRECTS),
                Fault("status", status=403, kinds=REDIRECTS),
                Fault("status", status=500, kinds=REDIRECTS),
                Fault("status", status=302, kinds=REDIRECTS, location=f"http://{other.host}/x"),
                Fault("status", status=307, kinds=REDIRECTS, location=f"http://{other.host}/x"),
                Fault("status", status=400, kinds=REDIRECTS, body=f"<title>you said {TOKEN}"),
                Fault("truncate", kinds=REDIRECTS),
                Fault("stall", kinds=REDIRECTS),
            )
            for number, fault in enumerate(faults, 1):
                between.play(fault)
                before = between.fired(fault.what)

                def happens(number: int = number, fault: Fault = fault, n: int = before) -> bool:
                    # Not at once: who was refused, or got no answer, does not ask again so soon.
                    try_to_read(mount, f"large/{number}.bin")
                    return between.fired(fault.what) > n

                until(happens, f"{fault.what} {fault.status}", 30)
                between.calm()
            arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family(mount.pid)]
            said = [
                subprocess.run(
                    [sys.executable, "-m", "oxenfs_cli", *words],
                    env={**os.environ, **mount.environment},
                    capture_output=True,
                    check=False,
                )
                for words in (["mounts", "--json"], ["log", str(mount.dir)], ["doctor"])
            ]
    # The server saw it, or nothing here means anything.
    assert between.authorizations()[f"Bearer {TOKEN}"] > 10, between.authorizations().values()
    assert other.authorizations() == {}
    assert not [each for each in arguments if TOKEN.encode() in each]
    assert not [each for each in said if TOKEN.encode() in each.stdout + each.stderr]
    assert grep(home, TOKEN.encode()) == []
    assert list(home.rglob("*.log")), "there is no log to look into"
    assert not [what for _, what in between.asked() if TOKEN in what]


def test_a_refused_token_is_an_error_of_access_and_is_not_shown(
    places: tuple[Between, Between], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between, _ = places
    wrong = tmp_path / "wrong"
    wrong.write_text(TOKEN + "-not")
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(wrong))
    monkeypatch.setenv("OXENFS_TOKEN_HOST", between.host)
    done = subprocess.run(
        [sys.executable, "-m", "oxenfs_cli", "mount", f"http://{between.host}/ns/files", "mnt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "token" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    # No hammering: what is refused is not asked again.
    assert len(between.asked()) <= 2
