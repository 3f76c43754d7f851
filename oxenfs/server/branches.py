"""Endpoints of branches. A branch moves only to a commit that is complete here."""

from __future__ import annotations

from starlette.responses import Response

from oxenfs.errors import IntegrityError, NotFound, Unsupported, UsageError
from oxenfs.model import Branch, ObjectHash, hash_text, parse_hash
from oxenfs.remote.local.advance import Incomplete, advance, delete_branch
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.server import answers
from oxenfs.server.answers import Refusal
from oxenfs.server.bodies import text_field
from oxenfs.server.endpoint import Call
from oxenfs.server.shapes import branch_json, commit_json


def listed(call: Call) -> Response:
    """`GET R/branches`."""
    return answers.found(branches=[branch_json(branch) for branch in call.remote.branches()])


def show(call: Call) -> Response:
    """`GET R/branches/{branch}`."""
    return answers.found(branch=branch_json(_branch(call.remote, call.word("branch"))))


def create(call: Call) -> Response:
    """`POST R/branches`: from another branch, or at a commit."""
    fields = call.body.fields()
    name = text_field(fields, "new_name")
    id = fields.get("commit_id")
    existing = _existing(call.remote, name)
    if id is None:
        if existing is not None:
            return answers.found(branch=branch_json(existing))
        source = _branch(call.remote, text_field(fields, "from_name"))
        _advance(call.remote, name, source.commit)
        return answers.created(branch=branch_json(Branch(name, source.commit)))
    commit = parse_hash(text_field(fields, "commit_id"))
    if existing is not None:
        if existing.commit != commit:
            raise Refusal(409, "branch_exists", f"Branch already exists: {name}")
        # What a client sends again after an answer that did not reach it.
        return answers.created(branch=branch_json(existing))
    _advance(call.remote, name, commit)
    return answers.created(branch=branch_json(Branch(name, commit)))


def move(call: Call) -> Response:
    """`PUT R/branches/{branch}`: to any commit that is known, or a new one on top of the branch."""
    name = call.word("branch")
    commit = parse_hash(text_field(call.body.fields(), "commit_id"))
    _advance(call.remote, name, commit)
    return answers.updated(branch=branch_json(Branch(name, commit)))


def delete(call: Call) -> Response:
    """`DELETE R/branches/{branch}`."""
    name = call.word("branch")
    _branch(call.remote, name)
    return answers.deleted(branch=branch_json(Branch(name, delete_branch(call.remote, name))))


def merge(call: Call) -> Response:
    """`PUT R/branches/{branch}/merge`: clients merge themselves; the answer is the server's."""
    fields = call.body.fields()
    _branch(call.remote, call.word("branch"))
    commit = parse_hash(text_field(fields, "server_commit_id"))
    return answers.found(commit=commit_json(call.remote.commit(commit)))


def _existing(remote: LocalRemote, name: str) -> Branch | None:
    try:
        return remote.branch(name)
    except NotFound:
        return None


def _branch(remote: LocalRemote, name: str) -> Branch:
    branch = _existing(remote, name)
    if branch is None:
        detail = f"Could not find branch: Branch '{name}' not found"
        raise Refusal(404, "resource_not_found", "Branch does not exist", detail)
    return branch


def _advance(remote: LocalRemote, name: str, commit: ObjectHash) -> None:
    try:
        advance(remote, name, commit)
    except UsageError as exc:
        raise Refusal(400, "bad_request", f"'{name}' is not a valid branch name.") from exc
    except (Incomplete, IntegrityError, Unsupported) as exc:
        raise Refusal(
            400,
            "reachable_objects_missing",
            "Commit is not complete on the server",
            f"Refusing to advance the branch: {exc}",
            commit=hash_text(commit),
        ) from exc
