"""Workspaces: staging areas of a repository, each on a base commit. They survive a restart.

Table `workspaces`: `i` and the id to JSON of the workspace; `n` and a name to the id.

What a commit takes out of a workspace goes in the same transaction in which the branch moves: an
area is a number in the workspace's record, and its changes are swept up when nobody names it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from oxenfs.errors import Conflict, NotFound, UsageError
from oxenfs.kv import Transaction
from oxenfs.model import Author, ObjectHash, hash_text, parse_hash
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Record
from oxenfs.remote.local.staged import AREA_BYTES, Area, sweep

_ID_BYTES_MAX = 400


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as it is stored.

    Attributes:
        name: None: it ends with its first commit.
        base: text of the commit that it stands on.
        area: hex of the key of its staged changes.
    """

    id: str
    name: str | None
    base: str
    created_ns: int
    area: str

    @property
    def commit(self) -> ObjectHash:
        """The base."""
        return parse_hash(self.base)

    @property
    def area_key(self) -> bytes:
        """The key of its staged changes."""
        return bytes.fromhex(self.area)


def find(remote: LocalRemote, key: str) -> Workspace:
    """Return the workspace with that id, or else of that name; raise `NotFound`."""
    with remote.meta.read() as txn:
        found = _by_id(txn, key) or _by_name(txn, key)
    if found is None:
        raise NotFound(f"Workspace not found: {key}")
    return found


def listed(remote: LocalRemote) -> list[Workspace]:
    """Return all workspaces."""
    with remote.meta.read() as txn:
        return [_load(value) for _, value in txn.scan("workspaces", b"i")]


def get_or_create(
    remote: LocalRemote, id: str, name: str | None, base: ObjectHash
) -> tuple[Workspace, bool]:
    """Return the workspace of that name, or else id, and whether it was made now, on `base`."""
    for text in (id, name or "-"):
        if not 0 < len(text.encode()) <= _ID_BYTES_MAX or "\0" in text:
            raise UsageError(f"not an id or name of a workspace: {text[:80]!r}")
    made = Workspace(id, name, hash_text(base), time.time_ns(), secrets.token_hex(AREA_BYTES))
    with remote.meta.write() as txn:
        found = (_by_name(txn, name) if name else None) or _by_id(txn, id)
        if found is not None:
            return found, False
        sweep(txn, (_load(value).area_key for _, value in txn.scan("workspaces", b"i")))
        _put(txn, made)
        if name:
            txn.put("workspaces", b"n" + name.encode(), id.encode())
    return made, True


def delete(remote: LocalRemote, workspace: Workspace) -> None:
    """Remove a workspace and what is staged in it."""
    with remote.meta.write() as txn:
        _remove(txn, workspace)
        Area(txn, workspace.area_key).drop_below(b"")


def commit(
    remote: LocalRemote, workspace: Workspace, branch: str, message: str, author: Author
) -> ObjectHash:
    """Commit what is staged to `branch` and return the new commit.

    In one transaction with the move of the branch the workspace goes; a named one stays, empty,
    on the new commit.

    Raises:
        NotFound: there is no such branch.
        Conflict: what is staged was changed between base and head to something else.
        NothingToPublish: the head has all of it.
    """
    remote.branch(branch)

    def along(txn: Transaction, id: ObjectHash) -> None:
        if _by_id(txn, workspace.id) != workspace:
            raise Conflict("the workspace was committed or deleted meanwhile")
        if workspace.name is None:
            _remove(txn, workspace)
        else:
            area = secrets.token_hex(AREA_BYTES)
            _put(txn, replace(workspace, base=hash_text(id), area=area))

    def records() -> Iterator[Record]:
        with remote.meta.read() as txn:
            yield from Area(txn, workspace.area_key).below(b"")

    return remote.publisher.publish_stored(
        branch, workspace.commit, records(), message, author, remote.root, along
    )


def _by_id(txn: Transaction, id: str) -> Workspace | None:
    if len(id.encode()) > _ID_BYTES_MAX:
        return None
    value = txn.get("workspaces", b"i" + id.encode())
    return None if value is None else _load(value)


def _by_name(txn: Transaction, name: str) -> Workspace | None:
    if len(name.encode()) > _ID_BYTES_MAX:
        return None
    id = txn.get("workspaces", b"n" + name.encode())
    return None if id is None else _by_id(txn, id.decode())


def _load(value: bytes) -> Workspace:
    return Workspace(**json.loads(value))


def _put(txn: Transaction, workspace: Workspace) -> None:
    value = json.dumps(asdict(workspace)).encode()
    txn.put("workspaces", b"i" + workspace.id.encode(), value)


def _remove(txn: Transaction, workspace: Workspace) -> None:
    txn.delete("workspaces", b"i" + workspace.id.encode())
    if workspace.name:
        txn.delete("workspaces", b"n" + workspace.name.encode())
