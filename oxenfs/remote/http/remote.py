"""A repository on an Oxen server as a `Remote`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from oxenfs.address import Hosted
from oxenfs.errors import NotFound
from oxenfs.model import Author, Branch, Change, Commit, ObjectHash, Published, hash_text
from oxenfs.remote.base import BlobPlace, DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.http.answers import branch_of, commit_of, items, mapping
from oxenfs.remote.http.blobs import SMALL_BYTES_MAX, HttpBlobs
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.http.trees import Trees

_PAGE = 1000
_DEFAULT_BRANCH = "main"


class HttpRemote:
    """A repository on a server. Safe to use from several threads; every call blocks."""

    def __init__(self, hosted: Hosted, token: str | None, timeout_s: float = 30.0) -> None:
        """Speak to the server of `hosted`; nothing is asked before it is needed.

        Args:
            hosted: scheme, host, namespace and name.
            token: for exactly this host.
            timeout_s: for connecting, and the longest silence in an answer.
        """
        self.address = str(hosted)
        # The host is part of the key: no server can put bytes into another's part of a cache.
        self.key = f"http:{self.address}"
        path = f"/api/repos/{quote(hosted.namespace)}/{quote(hosted.name)}"
        self.transport = Transport(f"{hosted.scheme}://{hosted.host}", path, token, timeout_s)
        self._trees = Trees(self.transport)
        self._blobs = HttpBlobs(self.transport)

    def branches(self) -> list[Branch]:
        """Return all branches, sorted by name."""
        answer = self.transport.json("GET", "/branches")
        found = [branch_of(value) for value in items(answer.get("branches"), "branches")]
        return sorted(found, key=lambda branch: branch.name)

    def branch(self, name: str) -> Branch:
        """Return the branch called exactly `name`; raise `NotFound`."""
        answer = self.transport.json("GET", f"/branches/{_path(name)}")
        found = branch_of(answer.get("branch"))
        if found.name != name:
            raise NotFound(f"no branch {name!r} at {self.address}")
        return found

    def default_branch(self) -> Branch:
        """Return the branch that the server names, else `main`; raise `NotFound`."""
        answer = mapping(self.transport.json("GET", "").get("repository"), "a repository")
        resource = answer.get("default_resource")
        branch = resource.get("branch") if isinstance(resource, dict) else None
        return branch_of(branch) if branch is not None else self.branch(_DEFAULT_BRANCH)

    def commit(self, commit: ObjectHash) -> Commit:
        """Return a commit by its full id; raise `NotFound`."""
        answer = self.transport.json("GET", f"/commits/{hash_text(commit)}")
        return commit_of(answer.get("commit"))

    def commits_with_prefix(self, prefix: str, limit: int) -> list[ObjectHash]:
        """Return up to `limit` commit ids that start with `prefix`; reads the list of commits."""
        found = []
        for commit in self._pages("/commits/all"):
            if hash_text(commit.id).startswith(prefix):
                found.append(commit.id)
                if len(found) >= limit:
                    break
        return found

    def history(self, head: ObjectHash) -> Iterator[Commit]:
        """Yield `head` and all its ancestors, newest first."""
        seen: set[ObjectHash] = set()
        for commit in self._pages(f"/commits/history/{hash_text(head)}"):
            if commit.id not in seen:
                seen.add(commit.id)
                yield commit

    def root(self, commit: ObjectHash) -> ObjectHash:
        """Return the id of the root directory of `commit`; raise `NotFound`."""
        return self._trees.root(commit)

    def directory(self, directory: ObjectHash, place: TreePlace) -> DirectoryNodes:
        """Return what lists the directory with that node id; raise `NotFound`."""
        return self._trees.directory(directory, place)

    def tree(self, commit: ObjectHash) -> Iterator[RawNode]:
        """Yield the directory and vnode nodes of `commit`, each once."""
        return self._trees.whole(commit)

    def read(
        self, blob: ObjectHash, offset: int, size: int, place: BlobPlace | None = None
    ) -> bytes:
        """Return exactly `size` bytes of `blob`; a small one is fetched whole and checked.

        Without a place the whole blob is fetched whatever its size.
        """
        if place is not None and place.size > SMALL_BYTES_MAX:
            return self._blobs.range(place, offset, size)
        _, content = next(self._blobs.batch([blob]))
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

        return HttpPublisher(self, self.transport).publish(branch, base, changes, message, author)

    def make_branch(self, name: str, commit: ObjectHash) -> None:
        """Make a branch at `commit`; raise `RemoteRefused` or `RemoteUnavailable` if it exists."""
        body = {"new_name": name, "commit_id": hash_text(commit)}
        self.transport.json("POST", "/branches", body=body)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def _pages(self, path: str) -> Iterator[Commit]:
        page = 1
        while True:
            answer = self.transport.json("GET", path, params={"page": page, "page_size": _PAGE})
            found = items(answer.get("commits"), "commits")
            yield from map(commit_of, found)
            total = answer.get("total_pages")
            if not found or not isinstance(total, int) or page >= total:
                return
            page += 1


def _path(name: str) -> str:
    return "/".join(quote(part, safe="") for part in name.split("/"))
