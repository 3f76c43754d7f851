"""Endpoints of workspaces themselves: made, listed, committed, removed."""

from __future__ import annotations

from starlette.responses import Response

from oxenfs.errors import Busy, Conflict, NotFound
from oxenfs.model import Author, ObjectHash, hash_text
from oxenfs.remote.local import workspaces
from oxenfs.remote.local.conflicts import conflicts
from oxenfs.remote.local.ranges import commits_between
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.staged import Area
from oxenfs.remote.local.workspaces import Workspace
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, plain_error
from oxenfs.server.bodies import text_field
from oxenfs.server.endpoint import Call
from oxenfs.server.shapes import commit_json, workspace_json

_FIRST_MESSAGE = "Initialized Repo"
_FIRST_AUTHOR = Author("Oxen", "oxen@oxen.ai")


def put(call: Call) -> Response:
    """`PUT R/workspaces`: the workspace of that name or id, made if there is none."""
    fields = call.body.fields()
    id, branch = text_field(fields, "workspace_id"), text_field(fields, "branch_name")
    name = text_field(fields, "name", "") or None
    base = _base(call.remote, branch)
    if base is None:
        message = (
            f"Branch not found: {branch}. For non-empty repositories, create the branch first."
        )
        return plain_error(400, message)
    workspace, made = workspaces.get_or_create(call.remote, id, name, base)
    shown = workspace_json(call.remote, workspace)
    return answers.created(workspace=shown) if made else answers.found(workspace=shown)


def show(call: Call) -> Response:
    """`GET R/workspaces/{workspace}`."""
    return answers.found(workspace=workspace_json(call.remote, asked(call)))


def listed(call: Call) -> Response:
    """`GET R/workspaces`, with `?name=` of one name."""
    name = call.query("name")
    found = [each for each in workspaces.listed(call.remote) if name in (None, each.name)]
    return answers.found(workspaces=[workspace_json(call.remote, each) for each in found])


def delete(call: Call) -> Response:
    """`DELETE R/workspaces/{workspace}`."""
    workspace = asked(call)
    shown = workspace_json(call.remote, workspace)
    workspaces.delete(call.remote, workspace)
    return answers.deleted(workspace=shown)


def delete_all(call: Call) -> Response:
    """`DELETE R/workspaces`."""
    for workspace in workspaces.listed(call.remote):
        workspaces.delete(call.remote, workspace)
    return answers.deleted()


def validate(call: Call) -> Response:
    """`POST R/workspaces/{workspace}/validate`: whether a file may come."""
    asked(call)
    return answers.found()


def commit(call: Call) -> Response:
    """`POST R/workspaces/{workspace}/commit/{branch}`, or `merge` for `commit`."""
    workspace, branch = asked(call), call.word("branch")
    fields = call.body.fields()
    author = Author(text_field(fields, "author"), text_field(fields, "email"))
    message = text_field(fields, "message")
    head = _head(call.remote, branch)
    try:
        id = workspaces.commit(call.remote, workspace, branch, message, author)
    except Conflict as exc:
        if not exc.paths:
            raise Busy(str(exc), 1) from exc
        detail = (
            f"This workspace '{workspace.id}' is behind on branch '{branch}' commit "
            f"{workspace.base} < {hash_text(head)}"
        )
        raise Refusal(409, "conflict", "Workspace is behind", detail) from exc
    return answers.created(commit=commit_json(call.remote.commit(id)))


def mergeable(call: Call) -> Response:
    """`GET R/workspaces/{workspace}/merge/{branch}`: what a commit would run into."""
    remote = call.remote
    workspace, head = asked(call), _head(call.remote, call.word("branch"))
    with remote.meta.read() as txn:
        records = list(Area(txn, workspace.area_key).below(b""))
    base_root, head_root = remote.root(workspace.commit), remote.root(head)
    found = [path.decode() for path in conflicts(remote.nodes, base_root, head_root, records)]
    commits = [*commits_between(remote, workspace.commit, head), remote.commit(workspace.commit)]
    return answers.found(
        is_mergeable=not found,
        conflicts=[{"path": path} for path in found],
        commits=[commit_json(each) for each in commits],
    )


def asked(call: Call) -> Workspace:
    """Return the workspace of a request's path; raise a `NotFound` as the server words it."""
    return workspaces.find(call.remote, call.word("workspace"))


def _head(remote: LocalRemote, branch: str) -> ObjectHash:
    try:
        return remote.branch(branch).commit
    except NotFound as exc:
        detail = f"Could not find branch: Branch '{branch}' not found"
        raise Refusal(404, "resource_not_found", "Branch does not exist", detail) from exc


def _base(remote: LocalRemote, branch: str) -> ObjectHash | None:
    """Return where a new workspace stands; the first branch of an empty repository is made."""
    try:
        return remote.branch(branch).commit
    except NotFound:
        if remote.branches():
            return None
    try:
        return remote.publisher.first_commit(branch, _FIRST_MESSAGE, _FIRST_AUTHOR)
    except Conflict:
        return remote.branch(branch).commit
