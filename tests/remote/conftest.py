"""Local repositories, and ways to put into them what a publish never makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import AUTHOR, noise

from oxenfs.model import CHUNK_BYTES
from oxenfs.remote.local.repository import LocalRemote, create

from .grafting import graft_commit
from .publish_suite import publish, put
from .reference import puts, with_folders
from .suite import Graft

SMALL, MIDDLE, LARGE = (
    noise(1000, "small"),
    noise(3 * CHUNK_BYTES, "middle"),
    noise(9 * CHUNK_BYTES + 5, "large"),
)
TREE = with_folders(
    {b"d/small": SMALL, b"d/middle": MIDDLE, b"d/sub/large": LARGE, b"other": b"o", b"e": None}
)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[LocalRemote]:
    """An empty repository whose directories have buckets of 8 entries."""
    made = create(tmp_path / "repository", AUTHOR, vnode_size=8)
    yield made
    made.close()


@pytest.fixture
def graft() -> Graft:
    return graft_commit


@pytest.fixture
def filled(remote: LocalRemote) -> LocalRemote:
    """A repository whose head has `TREE`, under a commit that has less."""
    publish(remote, put(b"d/sub/large", LARGE))
    publish(remote, *puts(TREE))
    return remote
