"""Changes on top of a server's repository while the server is away."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oxenfs.kv import open_environment

from .conftest import FILES
from .mounting import OverlayMount, listed, write
from .served import Served, files_in

pytestmark = pytest.mark.fuse


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server whose repository has `FILES`, and a file of what is left out."""
    made = Served(tmp_path / "served")
    made.make({**FILES, b".oxenignore": b"*.tmp\n"})
    yield made
    made.kill()


@pytest.fixture
def mount(served: Served, mounting: Callable[[str], OverlayMount]) -> OverlayMount:
    """A mount that has changes, all of whose folders were looked at."""
    made = mounting(f"{served.address}@main")
    write(made.dir / "new", b"new\n")
    write(made.dir / "left.tmp", b"")
    (made.dir / "d" / "one.txt").unlink()
    assert [*made.dir.rglob("*")]
    assert made.status() == [("D", "d/one.txt"), ("A", "new")]
    return made


def test_a_mount_tells_and_drops_its_changes_without_the_server(
    served: Served, mount: OverlayMount
) -> None:
    served.kill()
    assert mount.status() == [("D", "d/one.txt"), ("A", "new")]
    code, said = mount.call("status", str(mount.dir), "--json")
    assert (code, json.loads(said)["behind"]) == (0, None)
    code, said = mount.call("mounts", "--json")
    # Those of whoever runs the tests are listed, too.
    assert [row["changes"] for row in json.loads(said) if row["dir"] == str(mount.dir)] == [2]
    code, said = mount.call("diff", str(mount.dir), "new")
    assert (code, "+new" in said) == (0, True), said
    code, said = mount.call("restore", str(mount.dir), "d")
    assert (code, said) == (0, "1 change dropped\n")
    assert listed(mount.dir / "d") == ["e", "one.txt", "two.txt"]
    code, said = mount.call("umount", str(mount.dir))
    assert (code, "1 change not committed" in said) == (0, True), said


def test_diff_shows_what_it_can_and_says_what_it_cannot_without_the_server(
    served: Served, mount: OverlayMount
) -> None:
    write(mount.dir / "top.txt", b"other\n")
    served.kill()
    code, said = mount.call("diff", str(mount.dir))
    assert code == 1
    assert "+new" in said
    assert "M top.txt" in said
    assert "refused the connection" in said


def test_discard_of_a_mount_works_without_the_server(served: Served, mount: OverlayMount) -> None:
    served.kill()
    code, said = mount.call("discard", str(mount.dir), "--yes")
    assert code == 0, said
    assert mount.status() == []


def forget_listings(mount: OverlayMount) -> None:
    """Let the cache of a mount have no listing, as on a disk that has no room for them."""
    tree = Path(mount.environment["HOME"]) / ".cache" / "oxenfs" / "tree"
    kept = open_environment(tree, ["listings", "complete", "seen"], durable=False)
    with kept.write() as txn:
        for key in list(txn.keys("listings")):
            txn.delete("listings", key)
    kept.close()


def discard_alone(served: Served, mount: OverlayMount) -> None:
    """Drop all changes while the server is away and no listing is kept; start it again then."""
    served.kill()
    forget_listings(mount)
    code, said = mount.call("discard", str(mount.dir), "--yes")
    assert (code, said) == (0, "all changes dropped\n")
    served.start()
    assert mount.status() == []


def test_discard_of_a_mount_works_though_no_listing_is_kept(
    served: Served, mount: OverlayMount
) -> None:
    (mount.dir / "d").chmod(0o700)
    write(mount.dir / "top.txt", b"other\n")
    (mount.dir / "d" / "e").rename(mount.dir / "moved")
    write(mount.dir / "d" / "e" / "deep.txt", b"in its place\n")
    write(mount.dir / "moved" / "new", b"new\n")
    (mount.dir / "d" / "two.txt").rename(mount.dir / "two.txt")
    discard_alone(served, mount)
    assert files_in(mount.dir) == {**FILES, b".oxenignore": b"*.tmp\n"}
    assert stat.S_IMODE((mount.dir / "d").stat().st_mode) == 0o755
    write(mount.dir / "d" / "e" / "deep.txt", b"again\n")
    assert mount.status() == [("M", "d/e/deep.txt")]


def test_discard_of_changes_of_an_earlier_mount_works_though_no_listing_is_kept(
    served: Served, mount: OverlayMount
) -> None:
    (mount.dir / "d").chmod(0o700)
    (mount.dir / "d" / "e").rename(mount.dir / "moved")
    mount.stop()
    mount.start()
    assert [*mount.dir.rglob("*")]
    discard_alone(served, mount)
    assert listed(mount.dir / "d") == ["e", "one.txt", "two.txt"]
    assert stat.S_IMODE((mount.dir / "d").stat().st_mode) == 0o755
    assert (mount.dir / "d").stat().st_nlink == 3


@contextlib.contextmanager
def hanging(served: Served) -> Iterator[None]:
    """In the place of the server something that takes connections, and says nothing."""
    served.kill()
    with socket.create_server(("127.0.0.1", urlsplit(served.address).port or 0)):
        yield


def call_soon(mount: OverlayMount, *words: str) -> tuple[int, str]:
    """Run a command that must not wait for the server's deadline, which is 30 s."""
    began = time.monotonic()
    code, said = mount.call(*words)
    assert time.monotonic() - began < 15, words
    return code, said


