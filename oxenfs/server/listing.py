"""Endpoints that list: revisions, directories, what is known about a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from oxenfs.errors import NotFound
from oxenfs.remote.local.lookup import Entry, Order, children_at, entry_at
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.workspaces import Workspace
from oxenfs.remote.payloads import DirectoryPayload
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, page
from oxenfs.server.endpoint import Call
from oxenfs.server.pending import ADDED, change_at, changes_in, staged_at
from oxenfs.server.revisions import Resource, resolve
from oxenfs.server.shapes import Entries, resource_json, type_counts


def revisions(call: Call) -> Response:
    """`GET R/revisions/{resource}`."""
    resource = resolved(call)
    return answers.found(resource=resource_json(call.remote, resource))


def directory(call: Call) -> Response:
    """`GET R/dir/{resource}`: one page of a directory, by name or, with `sort_by=date`, by commit.

    In a workspace entries tell what is staged for them. Files that are staged and not in the base
    follow on the last page; they do not count.
    """
    resource = resolved(call)
    payload = payload_at(call.remote, resource)
    if not isinstance(payload, DirectoryPayload):
        raise absent(resource.path)
    number, size = call.paging()
    depth = call.number("depth", 0)
    entries = Entries(call.remote, resource)
    order = _order(call)
    start = (number - 1) * size
    pages = call.hosting.pages
    shown, total = pages.page(call.remote, payload.id, start, start + size, order)
    listed = [_entry(call.remote, entries, item, resource.path, depth, order) for item in shown]
    if resource.workspace is not None:
        changes = changes_in(call.remote, resource.workspace, resource.path)
        for entry in listed:
            if entry["filename"] in changes:
                entry["changes"] = _change(changes[entry["filename"]])
        if start < max(total, 1) <= start + size:
            listed += _added(call.remote, entries, resource.workspace, resource.path, changes)
    return answers.found(
        dir=entries.entry(payload, resource.path),
        entries=listed,
        resource={"path": resource.path.decode(), "version": resource.version},
        metadata={"dir": {"data_types": type_counts(payload)}},
        **page(number, size, total),
    )


def meta(call: Call) -> Response:
    """`GET R/meta/{resource}`: the entry of a file or directory."""
    resource = resolved(call)
    entries = Entries(call.remote, resource)
    workspace, path = resource.workspace, resource.path
    change = None if workspace is None else change_at(call.remote, workspace, path)
    if change == ADDED and workspace is not None:
        payload: Entry | None = staged_at(call.remote, workspace, path)
    else:
        payload = payload_at(call.remote, resource)
    if payload is None:
        raise absent(path)
    entry = entries.entry(payload, path)
    if change is not None:
        entry["changes"] = _change(change)
    return answers.found(entry=entry)


def resolved(call: Call) -> Resource:
    """Return what the `resource` of a request's path means; raise a `Refusal` if nothing."""
    text = call.word("resource")
    try:
        return resolve(call.remote, text)
    except NotFound as exc:
        detail = f"Could not find path: {text}"
        raise Refusal(404, "resource_not_found", "Path does not exist", detail) from exc


def payload_at(remote: LocalRemote, resource: Resource) -> Entry:
    """Return what a resource's path leads to; raise a `Refusal` if that is nothing."""
    try:
        return entry_at(remote, resource.commit, resource.path)
    except NotFound as exc:
        raise absent(resource.path) from exc


def absent(path: bytes) -> Refusal:
    """Return the answer for a path that leads to nothing."""
    detail = f"Could not find path: {path.decode()}"
    return Refusal(404, "resource_not_found", "Resource not found", detail)


def _order(call: Call) -> Order:
    by = (call.query("sort_by") or "name").strip().lower()
    if by not in ("name", "date"):
        detail = "Invalid value for sort_by, valid options include: `name`, `date`."
        raise Refusal(400, "bad_request", "Bad Request", detail)
    return Order(by == "date", call.query("reverse") == "true")


def _entry(
    remote: LocalRemote,
    entries: Entries,
    payload: Entry,
    parent: bytes,
    depth: int,
    order: Order,
) -> dict[str, Any]:
    name = payload.name.encode()
    path = parent + b"/" + name if parent else name
    entry = entries.entry(payload, path)
    if depth and isinstance(payload, DirectoryPayload):
        entry["children"] = [
            _entry(remote, entries, child, path, depth - 1, order)
            for child in children_at(remote, payload.id, order)
        ]
    return entry


def _added(
    remote: LocalRemote,
    entries: Entries,
    workspace: Workspace,
    folder: bytes,
    changes: dict[str, str],
) -> Iterator[dict[str, Any]]:
    for name in sorted(name for name, change in changes.items() if change == ADDED):
        path = folder + b"/" + name.encode() if folder else name.encode()
        file = staged_at(remote, workspace, path)
        if file is not None:
            yield {**entries.entry(file, path), "changes": _change(ADDED)}


def _change(change: str) -> dict[str, str]:
    return {"status": change.capitalize()}
