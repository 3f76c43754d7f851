"""The root directory of a mount."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_trio import in_trio
from repositories import AUTHOR, MIB, commit, make_repository, noise

from oxenfs.address import Address
from oxenfs.errors import NotFound
from oxenfs.kv import environment
from oxenfs.model import hash_text
from oxenfs.remote.local.repository import LocalRemote, create
from oxenfs.views import stack
from oxenfs.views.base import Directory, lookup
from oxenfs.views.commit import date_text
from oxenfs.views.facts import FOLDER, INFO
from oxenfs.views.plan import Plan
from oxenfs.views.stack import Stack

from .suite import Case, DirectorySuite, Tree, contents

FILES = {b"a": b"one", b"big": noise(2 * MIB, 1), b"sub/b": b"two"}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[LocalRemote]:
    made = make_repository(tmp_path / "repository", FILES)
    yield made
    made.close()


def plan(folder: Path, rev: str | None = None) -> Plan:
    return Plan(Address(folder / "repository", rev), folder / "cache")


@pytest.fixture
def built(repository: LocalRemote, tmp_path: Path) -> Iterator[Stack]:
    made = stack.build(plan(tmp_path))
    yield made
    made.close()


async def info(built: Stack) -> bytes:
    folder = await lookup(built.root, FOLDER)
    assert isinstance(folder, Directory)
    found = await contents(await lookup(folder, INFO))
    assert isinstance(found, bytes)
    return found


class TestStack(DirectorySuite):
    @pytest.fixture
    def case(self, built: Stack) -> Case:
        tree: Tree = {b"a": b"one", b"big": FILES[b"big"], b"sub": {b"b": b"two"}}
        facts = json.dumps(
            {
                "repo": built.facts.repo,
                "branch": "main",
                "commit": hash_text(built.facts.commit.id),
                "author": AUTHOR.name,
                "email": AUTHOR.email,
                "date": date_text(built.facts.commit.timestamp_ns),
                "message": "message",
            },
            indent=2,
        )
        return Case(built.root, tree, {FOLDER: {INFO: facts.encode() + b"\n"}})


def test_facts_say_what_is_mounted(built: Stack, repository: LocalRemote, tmp_path: Path) -> None:
    facts = built.facts
    assert facts.repo == str(tmp_path / "repository")
    assert facts.revision is None
    assert facts.branch == "main"
    assert facts.commit.id == repository.branch("main").commit
    assert facts.files == 3
    assert facts.size_bytes == sum(map(len, FILES.values()))


@in_trio
async def test_a_commit_is_on_no_branch(repository: LocalRemote, tmp_path: Path) -> None:
    first = repository.branch("main").commit
    commit(repository, {b"a": b"changed"})
    built = stack.build(plan(tmp_path, hash_text(first)[:10]))
    assert built.facts.branch is None
    assert built.facts.revision == hash_text(first)[:10]
    assert await contents(await lookup(built.root, b"a")) == b"one"
    assert json.loads(await info(built))["branch"] is None
    built.close()


@in_trio
async def test_the_tree_stays_when_the_branch_moves(built: Stack, repository: LocalRemote) -> None:
    commit(repository, {b"a": b"changed", b"new": b"n"}, remove=[b"sub/b"])
    assert await contents(built.root) == {
        b"a": b"one",
        b"big": FILES[b"big"],
        b"sub": {b"b": b"two"},
    }


@in_trio
async def test_the_repositorys_own_folder_wins(
    repository: LocalRemote, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit(repository, {b".oxenfs/mine": b"own"})
    built = stack.build(plan(tmp_path))
    assert await contents(await lookup(built.root, FOLDER)) == {b"mine": b"own"}
    assert "the repository has '.oxenfs' itself" in caplog.text
    built.close()


@pytest.mark.parametrize("rev", ["mian", "0123456789"])
def test_an_unknown_revision_leaves_nothing_open(
    repository: LocalRemote, tmp_path: Path, rev: str
) -> None:
    with pytest.raises(NotFound, match="there is main"):
        stack.build(plan(tmp_path, rev))
    assert repository._meta.users == 1


def test_closing_lets_go_of_everything(repository: LocalRemote, tmp_path: Path) -> None:
    before = dict(environment._open_environments)
    built = stack.build(plan(tmp_path))
    assert repository._meta.users == 2
    built.close()
    assert repository._meta.users == 1
    assert environment._open_environments == before


@in_trio
async def test_an_empty_repository_is_an_empty_directory(tmp_path: Path) -> None:
    create(tmp_path / "repository", AUTHOR).close()
    built = stack.build(plan(tmp_path))
    assert await contents(built.root) == {}
    assert built.facts.files == built.facts.size_bytes == 0
    built.close()
