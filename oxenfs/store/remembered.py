"""What a remote said, kept for when it cannot be asked: heads of branches, commits, roots.

`Remembering` is a decorator that keeps what passes through it, and does not ask again for what
never changes; `Offline` answers from what is kept alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from oxenfs.errors import NotFound, RemoteUnavailable
from oxenfs.model import (
    Author,
    Branch,
    Change,
    Commit,
    ObjectHash,
    Published,
    hash_text,
    parse_hash,
)
from oxenfs.names import quoted
from oxenfs.remote.base import BlobPlace, DirectoryNodes, RawNode, Remote, TreePlace
from oxenfs.remote.breaker import Breaker
from oxenfs.remote.wrapping import Wrapping
from oxenfs.store.records import ListingRecords

_BRANCH, _COMMIT, _ROOT, _DEFAULT = "branch:", "commit:", "root:", "default"


class Seen(NamedTuple):
    """A branch as it was when it was last asked for.

    Attributes:
        when_s: Unix time.
    """

    branch: Branch
    when_s: float


class Remembering(Wrapping):
    """A remote whose answers are remembered."""

    def __init__(self, inner: Remote, records: ListingRecords) -> None:
        """Ask `inner`, keep answers in `records`."""
        super().__init__(inner)
        self._records = records

    @property
    def breaker(self) -> Breaker:
        """What stops asking a remote that does not answer."""
        breaker: Breaker = self._inner.breaker  # type: ignore[attr-defined]
        return breaker

    def asking(self, inner: Remote) -> Remembering:
        """Return one that knows what this one does, and asks `inner` for the rest."""
        return Remembering(inner, self._records)

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        found = self._inner.branches()
        for branch in found:
            self._saw(branch)
        return found

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        return self._saw(self._inner.branch(name))

    def default_branch(self) -> Branch:
        """Return the default branch; raise `NotFound`."""
        branch = self._saw(self._inner.default_branch())
        self._records.remember(_DEFAULT, branch.name)
        return branch

    # What an id stands for never changes: what is known of it is not asked for again.

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`. Asks for what is not known yet."""
        found = _known_commit(self._records, commit)
        if found is None:
            found = self._inner.commit(commit)
            self._records.remember(_COMMIT + hash_text(commit), _commit_to_json(found))
        return found

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`. As `commit`."""
        found = _known_root(self._records, commit)
        if found is None:
            found = self._inner.root(commit)
            self._records.remember(_ROOT + hash_text(commit), hash_text(found))
        return found

    def _saw(self, branch: Branch) -> Branch:
        head = [hash_text(branch.commit), time.time()]
        self._records.remember(_BRANCH + branch.name, head)
        return branch


class Offline:
    """A remote that is not asked: it knows what was remembered of it."""

    def __init__(self, key: str, address: str, records: ListingRecords) -> None:
        """Stand for the remote with that key and address."""
        self.key = key
        self.address = address
        self._records = records

    def seen(self, name: str) -> Seen | None:
        """Return when a branch was last seen, and where it was; None if it never was."""
        value = self._records.recall(_BRANCH + name)
        if value is None:
            return None
        return Seen(Branch(name, parse_hash(value[0])), float(value[1]))

    def branches(self) -> list[Branch]:
        """Return the branches that were seen, sorted by name."""
        found = self._records.recall_all(_BRANCH)
        branches = [Branch(name, parse_hash(value[0])) for name, value in found]
        return sorted(branches, key=lambda branch: branch.name)

    def branch(self, name: str) -> Branch:
        """Return a branch as it was last seen; raise `NotFound`."""
        seen = self.seen(name)
        if seen is None:
            raise NotFound(
                f"no branch {name!r} of {self.address} was seen yet, and this is offline"
            )
        return seen.branch

    def default_branch(self) -> Branch:
        """Return the default branch as it was last seen; raise `NotFound`."""
        name = self._records.recall(_DEFAULT)
        if name is None:
            raise NotFound(
                f"the default branch of {self.address} was not seen yet, and this is offline; "
                "mount it without --offline once, or name a branch"
            )
        return self.branch(name)

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit that was seen; raise `RemoteUnavailable`."""
        found = _known_commit(self._records, commit)
        if found is None:
            raise self._unknown(f"commit {hash_text(commit)}")
        return found

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` ids of commits that were seen."""
        found = (prefix + rest for rest, _ in self._records.recall_all(_COMMIT + prefix))
        return [parse_hash(text) for _, text in zip(range(limit), found, strict=False)]

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Raise `RemoteUnavailable`: only some commits are known."""
        raise self._unknown("the history")

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of a commit; raise `RemoteUnavailable`."""
        found = _known_root(self._records, commit)
        if found is None:
            raise self._unknown(f"the tree of commit {hash_text(commit)}")
        return found

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Raise `RemoteUnavailable`: what is known is among the listings."""
        raise self._unknown(f"folder {quoted(place.path)}")

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Raise `RemoteUnavailable`."""
        raise self._unknown("the tree")

    def tree_between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Raise `RemoteUnavailable`."""
        raise self._unknown("the tree")

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Raise `RemoteUnavailable`: what is known is in the cache."""
        raise self._unknown(f"blob {hash_text(blob)}")

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Raise `RemoteUnavailable`."""
        raise RemoteUnavailable("offline: nothing can be committed; mount without --offline")

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Raise `RemoteUnavailable`."""
        raise RemoteUnavailable("offline: no branch can be made; mount without --offline")

    def close(self) -> None:
        """Nothing to let go of."""

    def _unknown(self, what: str) -> RemoteUnavailable:
        return RemoteUnavailable(f"offline: {what} of {self.address} was never fetched here")


def age_text(seconds: float) -> str:
    """Return a span of time in words, in its largest unit."""
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "less than a minute"


def _known_commit(records: ListingRecords, id: ObjectHash) -> Commit | None:
    value = records.recall(_COMMIT + hash_text(id))
    return None if value is None else _commit_of_json(id, value)


def _known_root(records: ListingRecords, commit: ObjectHash) -> ObjectHash | None:
    value = records.recall(_ROOT + hash_text(commit))
    return None if value is None else parse_hash(value)


def _commit_to_json(commit: Commit) -> Any:
    parents = [hash_text(parent) for parent in commit.parents]
    author = commit.author
    return [parents, author.name, author.email, commit.message, commit.timestamp_ns]


def _commit_of_json(id: ObjectHash, value: Any) -> Commit:
    parents, name, email, message, timestamp_ns = value
    ids = tuple(parse_hash(parent) for parent in parents)
    return Commit(id, ids, Author(name, email), message, timestamp_ns)
