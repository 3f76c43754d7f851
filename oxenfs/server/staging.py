"""Endpoints of what is staged in a workspace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from oxenfs.errors import NotFound, UsageError
from oxenfs.remote.cursor import TreeCursor
from oxenfs.remote.local.lookup import entry_at, files_below
from oxenfs.remote.local.receive import Receiver
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.local.staged import Area
from oxenfs.remote.local.workspaces import Workspace
from oxenfs.remote.payloads import DIRECTORY, FILE, FilePayload
from oxenfs.server import answers
from oxenfs.server.answers import plain_error
from oxenfs.server.bodies import TooLarge, inflated
from oxenfs.server.changes import put_record
from oxenfs.server.content import content, file_at
from oxenfs.server.endpoint import Call
from oxenfs.server.multipart import Part, parts_of
from oxenfs.server.pending import base_of, changes_of
from oxenfs.server.revisions import Resource, path_of
from oxenfs.server.shapes import placeholder_entry
from oxenfs.server.versions import SMALL_BYTES_MAX
from oxenfs.server.workspaces import asked

_BATCH = 1000


def add(call: Call) -> Response:
    """`POST R/workspaces/{workspace}/files/{folder}`: files; the answer names those staged."""
    workspace = asked(call)
    folder = call.word("path")
    records: list[Record] = []
    paths: list[str] = []
    receiver = Receiver(call.remote)

    def stage() -> None:
        receiver.flush()
        with call.remote.meta.write() as txn:
            area = Area(txn, workspace.area_key)
            for record in records:
                area.put(record)
        paths.extend(record.path.decode() for record in records)
        records.clear()

    try:
        for part in parts_of(call.body):
            if part.filename is None:
                continue
            record = received(receiver, part, f"{folder}/{part.filename}")
            if record is not None:
                records.append(record)
            if len(records) >= _BATCH:
                stage()
        stage()
    finally:
        receiver.close()
    return answers.created(paths=paths)


def received(receiver: Receiver, part: Part, path: str) -> Record | None:
    """Store a part's content and return its change; None if too much comes out of its gzip."""
    checked = path_of(path)
    if not checked:
        raise UsageError("a file needs a name")
    if part.content_type == "application/gzip":
        try:
            data = inflated(part.pieces(), SMALL_BYTES_MAX)
        except TooLarge:
            return None
        return put_record(checked, receiver.add_bytes(data), len(data), data)
    blob, size, head = receiver.add_stream(part.pieces())
    return put_record(checked, blob, size, head)


def remove(call: Call) -> Response:
    """`DELETE R/workspaces/{workspace}/files`: stage removals of files and directories."""
    workspace = asked(call)
    failed = []
    paths = _paths(call.body.json())
    cursor = base_of(call.remote, workspace)
    with call.remote.meta.write() as txn:
        area = Area(txn, workspace.area_key)
        for text in paths:
            path = text.rstrip("/").encode()
            if not path or not _remove(area, cursor, path):
                failed.append(text)
    if failed:
        return answers.envelope("resource_not_found", status="error", code=206, paths=failed)
    return answers.deleted(paths=paths)


def unstage(call: Call) -> Response:
    """`DELETE R/workspaces/{workspace}/changes/{path}`: forget what is staged at a path."""
    workspace, path = asked(call), path_of(call.word("path"))
    if not _unstage(call.remote, workspace, path):
        return plain_error(404, "resource_not_found")
    return answers.deleted()


def unstage_many(call: Call) -> Response:
    """`DELETE R/workspaces/{workspace}/changes`: the same for a list."""
    workspace = asked(call)
    paths = _paths(call.body.json())
    failed = [
        text for text in paths if not _unstage(call.remote, workspace, text.rstrip("/").encode())
    ]
    if failed:
        return answers.envelope("resource_not_found", status="error", code=206, paths=failed)
    return answers.deleted(paths=paths)


def rename(call: Call) -> Response:
    """`PATCH R/workspaces/{workspace}/files/{path}`: a file or directory gets another path."""
    workspace, old = asked(call), path_of(call.word("path"))
    target = call.body.fields().get("new_path")
    if not isinstance(target, str):
        raise UsageError("the request needs 'new_path'")
    new = path_of(target)
    files = dict(_files_at(call.remote, workspace, old))
    if not files:
        return plain_error(404, "resource_not_found")
    if not new or new == old or new.startswith(old + b"/"):
        raise UsageError("new_path is not right")
    if any(True for _ in _files_at(call.remote, workspace, new)):
        raise UsageError("new_path already exists in the repository")
    cursor = base_of(call.remote, workspace)
    with call.remote.meta.write() as txn:
        area = Area(txn, workspace.area_key)
        _remove(area, cursor, old)
        for path, record in files.items():
            moved = new + path[len(old) :]
            assert record.file is not None
            name = moved.rpartition(b"/")[2].decode()
            area.put(Record(Op.PUT, moved, record.file._replace(name=name)))
    return answers.updated()


