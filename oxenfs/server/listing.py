"""Endpoints that list: revisions, directories, what is known about a path."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from oxenfs.errors import NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.base import TreePlace
from oxenfs.remote.local.ranges import row_at
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.wire import (
    DirectoryPayload,
    FilePayload,
    children_of,
    decode_node,
    decode_payload,
)
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, page
from oxenfs.server.endpoint import Call
from oxenfs.server.revisions import Resource, resolve
from oxenfs.server.shapes import Entries, resource_json, type_counts

Payload = FilePayload | DirectoryPayload


def revisions(call: Call) -> Response:
    """`GET R/revisions/{resource}`."""
    resource = resolved(call)
    return answers.found(resource=resource_json(call.remote, resource))


def directory(call: Call) -> Response:
    """`GET R/dir/{resource}`: one page of a directory, directories first."""
    resource = resolved(call)
    payload = payload_at(call.remote, resource)
    if not isinstance(payload, DirectoryPayload):
        raise absent(resource.path)
    number, size = call.paging()
    depth = call.number("depth", 0)
    entries = Entries(call.remote, resource)
    children = children_at(call.remote, payload.id)
    shown = children[(number - 1) * size : number * size]
    return answers.found(
        dir=entries.entry(payload, resource.path),
        entries=[_entry(call.remote, entries, item, resource.path, depth) for item in shown],
        resource={"path": resource.path.decode(), "version": resource.version},
        metadata={"dir": {"data_types": type_counts(payload)}},
        **page(number, size, len(children)),
    )


def meta(call: Call) -> Response:
    """`GET R/meta/{resource}`: the entry of a file or directory."""
    resource = resolved(call)
    payload = payload_at(call.remote, resource)
    return answers.found(entry=Entries(call.remote, resource).entry(payload, resource.path))


def resolved(call: Call) -> Resource:
    """Return what the `resource` of a request's path means; raise a `Refusal` if nothing."""
    text = call.word("resource")
    try:
        return resolve(call.remote, text)
    except NotFound as exc:
        detail = f"Could not find path: {text}"
        raise Refusal(404, "resource_not_found", "Path does not exist", detail) from exc


def payload_at(remote: LocalRemote, resource: Resource) -> Payload:
    """Return what a resource's path leads to; raise a `Refusal` if that is nothing."""
    parent, _, name = resource.path.rpartition(b"/")
    if not name:
        payload = decode_node(remote.nodes.get(remote.root(resource.commit))).payload
        assert isinstance(payload, DirectoryPayload)
        return payload
    try:
        row = row_at(remote, resource.commit, parent)
    except NotFound as exc:
        raise absent(resource.path) from exc
    folder = remote.root(resource.commit) if row is None else row.id
    if row is not None and row.kind != 0:
        raise absent(resource.path)
    wanted = name.decode()
    nodes = remote.directory(folder, TreePlace(resource.commit, parent))
    for vnode in nodes.vnodes:
        # A look at the bytes first: decoding every payload of a large directory takes a second.
        if name not in vnode.children:
            continue
        for child in children_of(vnode):
            if name in child.payload:
                found = decode_payload(child.type, child.payload)
                if isinstance(found, Payload) and found.name == wanted:
                    return found
    raise absent(resource.path)


def children_at(remote: LocalRemote, directory: ObjectHash) -> list[Payload]:
    """Return the entries of a directory: directories first, then by name."""
    found: list[Payload] = []
    for vnode in remote.nodes.directory(directory).vnodes:
        for child in children_of(vnode):
            payload = decode_payload(child.type, child.payload)
            if isinstance(payload, Payload):
                found.append(payload)
    found.sort(key=lambda payload: (isinstance(payload, FilePayload), payload.name.encode()))
    return found


def absent(path: bytes) -> Refusal:
    """Return the answer for a path that leads to nothing."""
    detail = f"Could not find path: {path.decode()}"
    return Refusal(404, "resource_not_found", "Resource not found", detail)


def _entry(
    remote: LocalRemote, entries: Entries, payload: Payload, parent: bytes, depth: int
) -> dict[str, Any]:
    name = payload.name.encode()
    path = parent + b"/" + name if parent else name
    entry = entries.entry(payload, path)
    if depth and isinstance(payload, DirectoryPayload):
        entry["children"] = [
            _entry(remote, entries, child, path, depth - 1)
            for child in children_at(remote, payload.id)
        ]
    return entry
