"""Resource strings, `{revision}/{path}` in one: which revision it is, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass

from oxenfs.errors import NotFound, Unsupported, UsageError
from oxenfs.model import Branch, ObjectHash, check_name, parse_hash
from oxenfs.remote.local import workspaces
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.workspaces import Workspace


@dataclass(frozen=True, slots=True)
class Resource:
    """What a resource string means.

    Attributes:
        path: below the root, without slashes at its ends; empty for the root.
        version: the part of the string that is the revision.
    """

    commit: ObjectHash
    path: bytes
    version: str
    branch: Branch | None = None
    workspace: Workspace | None = None


def resolve(remote: LocalRemote, text: str) -> Resource:
    """Return what `text` means.

    Tried in this order: the first component is a commit; a branch, where with `a/b/c/d` first
    `a/b/c` is tried, then `a/b`, `a`, and all of it last; a workspace's id or name.

    Raises:
        NotFound: it means nothing.
        Unsupported: a path that no repository has.
    """
    parts = path_of(text).decode().split("/")
    commit = _commit(remote, parts[0])
    if commit is not None:
        return Resource(commit, _joined(parts[1:]), parts[0])
    for length in [*range(len(parts) - 1, 0, -1), len(parts)]:
        name = "/".join(parts[:length])
        try:
            branch = remote.branch(name)
        except NotFound:
            continue
        return Resource(branch.commit, _joined(parts[length:]), name, branch=branch)
    try:
        workspace = workspaces.find(remote, parts[0])
    except NotFound as exc:
        raise NotFound(f"Could not find path: {text}") from exc
    return Resource(workspace.commit, _joined(parts[1:]), parts[0], workspace=workspace)


def revision(remote: LocalRemote, text: str) -> ObjectHash:
    """Return the commit that all of `text` means: an id, or a branch with any slashes."""
    commit = _commit(remote, text)
    if commit is not None:
        return commit
    try:
        return remote.branch(text).commit
    except NotFound:
        return workspaces.find(remote, text).commit


def path_of(text: str) -> bytes:
    """Return a path as repositories have it: no empty components, no `.`; raise `Unsupported`."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    for part in parts:
        try:
            check_name(part.encode())
        except UnicodeEncodeError as exc:
            raise Unsupported(f"a path that is not UTF-8: {text!r}") from exc
    return "/".join(parts).encode()


def _commit(remote: LocalRemote, text: str) -> ObjectHash | None:
    try:
        return remote.commit(parse_hash(text)).id
    except (UsageError, NotFound):
        return None


def _joined(parts: list[str]) -> bytes:
    return "/".join(parts).encode()