def read(call: Call) -> Response:
    """`GET R/workspaces/{workspace}/files/{path}`: staged content, or else the base's."""
    workspace = asked(call)
    resource = Resource(
        workspace.commit, path_of(call.word("path")), workspace.id, workspace=workspace
    )
    return content(call.remote, file_at(call.remote, resource), head=call.head)


def changes(call: Call) -> Response:
    """`GET R/workspaces/{workspace}/changes/{folder}`: what a commit would change."""
    workspace, folder = asked(call), path_of(call.word("path"))
    number, size = call.paging()
    cursor = base_of(call.remote, workspace)
    found: dict[str, list[dict[str, Any]]] = {"added": [], "modified": [], "removed": []}
    folders: dict[tuple[bytes, str], int] = {}
    with call.remote.meta.read() as txn:
        records = list(Area(txn, workspace.area_key).below(folder))
    for record in records:
        for path, kind in changes_of(call.remote, cursor, record):
            found[kind].append(placeholder_entry(path))
            if kind != "modified":
                parent = path.rpartition(b"/")[0]
                key = (parent, "Added" if kind == "added" else "Removed")
                folders[key] = folders.get(key, 0) + 1
    tops: dict[str, list[dict[str, Any]]] = {}
    for (parent, status), count in folders.items():
        shown = parent.decode()
        entry = {"path": shown, "num_files_staged": count, "total_files": 0, "status": status}
        tops.setdefault(shown.partition("/")[0], []).append(entry)
    return answers.found(
        staged={
            "added_dirs": {
                "num_files_staged": sum(folders.values()),
                "total_files": 0,
                "paths": tops,
            },
            **{f"{kind}_files": _page(entries, number, size) for kind, entries in found.items()},
        }
    )


def _remove(area: Area, cursor: TreeCursor, path: bytes) -> bool:
    """Stage the removal of `path`; return whether there was anything."""
    staged = area.get(path)
    was_put = staged is not None and staged.op is Op.PUT
    dropped = area.drop_below(path) > 0
    there = cursor.entry(path)
    if there is not None and there[0] in (FILE, DIRECTORY):
        area.put(Record(Op.REMOVE, path))
        return True
    if was_put:
        area.drop(path)
    return was_put or dropped


def _unstage(remote: LocalRemote, workspace: Workspace, path: bytes) -> bool:
    with remote.meta.write() as txn:
        area = Area(txn, workspace.area_key)
        below = area.drop_below(path)
        return area.drop(path) or below > 0


def _files_at(
    remote: LocalRemote, workspace: Workspace, path: bytes
) -> Iterable[tuple[bytes, Record]]:
    """Yield the files at and below `path` as a commit would leave them."""
    with remote.meta.read() as txn:
        area = Area(txn, workspace.area_key)
        staged = {record.path: record for record in area.below(path)}
        own = area.get(path)
    if own is not None:
        staged[path] = own
    removed = [each.path for each in staged.values() if each.op is Op.REMOVE]
    try:
        there = entry_at(remote, workspace.commit, path)
    except NotFound:
        base: Iterable[tuple[bytes, FilePayload]] = ()
    else:
        if isinstance(there, FilePayload):
            base = [(path, there)]
        else:
            base = files_below(remote, there.id, path)
    for each, file in base:
        gone = any(each == path or each.startswith(path + b"/") for path in removed)
        if each not in staged and not gone:
            yield each, Record(Op.PUT, each, file)
    for record in staged.values():
        if record.op is Op.PUT:
            yield record.path, record


def _page(entries: list[dict[str, Any]], number: int, size: int) -> dict[str, Any]:
    return {
        "dir": None,
        "entries": entries[(number - 1) * size : number * size],
        "resource": None,
        "metadata": None,
        "page_size": size,
        "page_number": number,
        "total_pages": -(-len(entries) // size),
        "total_entries": len(entries),
    }


def _paths(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError("the request must be a list of paths")
    return value
