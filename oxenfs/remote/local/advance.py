"""Moving a branch to a commit that was pushed: first everything below it is looked at.

A commit is listed (table `commits`) once it is known to be complete: its tree, its blobs, its
ancestors. Only what a commit does not share with its parents is read, so that a push costs what
it brings.
"""

from __future__ import annotations

from typing import NamedTuple

from oxenfs.errors import Conflict, IntegrityError, NotFound, Unsupported
from oxenfs.model import DEPTH_MAX, Commit, ObjectHash, check_name, hash_text
from oxenfs.names import quoted
from oxenfs.remote.changes import check_branch_name
from oxenfs.remote.hashing import little
from oxenfs.remote.local.refs import has_commit, put_commit
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import DIRECTORY, DirectoryPayload, FilePayload, decode_payload
from oxenfs.remote.wire import children_of, decode_node


class Incomplete(NotFound):
    """Something that a commit needs is not here."""


class _Place(NamedTuple):
    directory: ObjectHash
    before: tuple[ObjectHash, ...]
    path: bytes
    depth: int


def unlisted(remote: LocalRemote, head: ObjectHash) -> list[Commit]:
    """Return the commits from `head` on that are not listed, parents before children.

    Raises:
        Incomplete: the node of one of them is missing.
        IntegrityError: one is not a commit.
    """
    found: dict[ObjectHash, Commit] = {}
    waiting = [head]
    while waiting:
        id = waiting.pop()
        if id in found or has_commit(remote.meta, id):
            continue
        try:
            payload = decode_node(remote.nodes.get(id)).payload
        except NotFound as exc:
            raise Incomplete(f"commit {hash_text(id)} is not stored") from exc
        if not isinstance(payload, Commit):
            raise IntegrityError(f"node {hash_text(id)} is not a commit")
        found[id] = payload
        waiting.extend(payload.parents)
    return _parents_first(found)


def check(remote: LocalRemote, commits: list[Commit]) -> None:
    """Raise unless everything that `commits`, parents first, add to listed ones is here and right.

    Raises:
        Incomplete: a node or blob is missing.
        IntegrityError: a node is damaged, a size is wrong, a name is there twice.
        Unsupported: a name that must not be.
    """
    for commit in commits:
        before = tuple(remote.root(parent) for parent in commit.parents)
        root = remote.root(commit.id)
        waiting = [_Place(root, before, b"", 0)]
        while waiting:
            waiting += _check_directory(remote, waiting.pop())


def advance(remote: LocalRemote, branch: str, head: ObjectHash) -> None:
    """Set `branch` to `head`, wherever it is and whether it is there, after checking the commit.

    A commit that is new here must stand on what the branch is at: clients look at the branch
    before they push, so anything else means that somebody was faster, and his commit would be lost.
    To commits that are listed a branch moves in any direction.

    Durable on return. A kill before leaves the branch where it was.

    Raises:
        UsageError: not a name for a branch.
        Conflict: the commit is new, and does not stand on the branch.
        Incomplete: see `check`, which may raise other errors as well.
    """
    check_branch_name(branch)
    commits = unlisted(remote, head)
    check(remote, commits)
    with remote.layout.held():
        now = next((each.commit for each in remote.branches() if each.name == branch), None)
        if commits and now is not None and not _stands_on(remote, commits, now):
            raise Conflict(f"branch {branch} moved to {hash_text(now)} meanwhile; pull first")
        with remote.meta.write() as txn:
            for commit in commits:
                put_commit(txn, commit)
            txn.put("refs", branch.encode(), little(head))


def delete_branch(remote: LocalRemote, branch: str) -> ObjectHash:
    """Remove `branch` and return the commit it was at; raise `NotFound`."""
    with remote.layout.held():
        found = remote.branch(branch)
        with remote.meta.write() as txn:
            txn.delete("refs", branch.encode())
    return found.commit


def _stands_on(remote: LocalRemote, commits: list[Commit], base: ObjectHash) -> bool:
    """Return whether one of new commits has the listed commit `base` among its ancestors."""
    new = {commit.id for commit in commits}
    below = {parent for commit in commits for parent in commit.parents} - new
    if base in below:
        return True
    return any(commit.id == base for parent in below for commit in remote.history(parent))


def _parents_first(commits: dict[ObjectHash, Commit]) -> list[Commit]:
    ordered: list[Commit] = []
    done: set[ObjectHash] = set()
    for start in commits:
        stack = [(start, False)]
        while stack:
            id, parents_done = stack.pop()
            if id not in commits or (id in done and not parents_done):
                continue
            if parents_done:
                ordered.append(commits[id])
                continue
            # Marked before its parents are through: a cycle of forged ids ends here, too.
            done.add(id)
            stack.append((id, True))
            stack.extend((parent, False) for parent in commits[id].parents)
    return ordered


def _check_directory(remote: LocalRemote, place: _Place) -> list[_Place]:
    """Check one directory without those in it; return those that no parent has just so."""
    if place.directory in place.before:
        return []
    if place.depth > DEPTH_MAX:
        raise Unsupported(f"folders are nested deeper than {DEPTH_MAX}: {quoted(place.path[:80])}")
    known, folders = _known(remote, place.before)
    names: set[str] = set()
    below: list[_Place] = []
    try:
        nodes = remote.directory(place.directory, None)  # type: ignore[arg-type]
    except NotFound as exc:
        raise Incomplete(f"folder {_shown(place.path)}: {exc}") from exc
    for vnode in nodes.vnodes:
        for child in children_of(vnode):
            payload = decode_payload(child.type, child.payload)
            if not isinstance(payload, FilePayload | DirectoryPayload):
                raise IntegrityError(f"an entry of type {child.type} in {_shown(place.path)}")
            if payload.name in names:
                raise IntegrityError(f"{_shown(place.path)} has {quoted(payload.name)} twice")
            names.add(payload.name)
            if vnode.id in known:
                continue
            name = payload.name.encode()
            check_name(name)
            path = place.path + b"/" + name if place.path else name
            if isinstance(payload, FilePayload):
                if child.hash != payload.hash:
                    raise IntegrityError(f"{_shown(path)} has two hashes")
                _check_file(remote, payload, path)
            elif child.hash != payload.id:
                raise IntegrityError(f"{_shown(path)} has two ids")
            else:
                before = tuple(folders.get(payload.name, ()))
                below.append(_Place(payload.id, before, path, place.depth + 1))
    return below


def _known(
    remote: LocalRemote, directories: tuple[ObjectHash, ...]
) -> tuple[set[ObjectHash], dict[str, list[ObjectHash]]]:
    """Return the vnodes of complete directories, and the folders in them by name."""
    vnodes: set[ObjectHash] = set()
    folders: dict[str, list[ObjectHash]] = {}
    for directory in directories:
        for vnode in remote.nodes.directory(directory).vnodes:
            vnodes.add(vnode.id)
            for child in children_of(vnode):
                if child.type == DIRECTORY:
                    payload = decode_payload(DIRECTORY, child.payload)
                    assert isinstance(payload, DirectoryPayload)
                    folders.setdefault(payload.name, []).append(payload.id)
    return vnodes, folders


def _check_file(remote: LocalRemote, file: FilePayload, path: bytes) -> None:
    try:
        size = remote.locate(file.hash).size
    except NotFound as exc:
        raise Incomplete(f"blob {hash_text(file.hash)} of {_shown(path)} is not stored") from exc
    if size != file.size:
        raise IntegrityError(f"{_shown(path)} says {file.size} bytes, its blob has {size}")


def _shown(path: bytes) -> str:
    return quoted(path or b"/")
