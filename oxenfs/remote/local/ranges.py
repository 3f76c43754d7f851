"""Which nodes a client gets: of a commit with all its history, of a range, of parts of a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oxenfs.errors import NotFound
from oxenfs.model import Commit, Kind, ObjectHash
from oxenfs.remote.base import DirectoryNodes, RawNode, TreePlace
from oxenfs.remote.local.lookup import entries_to
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import DIRECTORY, VNODE, DirectoryPayload
from oxenfs.remote.rows import rows_of
from oxenfs.remote.wire import child_types, children_of

_NOWHERE = TreePlace(ObjectHash(0), b"")
"""Directories are found by id here."""


def commits_between(remote: LocalRemote, base: ObjectHash, head: ObjectHash) -> list[Commit]:
    """Return the ancestors of `head`, itself included, that are not ancestors of `base`.

    Newest first. Raise `NotFound` if one of both is no commit.
    """
    old = {commit.id for commit in remote.history(base)}
    return [commit for commit in remote.history(head) if commit.id not in old]


def history_nodes(remote: LocalRemote, head: ObjectHash) -> Iterator[RawNode]:
    """Yield all nodes of `head` and all its ancestors, each once."""
    seen: set[ObjectHash] = set()
    for commit in remote.history(head):
        yield remote.nodes.get(commit.id)
        yield from remote.nodes.below(remote.root(commit.id), seen)


def range_nodes(remote: LocalRemote, base: ObjectHash, head: ObjectHash) -> Iterator[RawNode]:
    """Yield the nodes that commits after `base`, up to `head`, have and their parents have not.

    The parents are among them, or older than `base`: whoever has `base` has all of it then. Costs
    as much as what changed; the trees are not walked.
    """
    seen: set[ObjectHash] = set()
    for commit in reversed(commits_between(remote, base, head)):
        yield remote.nodes.get(commit.id)
        parent = remote.root(commit.parents[0]) if commit.parents else None
        yield from changed_nodes(remote, parent, remote.root(commit.id), seen)


def changed_nodes(
    remote: LocalRemote, old: ObjectHash | None, new: ObjectHash, seen: set[ObjectHash]
) -> Iterator[RawNode]:
    """Yield the nodes of the tree `new` that are not at the same place in the tree `old`.

    Args:
        remote: where.
        old: a directory's node id; None: there is none.
        new: the same.
        seen: ids to leave out, together with what is below them; grows.
    """
    waiting = [(old, new)]
    while waiting:
        before, after = waiting.pop()
        if before == after or after in seen:
            continue
        seen.add(after)
        if before is None:
            seen.discard(after)
            yield from remote.nodes.below(after, seen)
            continue
        theirs, ours = remote.directory(before, _NOWHERE), remote.directory(after, _NOWHERE)
        yield ours.directory
        known = {vnode.id for vnode in theirs.vnodes}
        changed = [vnode for vnode in ours.vnodes if vnode.id not in known]
        for vnode in changed:
            if vnode.id not in seen:
                seen.add(vnode.id)
                yield vnode
        if not any(DIRECTORY in child_types(vnode) for vnode in changed):
            continue
        folders = {row.name: row.id for row in rows_of(theirs) if row.kind == Kind.DIRECTORY}
        rows = rows_of(DirectoryNodes(ours.directory, tuple(changed)))
        waiting += [(folders.get(r.name), r.id) for r in rows if r.kind == Kind.DIRECTORY]


def all_nodes(remote: LocalRemote) -> Iterator[RawNode]:
    """Yield the nodes of all branches with their history, each once."""
    seen: set[ObjectHash] = set()
    commits: set[ObjectHash] = set()
    for branch in remote.branches():
        for commit in remote.history(branch.commit):
            if commit.id not in commits:
                commits.add(commit.id)
                yield remote.nodes.get(commit.id)
                yield from remote.nodes.below(remote.root(commit.id), seen)


def subtree_nodes(
    remote: LocalRemote,
    commit: ObjectHash,
    paths: Iterable[bytes],
    depth: int | None,
    *,
    parents: bool,
) -> Iterator[RawNode]:
    """Yield the commit's node, and those of some of its directories with what is in them.

    Args:
        remote: where.
        commit: of which commit.
        paths: of directories; what is not there, or is a file, is passed over.
        depth: 0: the directory and its vnodes; 1: those of its directories without their vnodes
            as well; 2: with; and so on. None: everything.
        parents: whether the nodes on the way to a path come, too.
    """
    yield remote.nodes.get(commit)
    seen: set[ObjectHash] = set()
    for path in paths:
        way, found = _walk(remote, commit, path)
        for id in way if parents else ():
            for node in _one(remote, id):
                if node.id not in seen:
                    seen.add(node.id)
                    yield node
        if found is not None:
            # What came on the way as a single directory may be a subtree now.
            seen.discard(found)
            yield from _below(remote, found, depth, seen)


def _walk(
    remote: LocalRemote, commit: ObjectHash, path: bytes
) -> tuple[list[ObjectHash], ObjectHash | None]:
    """Return the directories on the way to `path`, and the one there if there is one."""
    try:
        entries = list(entries_to(remote, commit, path))
    except NotFound:
        return [], None
    way = [each.id for each in entries if isinstance(each, DirectoryPayload)]
    return (way[:-1], way[-1]) if len(way) == len(entries) else (way, None)


def _one(remote: LocalRemote, directory: ObjectHash) -> Iterator[RawNode]:
    nodes = remote.nodes.directory(directory)
    yield nodes.directory
    yield from nodes.vnodes


def _below(
    remote: LocalRemote, root: ObjectHash, depth: int | None, seen: set[ObjectHash]
) -> Iterator[RawNode]:
    waiting = [(root, 0)]
    while waiting:
        id, level = waiting.pop()
        if id in seen:
            continue
        seen.add(id)
        node = remote.nodes.get(id)
        yield node
        for child in children_of(node):
            # A vnode has the level of its directory; the server counts it one deeper, except for
            # that of the first directory.
            if child.type == VNODE and (depth is None or not level or level < depth):
                waiting.append((child.hash, level))
            elif child.type == DIRECTORY and (depth is None or level < depth):
                waiting.append((child.hash, level + 1))
