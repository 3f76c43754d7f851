"""A repository on an Oxen server as a `Remote`."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from oxenfs.address import Hosted
from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import Author, Branch, Change, Commit, ObjectHash, Published, hash_text
from oxenfs.remote.base import BlobPlace, DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.changes import check_branch_name
from oxenfs.remote.http.answers import (
    branch_of,
    branches_of,
    commit_of,
    commits_of,
    default_branch_of,
    read,
)
from oxenfs.remote.http.blobs import SMALL_BYTES_MAX, HttpBlobs
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.http.trees import Trees
from oxenfs.remote.http.workspace import branch_path

_PAGE = 1000
# Of an answer about one thing. As objects, JSON may take thirty times its bytes.
_ONE_BYTES_MAX = 4 << 20
_DEFAULT_BRANCH = "main"
# From here on a prefix may well be a whole id, and asking for that spares reading all commits.
_FULL_DIGITS_MIN = 28
_BRANCH_BYTES_MAX = 500
_NOT_IN_A_BRANCH = re.compile(r"[\x00-\x20\x7f]|//|\A/|/\Z|\A\Z|(?:\A|/)\.\.?(?:/|\Z)")


class HttpRemote:
    """A repository on a server. Safe to use from several threads; every call blocks."""

    def __init__(
        self,
        hosted: Hosted,
        token: str | None,
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Speak to the server of `hosted`; nothing is asked before it is needed.

        Args:
            hosted: scheme, host, namespace and name.
            token: for exactly this host.
            timeout_s: see `Transport`.
            sleep: waits where the server asks for it during a publish.

        Raises:
            UsageError: the token cannot be sent.
        """
        self.address = str(hosted)
        # The host is part of the key: no server can put bytes into another's part of a cache.
        self.key = f"http:{self.address}"
        path = f"/api/repos/{quote(hosted.namespace)}/{quote(hosted.name)}"
        self.transport = Transport(f"{hosted.scheme}://{hosted.host}", path, token, timeout_s)
        self._sleep = sleep
        self._trees = Trees(self.transport)
        self.source = self._blobs = HttpBlobs(self.transport)

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name; raise `NotFound` if there is no repository."""
        try:
            answer = self.transport.json("GET", "/branches")
        except NotFound as exc:
            raise self._no_repository(exc) from exc
        found = read(branches_of, answer, self.address)
        return sorted(found, key=lambda branch: branch.name)

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        if not _may_be_a_branch(name):
            raise NotFound(f"no branch {name!r} at {self.address}")
        if "%" in name:
            # Servers do not undo `%25` in this place.
            named = [branch for branch in self.branches() if branch.name == name]
        else:
            answer = self.transport.json(
                "GET", f"/branches/{branch_path(name)}", limit=_ONE_BYTES_MAX
            )
            named = [read(branch_of, answer.get("branch"), self.address)]
        if not named or named[0].name != name:
            raise NotFound(f"no branch {name!r} at {self.address}")
        return named[0]

    def default_branch(self) -> Branch:
        """Return the branch that the server names, else `main`; raise `NotFound`."""
        try:
            answer = self.transport.json("GET", "", limit=_ONE_BYTES_MAX)
        except NotFound as exc:
            raise self._no_repository(exc) from exc
        named = read(default_branch_of, answer, self.address)
        return named if named is not None else self.branch(_DEFAULT_BRANCH)

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        path = f"/commits/{hash_text(commit)}"
        answer = self.transport.json("GET", path, limit=_ONE_BYTES_MAX)
        found = read(commit_of, answer.get("commit"), self.address)
        if found.id != commit:
            raise IntegrityError(f"{self.address} sent another commit than {hash_text(commit)}")
        return found

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids that start with `prefix`; reads the list of commits."""
        if len(prefix) >= _FULL_DIGITS_MIN:
            try:
                return [self.commit(ObjectHash(int(prefix, 16))).id][:limit]
            except NotFound:
                pass
        found = []
        for commit in self._pages("/commits/all"):
            if hash_text(commit.id).startswith(prefix):
                found.append(commit.id)
                if len(found) >= limit:
                    break
        return found

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and all its ancestors as the server orders them, newest first.

        An oxen-server 0.65.2 goes by time alone, so behind a clock that was late a parent may come
        before its child; ours never does that.
        """
        return self._pages(f"/commits/history/{hash_text(head)}")

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        return self._trees.root(commit)

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self._trees.directory(directory, place)

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes of `commit`, each once."""
        return self._trees.whole(commit)

    def tree_between(self, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
        """Yield the nodes that `head` has and its ancestor `base` has not."""
        return self._trees.between(base, head)

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob`; a small one is fetched whole and checked.

        Without a place the whole blob is fetched whatever its size.
        """
        if place is not None and place.size > SMALL_BYTES_MAX:
            return self._blobs.range(place, offset, size)
        content = self._blobs.one(blob)
        if place is not None and len(content) != place.size:
            raise IntegrityError(
                f"blob {hash_text(blob)} has {len(content)} bytes, the tree says {place.size}"
            )
        if offset < 0 or size < 0 or offset + size > len(content):
            raise NotFound(f"blob {hash_text(blob)} ends at {len(content)}")
        return content[offset : offset + size]

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Commit `changes` to `branch`; see `oxenfs.remote.base.Remote.publish`."""
        from oxenfs.remote.http.publish import HttpPublisher

        publisher = HttpPublisher(self, self.transport, self._sleep)
        return publisher.publish(branch, base, changes, message, author)

    def begin(self, branch: str, author: Author) -> None:
        """Make the first branch of a repository without any; see `oxenfs.remote.base.Beginning`.

        A server makes it for the first workspace that is asked for, in its own name.
        """
        from oxenfs.remote.http.workspace import Workspace

        if not self.branches():
            check_branch_name(branch)
            Workspace(self.transport, branch, self._sleep).delete()

    def publish_as(
        self,
        name: str,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
    ) -> Published:
        """Commit `changes` to `branch`; see `oxenfs.remote.base.Staging.publish_as`."""
        from oxenfs.remote.http.publish import HttpPublisher

        publisher = HttpPublisher(self, self.transport, self._sleep)
        return publisher.publish(branch, base, changes, message, author, name)

    def staged_on(self, name: str) -> ObjectHash | None:
        """Return the commit that the workspace `name` stands on, None if there is none."""
        from oxenfs.remote.http.workspace import workspace_base

        return workspace_base(self.transport, name)

    def unstage(self, name: str) -> None:
        """Remove the workspace `name`."""
        with contextlib.suppress(NotFound):
            self.transport.json("DELETE", f"/workspaces/{quote(name, safe='')}")

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Make a branch at `commit`; raise `RemoteRefused` or `RemoteUnavailable` if it exists."""
        body = {"new_name": name, "commit_id": hash_text(commit)}
        self.transport.json("POST", "/branches", body=body)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _no_repository(self, exc: NotFound) -> NotFound:
        return NotFound(f"no repository {self.address} ({exc})")

    def _pages(self, path: str) -> Iterator[Commit]:
        """Yield the commits of a paged list, each once, a page read when it is needed."""
        seen: set[ObjectHash] = set()
        page = 1
        while True:
            answer = self.transport.json("GET", path, params={"page": page, "page_size": _PAGE})
            found = read(commits_of, answer, self.address)
            new = [commit for commit in found if commit.id not in seen]
            for commit in new:
                if commit.id not in seen:
                    seen.add(commit.id)
                    yield commit
            total = answer.get("total_pages")
            # Nothing new: a server that says the same page for ever.
            if not new or not isinstance(total, int) or page >= total:
                return
            page += 1


def _may_be_a_branch(name: str) -> bool:
    """Return whether a server can be asked for it: the rest of the name's rules are its own."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    return len(encoded) <= _BRANCH_BYTES_MAX and not _NOT_IN_A_BRANCH.search(name)
