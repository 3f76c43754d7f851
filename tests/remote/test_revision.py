"""What may stand behind the `@` of an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from oxenfs.errors import NotFound
from oxenfs.model import Author, Branch, Commit, ObjectHash, hash_text
from oxenfs.remote.base import Remote
from oxenfs.remote.revision import AmbiguousRevision, resolve


class Listed:
    """As much of a remote as `resolve` asks: branches and commits with ids of our choice."""

    address = "repository"

    def __init__(self, branches: dict[str, int], commits: Iterable[int]) -> None:
        self._branches = {name: Branch(name, ObjectHash(id)) for name, id in branches.items()}
        self._commits = [ObjectHash(id) for id in (*commits, *branches.values())]

    def branches(self) -> list[Branch]:
        return [self._branches[name] for name in sorted(self._branches)]

    def branch(self, name: str) -> Branch:
        if name not in self._branches:
            raise NotFound(name)
        return self._branches[name]

    def default_branch(self) -> Branch:
        return self.branch("main")

    def commit(self, commit: ObjectHash) -> Commit:
        if commit not in self._commits:
            raise NotFound(f"commit {commit}")
        return Commit(commit, (), Author("a", "e"), "m", 0)

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        texts = sorted({hash_text(id) for id in self._commits})
        return [ObjectHash(int(t, 16)) for t in texts if t.startswith(prefix)][:limit]


def listed(branches: dict[str, int], *commits: int) -> Remote:
    return cast("Remote", Listed(branches, commits))


def found(remote: Remote, rev: str | None) -> tuple[int, str | None]:
    revision = resolve(remote, rev)
    return revision.commit.id, revision.branch


FULL = 0xABCDEF0123456789ABCDEF0123456789


def test_a_branch_is_tried_before_an_id_and_an_id_before_a_prefix() -> None:
    remote = listed({"main": 1, "abcdef": 2, "feature/x@y": 3}, FULL, 0xABCDEF01, 0xFEDCBA)
    assert found(remote, None) == (1, "main")
    assert found(remote, "abcdef") == (2, "abcdef")
    assert found(remote, "feature/x@y") == (3, "feature/x@y")
    assert found(remote, "abcdef01") == (0xABCDEF01, None)
    assert found(remote, "abcdef0123") == (FULL, None)
    assert found(remote, "fedcba") == (0xFEDCBA, None)
    assert found(remote, hash_text(FULL).upper()) == (FULL, None)


def test_an_id_may_be_short_or_have_leading_zeros() -> None:
    remote = listed({"main": 0x12}, 0x123456)
    assert found(remote, "12") == (0x12, None)
    assert found(remote, "12".rjust(32, "0")) == (0x12, None)
    with pytest.raises(NotFound):
        resolve(remote, "0012")


@pytest.mark.parametrize("rev", ["a", "abcde"])
def test_a_prefix_of_less_than_six_digits_is_told_so(rev: str) -> None:
    with pytest.raises(NotFound, match="at least 6 digits"):
        resolve(listed({"main": 1}, FULL), rev)


def test_an_ambiguous_prefix_lists_the_candidates() -> None:
    remote = listed({"main": 1}, 0xABCDEF1, 0xABCDEF2)
    with pytest.raises(AmbiguousRevision) as caught:
        resolve(remote, "ABCDEF")
    assert str(caught.value).endswith("ABCDEF: abcdef1 abcdef2")
    many = listed({"main": 1}, *(0xABCDEF00 + n for n in range(20)))
    with pytest.raises(AmbiguousRevision) as caught:
        resolve(many, "abcdef")
    assert str(caught.value).endswith("abcdef08 abcdef09 ...")
    assert str(caught.value).count("abcdef") == 11


@pytest.mark.parametrize(
    ("rev", "near"), [("mian", "main"), ("Main", "main"), ("feature-x", "feature/x")]
)
def test_an_unknown_name_brings_the_near_ones(rev: str, near: str) -> None:
    remote = listed({"main": 1, "feature/x": 2, "zzz": 3})
    with pytest.raises(NotFound) as caught:
        resolve(remote, rev)
    assert near in str(caught.value).partition("; there is ")[2]
    assert repr(rev) in str(caught.value)


def test_where_nothing_is_near_some_branches_are_named() -> None:
    with pytest.raises(NotFound, match="there is a, b, main"):
        resolve(listed({"main": 1, "a": 2, "b": 3}), "qqqqqq")
    with pytest.raises(NotFound, match="no branches"):
        resolve(listed({}), "qqqqqq")


@pytest.mark.parametrize("rev", ["", "abcdefg", "x" * 5000, "abcdef\n", "\udcff", "a" * 33])
def test_what_is_neither_is_not_found(rev: str) -> None:
    with pytest.raises(NotFound):
        resolve(listed({"main": 1}, FULL), rev)


def test_a_branch_at_a_commit_that_is_missing_is_not_told_as_an_unknown_branch() -> None:
    class Broken(Listed):
        def commit(self, commit: ObjectHash) -> Commit:
            raise NotFound("the commit is missing")

    with pytest.raises(NotFound, match="the commit is missing"):
        resolve(cast("Remote", Broken({"main": 1}, ())), "main")
