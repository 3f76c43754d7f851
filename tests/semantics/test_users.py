"""An ordinary user mounts, reads and unmounts."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from repositories import MIB, make_repository, noise

from .mounted import ROOT, Mounted, until

pytestmark = pytest.mark.fuse

NOBODY = 65534
DEVICE = Path("/dev/fuse")
# Not the virtual environment's: that may lie where only its owner may look.
PYTHON = os.path.realpath(sys.executable)
FILES = {b"a": b"one", b"sub/large": noise(2 * MIB, 1)}
TRY = "import oxenfs_cli.mount, oxenfs.mount.operations, oxenfs.mount.serve, oxenfs.views.stack"
NEEDED = f"""
import sys
{TRY}
import json, oxenfs.remote.local.repository
print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, and a device that everybody may use, as udev has it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    made = Path(tempfile.mkdtemp(prefix="oxenfs-")).resolve()
    made.chmod(0o755)
    # One test at a time has the mode of the device, also of test runs beside this one.
    turn = os.open(DEVICE.parent, os.O_RDONLY)
    until(lambda: taken(turn), "the turn of this test")
    before = stat.S_IMODE(DEVICE.stat().st_mode)
    DEVICE.chmod(0o666)
    try:
        yield made
    finally:
        DEVICE.chmod(before)
        os.close(turn)
        shutil.rmtree(made)


def taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sources(folder: Path) -> Sequence[Path]:
    """Return where an ordinary user can import everything from; copies what may not be read."""
    site = Path(sysconfig.get_path("platlib"))
    paths = [ROOT, ROOT / "cli", site]
    if tried(paths):
        return paths
    known = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    done = subprocess.run(
        [sys.executable, "-c", NEEDED], env=known, capture_output=True, check=True
    )
    copy = folder / "sources"
    copy.mkdir()
    for name in json.loads(done.stdout):
        for place in paths:
            for found in (place / name, *place.glob(f"{name}.*so"), place / f"{name}.py"):
                if found.is_dir():
                    shutil.copytree(found, copy / found.name, dirs_exist_ok=True)
                elif found.exists():
                    shutil.copy(found, copy)
    assert tried([copy])
    return [copy]


def tried(paths: Sequence[Path]) -> bool:
    done = subprocess.run(
        [PYTHON, "-c", TRY],
        cwd="/",
        env={"PYTHONPATH": ":".join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def own(folder: Path) -> None:
    """Give everything in a folder to the ordinary user."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


READ = """
import os, sys
from pathlib import Path
top = Path(sys.argv[1])
files = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob('*') if path.is_file()}
print({name: (len(data), data[-1]) for name, data in sorted(files.items())})
print({(path.stat().st_uid, path.stat().st_gid, oct(path.stat().st_mode)) for path in top.iterdir()}
      == {(os.getuid(), os.getgid(), '0o100444'), (os.getuid(), os.getgid(), '0o40555')})
print(os.getxattr(top / 'a', 'user.oxen.message').decode())
try:
    (top / 'a').open('w')
except OSError as exc:
    print(exc.strerror)
"""


def test_an_ordinary_user_mounts_reads_and_unmounts(folder: Path) -> None:
    make_repository(folder / "repository", FILES).close()
    own(folder / "repository")
    mounted = Mounted(
        folder / "user",
        str(folder / "repository"),
        user=NOBODY,
        sources=sources(folder),
        python=PYTHON,
    )
    own(folder / "user")
    try:
        mounted.start()
        assert mounted.run("-c", READ, str(mounted.dir)).splitlines() == [
            str({"a": (3, ord("e")), "sub/large": (2 * MIB, FILES[b"sub/large"][-1])}),
            "True",
            "message",
            "Read-only file system",
        ]
        # Root is a stranger in there, as in every FUSE mount without allow_other.
        with pytest.raises(PermissionError):
            os.listdir(mounted.dir)  # noqa: PTH208
        mounted.stop()
    finally:
        mounted.kill()
    assert list(mounted.dir.iterdir()) == []
