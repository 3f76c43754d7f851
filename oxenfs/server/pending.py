"""What is staged in a workspace, told as changes against its base: added, modified, removed."""

from __future__ import annotations

from collections.abc import Iterator

from oxenfs.errors import NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.cursor import TreeCursor
from oxenfs.remote.local.lookup import children_at, entry_at, files_below
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.local.staged import Area
from oxenfs.remote.local.workspaces import Workspace
from oxenfs.remote.payloads import DIRECTORY, FILE, FilePayload

ADDED, MODIFIED, REMOVED = "added", "modified", "removed"


def base_of(remote: LocalRemote, workspace: Workspace) -> TreeCursor:
    """Return a cursor over the tree that a workspace stands on."""
    return TreeCursor(remote.directory, workspace.commit, remote.root(workspace.commit))


def changes_of(
    remote: LocalRemote, base: TreeCursor, record: Record
) -> Iterator[tuple[bytes, str]]:
    """Yield which files a staged record adds, modifies or removes, against the base."""
    kind, id = base.entry(record.path) or (None, ObjectHash(0))
    if record.op is Op.PUT and record.file is not None:
        if kind != FILE:
            yield record.path, ADDED
        elif id != record.file.hash:
            yield record.path, MODIFIED
    elif record.op is Op.REMOVE and kind == FILE:
        yield record.path, REMOVED
    elif record.op is Op.REMOVE and kind == DIRECTORY:
        for path, _ in files_below(remote, id, record.path):
            yield path, REMOVED


def changes_in(remote: LocalRemote, workspace: Workspace, folder: bytes) -> dict[str, str]:
    """Return what became of the files right in `folder`, by name."""
    with remote.meta.read() as txn:
        area = Area(txn, workspace.area_key)
        records = [each for each in area.below(folder) if _parent(each.path) == folder]
        removed = _is_removed(area, folder)
    found: dict[str, str] = {}
    if removed:
        there = entry_at(remote, workspace.commit, folder)
        if not isinstance(there, FilePayload):
            inside = children_at(remote, there.id)
            found = {each.name: REMOVED for each in inside if isinstance(each, FilePayload)}
    base = base_of(remote, workspace)
    for record in records:
        for path, change in changes_of(remote, base, record):
            if path == record.path:
                found[path.rpartition(b"/")[2].decode()] = change
    return found


def change_at(remote: LocalRemote, workspace: Workspace, path: bytes) -> str | None:
    """Return what became of the file at `path`; None: nothing, or it is none."""
    try:
        return changes_in(remote, workspace, _parent(path)).get(path.rpartition(b"/")[2].decode())
    except NotFound:
        return None


def staged_at(remote: LocalRemote, workspace: Workspace, path: bytes) -> FilePayload | None:
    """Return the file that is staged at `path`, if there is one."""
    with remote.meta.read() as txn:
        record = Area(txn, workspace.area_key).get(path)
    return None if record is None else record.file


def _is_removed(area: Area, folder: bytes) -> bool:
    while folder:
        record = area.get(folder)
        if record is not None and record.op is Op.REMOVE:
            return True
        folder = _parent(folder)
    return False


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
