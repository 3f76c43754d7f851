"""A small repository, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import Spy, make_repository, spied

from oxenfs.remote.local.repository import LocalRemote
from oxenfs.store.metadata import Metadata

FILES = {b"a": b"1", b"sub/b": b"22", b"sub/deep/c": b"333", b"other/d": b"4444"}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", FILES)
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def spy(repository: LocalRemote, cache: Path) -> Iterator[tuple[Spy, Metadata]]:
    spy, remote = spied(repository)
    kept = Metadata(remote, cache)
    yield spy, kept
    kept.close()