def test_what_is_known_is_told_soon_where_the_server_hangs(
    served: Served, mount: OverlayMount
) -> None:
    changes = "D d/one.txt\nA new\n"
    where = str(mount.dir)
    with hanging(served):
        code, said = call_soon(mount, "status", where)
        assert (code, changes in said) == (0, True), said
        assert json.loads(call_soon(mount, "status", where, "--json")[1])["behind"] is None
        assert '"changes": 2' in call_soon(mount, "mounts", "--json")[1]
        forget_listings(mount)
        code, said = call_soon(mount, "status", where)
        assert (code, "what the commit has in the root is not kept" in said) == (1, True), said
        assert call_soon(mount, "discard", where, "--yes") == (0, "all changes dropped\n")


def test_what_is_known_of_pending_changes_is_told_soon_where_the_server_hangs(
    served: Served, mount: OverlayMount
) -> None:
    mount.stop()
    where = str(mount.dir)
    with hanging(served):
        code, said = call_soon(mount, "status", where)
        assert (code, "D d/one.txt\nA new\n" in said) == (0, True), said
        assert f"{served.address}@main  2" in call_soon(mount, "mounts", "--pending")[1]
        forget_listings(mount)
        assert f"{served.address}@main  ?" in call_soon(mount, "mounts", "--pending")[1]
        code, said = call_soon(mount, "status", where)
        assert (code, "what the commit has in the root is not kept" in said) == (1, True), said


def test_a_file_that_cannot_be_compared_now_counts_as_changed(
    served: Served, mount: OverlayMount
) -> None:
    with (mount.dir / "big.bin").open("r+b") as file:
        file.write(FILES[b"big.bin"][:10])
    served.kill()
    assert ("M", "big.bin") in mount.status()
    served.start()
    assert ("M", "big.bin") not in mount.status()


def test_pending_changes_are_told_and_dropped_without_the_server(
    served: Served, mount: OverlayMount
) -> None:
    head = mount.commit_id()
    mount.stop()
    served.kill()
    with socket.create_server(("127.0.0.1", urlsplit(served.address).port or 0)) as instead:
        instead.setblocking(False)
        code, said = mount.call("mounts", "--pending", "--json")
        with pytest.raises(BlockingIOError):  # nobody was asked
            instead.accept()
    assert code == 0, said
    (row,) = json.loads(said)
    assert (row["branch"], row["commit"], row["base"], row["changes"]) == ("main", head, head, 2)
    assert f"{served.address}@main  2" in mount.call("mounts", "--pending")[1]
    assert mount.status() == [("D", "d/one.txt"), ("A", "new")]
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0
    assert mount.call("mounts", "--pending")[1] == ""


def test_pending_changes_whose_tree_is_not_kept_are_named_without_the_server(
    served: Served, mount: OverlayMount
) -> None:
    head = mount.commit_id()
    mount.stop()
    served.kill()
    shutil.rmtree(Path(mount.environment["HOME"]) / ".cache" / "oxenfs" / "tree")
    code, said = mount.call("mounts", "--pending", "--json")
    assert code == 0, said
    (row,) = json.loads(said)
    assert (row["branch"], row["base"], row["changes"]) == ("main", head, None)
    assert f"{served.address}@main  ?" in mount.call("mounts", "--pending")[1]
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0


def test_changes_of_a_mount_with_a_cache_of_its_own_are_told_without_the_server(
    served: Served, mounting: Callable[..., OverlayMount], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    mount = mounting(f"{served.address}@main", "--cache-dir", str(cache))
    usual = Path(mount.environment["HOME"]) / ".cache" / "oxenfs" / "tree"
    write(mount.dir / "new", b"new\n")
    (mount.dir / "d" / "one.txt").unlink()
    changes = [("D", "d/one.txt"), ("A", "new")]
    assert mount.status() == changes
    code, said = mount.call("diff", str(mount.dir), "new")
    assert (code, "+new" in said) == (0, True), said
    assert not usual.exists()
    mount.stop()
    served.kill()
    assert mount.status() == changes
    assert f"{served.address}@main  2" in mount.call("mounts", "--pending")[1]
    for words in (("diff",), ("commit", "-m", "m"), ("restore", "new")):
        code, said = mount.call(words[0], "-C", str(mount.dir), *words[1:])
        how = f"oxenfs mount {served.address}@main {mount.dir} --overlay --cache-dir {cache}"
        assert (code, how in said) == (2, True), said
    assert not usual.exists()
    # Without its cache the changes are still there, if not how many.
    shutil.rmtree(cache)
    assert f"{served.address}@main  ?" in mount.call("mounts", "--pending")[1]
    assert not cache.exists()
    assert mount.call("discard", str(mount.dir), "--yes")[0] == 0


def test_what_has_no_changes_is_not_pending_without_the_server(
    served: Served, mounting: Callable[[str], OverlayMount]
) -> None:
    mount = mounting(f"{served.address}@main")
    mount.kill_hard()
    served.kill()
    shutil.rmtree(Path(mount.environment["HOME"]) / ".cache" / "oxenfs" / "tree")
    assert mount.call("mounts", "--pending") == (0, "")


def test_umount_says_that_there_are_changes_that_nobody_can_count(
    served: Served, mount: OverlayMount
) -> None:
    served.kill()
    assert mount._process is not None
    mount._process.kill()
    mount._process.wait()
    code, said = mount.call("umount", str(mount.dir))
    assert code == 0
    assert "there are changes not committed; mount --overlay there again" in said
