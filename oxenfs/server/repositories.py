"""Endpoints about the server and about repositories as such."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from oxenfs.errors import NotFound, UsageError
from oxenfs.model import Author, Branch
from oxenfs.remote.payloads import DirectoryPayload
from oxenfs.remote.wire import decode_node
from oxenfs.server import answers
from oxenfs.server.bodies import text_field
from oxenfs.server.changes import first_commit
from oxenfs.server.endpoint import Call
from oxenfs.server.hosting import Hosted
from oxenfs.server.revisions import Resource
from oxenfs.server.shapes import commit_json, resource_json, type_counts

MIN_VERSION = "0.36.0"


def version(call: Call) -> Response:
    """`GET /api/version`."""
    return answers.found(version=answers.OXEN_VERSION)


def min_version(call: Call) -> Response:
    """`GET /api/min_version`."""
    return answers.found(version=MIN_VERSION)


def health(call: Call) -> Response:
    """`GET /api/health`."""
    return answers.found()


def namespaces(call: Call) -> Response:
    """`GET /api/namespaces`."""
    return answers.found(namespaces=[{"namespace": name} for name in call.hosting.names()])


def listed(call: Call) -> Response:
    """`GET /api/repos/{namespace}`."""
    namespace = call.word("namespace")
    names = call.hosting.names().get(namespace, [])
    found = [{"namespace": namespace, "name": name, "min_version": MIN_VERSION} for name in names]
    return answers.found(repositories=found)


def create(call: Call) -> Response:
    """`POST /api/repos`: a repository, empty or with a first commit."""
    fields = call.body.fields()
    namespace, name = text_field(fields, "namespace"), text_field(fields, "name")
    files = [_file(item) for item in fields.get("files") or []]
    call.hosting.create(namespace, name)
    with call.hosting.lease(namespace, name) as hosted:
        latest = None
        if files:
            contents = {path: content for path, content, _ in files}
            id = first_commit(hosted.remote, "main", contents, "Initial commit", files[0][2])
            latest = commit_json(hosted.remote.commit(id))
        return _without_version(
            {
                "namespace": namespace,
                "name": name,
                "latest_commit": latest,
                "min_version": MIN_VERSION,
                "storage_kind": "local",
                "repo_uuid": hosted.remote.layout.uuid,
            }
        )


def show(call: Call) -> Response:
    """`GET R`."""
    hosted = call.hosted
    branches = hosted.remote.branches()
    shown: dict[str, Any] = {
        "namespace": hosted.namespace,
        "name": hosted.name,
        "min_version": MIN_VERSION,
        "is_empty": not branches,
        "storage_kind": "local",
        "repo_uuid": hosted.remote.layout.uuid,
        "size": 0,
        "data_types": [],
        "branch_count": len(branches),
    }
    if branches:
        branch = default_branch(hosted, branches)
        root = root_payload(hosted, branch)
        shown["size"] = root.size
        shown["data_types"] = type_counts(root)
        resource = Resource(branch.commit, b"", branch.name, branch=branch)
        shown["default_resource"] = resource_json(hosted.remote, resource)
    return _without_version(shown)


def delete(call: Call) -> Response:
    """`DELETE R`."""
    call.hosting.delete(call.hosted)
    return answers.deleted()


def stats(call: Call) -> Response:
    """`GET R/stats`."""
    branches = call.remote.branches()
    if not branches:
        return answers.found(repository={"data_size": 0, "data_types": []})
    root = root_payload(call.hosted, default_branch(call.hosted, branches))
    types = [
        {"data_type": name, "data_size": root.sizes.get(name, 0), "file_count": count}
        for name, count in sorted(root.counts.items())
    ]
    return answers.found(repository={"data_size": root.size, "data_types": types})


def size(call: Call) -> Response:
    """`GET` and `POST R/size`."""
    branches = call.remote.branches()
    total = root_payload(call.hosted, default_branch(call.hosted, branches)).size if branches else 0
    return JSONResponse({"status": "done", "size": total})


def action(call: Call) -> Response:
    """`POST R/action/{state}/{action}`: clients tell what they are about to do."""
    state = {"action": call.word("action"), "status": "success", "state": call.word("state")}
    return JSONResponse(state)


def default_branch(hosted: Hosted, branches: list[Branch]) -> Branch:
    """Return the branch that is shown for the repository: the configured one, or the first."""
    try:
        return hosted.remote.default_branch()
    except NotFound:
        return branches[0]


def root_payload(hosted: Hosted, branch: Branch) -> DirectoryPayload:
    """Return the root directory at a branch."""
    root = hosted.remote.root(branch.commit)
    payload = decode_node(hosted.remote.nodes.get(root)).payload
    assert isinstance(payload, DirectoryPayload)
    return payload


def _file(item: Any) -> tuple[bytes, bytes, Author]:
    if not isinstance(item, dict):
        raise UsageError("files must be objects")
    user = item.get("user")
    contents = item.get("contents")
    if not isinstance(user, dict):
        raise UsageError("a file needs its user")
    if isinstance(contents, dict) and len(contents) == 1:
        (contents,) = contents.values()
    if isinstance(contents, list):
        try:
            contents = bytes(contents)
        except (TypeError, ValueError) as exc:
            raise UsageError("contents must be text or bytes") from exc
    elif isinstance(contents, str):
        contents = contents.encode()
    else:
        raise UsageError("contents must be text or bytes")
    author = Author(text_field(user, "name"), text_field(user, "email"))
    return text_field(item, "path").encode(), contents, author


def _without_version(repository: dict[str, Any]) -> Response:
    body = {"status": "success", "status_message": "resource_found", "repository": repository}
    return JSONResponse(body)
