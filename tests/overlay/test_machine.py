"""Random work in a mount with an overlay and in a plain folder: nobody can tell them apart."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import fuse_missing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from repositories import make_repository, noise

from .mounting import OverlayMount
from .twins import Twins

NIGHTLY = os.environ.get("OXENFS_NIGHTLY") == "1"
KIB = 1024
LOWER = {
    b"a": b"a of the commit\n",
    b"d/b": noise(3 * KIB, "b"),
    b"d/c/a": b"",
    b"e/big": noise(600 * KIB, "big"),
}

names = st.sampled_from(["a", "b", "c", "d", "big"])
paths = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "big"]), min_size=1, max_size=3).map(
    "/".join
)
sizes = st.sampled_from([0, 1, 17, 4096, 256 * KIB - 1, 256 * KIB + 1, 600 * KIB, 700 * KIB])
data = st.sampled_from([b"x", b"some bytes", noise(5000, 1), noise(300 * KIB, 2)])
handles = st.sampled_from(["h", "i"])


class Overlaid(RuleBasedStateMachine):
    """One mount, remounted and committed now and then."""

    @initialize()
    def begin(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="oxenfs-")).resolve()
        make_repository(self.top / "repository", LOWER).close()
        plain = self.top / "plain"
        for path, content in LOWER.items():
            place = plain / os.fsdecode(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        self.mount = OverlayMount(self.top, f"{self.top / 'repository'}@main")
        self.mount.start()
        self.twins = Twins(self.mount.dir, plain)
        self.fresh = True

    @rule(path=paths, offset=sizes, data=data, create=st.booleans())
    def write(self, path: str, offset: int, data: bytes, create: bool) -> None:
        self.twins.write(path, offset, data, create=create)

    @rule(path=paths, data=data)
    def append(self, path: str, data: bytes) -> None:
        self.twins.append(path, data)

    @rule(path=paths, data=data)
    def replace(self, path: str, data: bytes) -> None:
        self.twins.replace(path, data)

    @rule(path=paths, size=sizes)
    def truncate(self, path: str, size: int) -> None:
        self.twins.truncate(path, size)

    @rule(path=paths)
    def mkdir(self, path: str) -> None:
        self.twins.both(lambda top: (top / path).mkdir())

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        self.twins.both(lambda top: (top / path).rmdir())

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        self.twins.both(lambda top: (top / path).unlink())

    @rule(path=paths)
    def remove_all(self, path: str) -> None:
        self.twins.both(lambda top: shutil.rmtree(top / path))

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        self.twins.both(lambda top: os.rename(top / old, top / new))

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        self.twins.both(lambda top: os.link(top / old, top / new))

    @rule(path=paths, to=paths)
    def symlink(self, path: str, to: str) -> None:
        self.twins.both(lambda top: os.symlink(to, top / path))

    @rule(path=paths, mode=st.sampled_from([0o644, 0o755, 0o600]))
    def chmod(self, path: str, mode: int) -> None:
        self.twins.both(lambda top: os.chmod(top / path, mode))

    @rule(path=paths, time_s=st.integers(1, 2_000_000_000))
    def utime(self, path: str, time_s: int) -> None:
        def action(top: Path) -> float:
            os.utime(top / path, (time_s, time_s))
            return os.stat(top / path).st_mtime

        self.twins.both(action)

    @rule(handle=handles, path=paths)
    def open(self, handle: str, path: str) -> None:
        self.twins.open(handle, path)

    @rule(handle=handles, offset=sizes, data=data)
    def write_open(self, handle: str, offset: int, data: bytes) -> None:
        self.twins.write_open(handle, offset, data)

    @rule(handle=handles)
    def close(self, handle: str) -> None:
        self.twins.close(handle)

    @rule()
    def remount(self) -> None:
        self.twins.close_all()
        self.mount.stop()
        self.mount.start()

    @rule()
    def crash(self) -> None:
        self.twins.close_all()
        self.mount.kill_hard()
        self.mount.start()

    @rule(closed=st.booleans())
    def commit(self, closed: bool) -> None:
        # A commit makes files of hard links, and what is open and has no name is in none.
        if closed:
            self.twins.close_all()
        self.twins.close_all()
        self.twins.break_links()
        code, said = self.mount.call("commit", str(self.mount.dir), "-m", "m", "--skip-unsupported")
        assert code in (0, 4), said

    @invariant()
    @precondition(lambda self: hasattr(self, "twins"))
    def same(self) -> None:
        self.twins.compare()

    def teardown(self) -> None:
        if hasattr(self, "mount"):
            try:
                self.twins.close_all()
                self.mount.stop()
            finally:
                self.mount.kill()
                shutil.rmtree(self.top, ignore_errors=True)


@pytest.mark.fuse
@pytest.mark.parametrize("part", range(10))
def test_an_overlay_is_a_folder_like_any_other(part: int) -> None:
    if (reason := fuse_missing()) is not None:
        pytest.skip(reason)
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Overlaid,
        settings=settings(
            max_examples=20 if NIGHTLY else 1,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
