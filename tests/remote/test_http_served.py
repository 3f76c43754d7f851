"""A remote over HTTP does what every remote does: on our server, and on the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import AUTHOR

from oxenfs.errors import UsageError
from oxenfs.remote.http.remote import HttpRemote

from .conflict_suite import ConflictSuite
from .http import serving
from .http.pushing import WithFolders, graft_commit
from .publish_suite import PublishingSuite, publish, put
from .suite import Graft, ReadingSuite

KINDS = ["ours", "real"]


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[serving.Server]:
    missing = {"ours": serving.why_ours_is_missing, "real": serving.why_real_is_missing}
    if (reason := missing[request.param]()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("served")
    if request.param == "ours":
        with serving.ours(folder) as started:
            yield started
    else:
        with serving.real(os.environ["OXEN_SERVER"], folder) as started:
            yield started


@pytest.fixture
def remote(server: serving.Server, tmp_path: Path) -> Iterator[WithFolders]:
    made = WithFolders(server.remote(), tmp_path / "mirror")
    yield made
    made.close()


@pytest.fixture
def graft() -> Graft:
    return graft_commit


class TestReading(ReadingSuite):
    pass


class TestPublishing(PublishingSuite):
    pass


class TestConflicts(ConflictSuite):
    pass


def test_a_repository_without_branches_gets_its_first(server: serving.Server) -> None:
    remote = HttpRemote(server.create(), None)
    try:
        assert remote.branches() == []
        with pytest.raises(UsageError):
            remote.begin("no..name", AUTHOR)
        remote.begin("first/one", AUTHOR)
        (branch,) = remote.branches()
        assert branch.name == "first/one"
        assert [commit.id for commit in remote.history(branch.commit)] == [branch.commit]
        remote.begin("second", AUTHOR)
        assert remote.branches() == [branch]
        published = publish(remote, put(b"d/f", b"content"), branch="first/one")
        assert remote.commit(published.commit).parents == (branch.commit,)
    finally:
        remote.close()
