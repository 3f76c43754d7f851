"""A commit of an overlay to a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote.reference import tree_of
from repositories import make_repository
from serving import running

from oxenfs.remote.local.repository import open_repository

from .conftest import FILES
from .mounting import OverlayMount, write

pytestmark = pytest.mark.fuse


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a repository on our server, and its folder."""
    folder = tmp_path / "served" / "ns" / "files"
    folder.parent.mkdir(parents=True)
    make_repository(folder, FILES).close()
    with running(tmp_path / "served") as server:
        yield f"http://{server.host}/ns/files", folder


def test_a_commit_goes_to_the_server_and_leaves_nothing_there(
    served: tuple[str, Path], mounting: Callable[[str], OverlayMount]
) -> None:
    address, folder = served
    mount = mounting(f"{address}@main")
    write(mount.dir / "new" / "file", b"new")
    (mount.dir / "d").rename(mount.dir / "moved")
    (mount.dir / "top.txt").write_bytes(b"other")
    commit = mount.commit()
    remote = open_repository(folder)
    head = remote.branch("main").commit
    tree = {p: d for p, d in tree_of(remote, head).items() if d is not None}
    remote.close()
    assert f"{head:x}" == commit
    assert tree == {
        b"new/file": b"new",
        b"moved/one.txt": b"one\n",
        b"moved/two.txt": b"two\n",
        b"moved/e/deep.txt": b"deep\n",
        b"top.txt": b"other",
        b"big.bin": FILES[b"big.bin"],
    }
    assert mount.status() == []
    assert (mount.dir / "moved" / "one.txt").read_bytes() == b"one\n"
    mount.stop()
