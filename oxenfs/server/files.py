"""Endpoints that change files in one request, each a commit of its own."""

from __future__ import annotations

from starlette.responses import Response

from oxenfs.errors import Conflict, NotFound, UsageError
from oxenfs.model import Author, ObjectHash, tree_order
from oxenfs.remote.local.lookup import entry_at
from oxenfs.remote.local.receive import Receiver
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Op, Record
from oxenfs.server import answers
from oxenfs.server.answers import Refusal
from oxenfs.server.content import file_at
from oxenfs.server.endpoint import Call
from oxenfs.server.listing import absent
from oxenfs.server.multipart import parts_of
from oxenfs.server.revisions import Resource, path_of, resolve
from oxenfs.server.shapes import commit_json
from oxenfs.server.staging import received


def put(call: Call) -> Response:
    """`PUT R/file/{resource}`: `files[]` into a directory, or one `file` to the path itself."""
    branch, path, head = _target(call)
    fields: dict[str, str] = {}
    records: dict[bytes, Record] = {}
    receiver = Receiver(call.remote)
    try:
        for part in parts_of(call.body):
            if part.filename is None:
                fields[part.name] = part.text()
                continue
            name = part.filename.replace("\\", "/").rpartition("/")[2]
            where = path.decode() if part.name == "file" and path else f"{path.decode()}/{name}"
            record = received(receiver, part, where)
            if record is None:
                raise UsageError(f"{name} is too large for gzip")
            records[record.path] = record
        receiver.flush()
    finally:
        receiver.close()
    if not records:
        raise UsageError("the request has no files")
    return _commit(call, branch, head, list(records.values()), fields)


def delete(call: Call) -> Response:
    """`DELETE R/file/{resource}`: remove a file or directory."""
    branch, path, head = _target(call)
    fields = {part.name: part.text() for part in parts_of(call.body)}
    if head is None or not path or not _exists(call.remote, head, path):
        raise absent(path)
    return _commit(call, branch, head, [Record(Op.REMOVE, path)], fields)


def rename(call: Call) -> Response:
    """`PATCH R/file/{resource}`: give a file another path."""
    branch, path, head = _target(call)
    fields = call.body.fields()
    new = path_of(str(fields.get("new_path", "")))
    if head is None or not new:
        raise UsageError("the request needs 'new_path'")
    file = file_at(call.remote, Resource(head, path, branch))
    if _exists(call.remote, head, new):
        raise UsageError("new_path already exists in the repository")
    moved = file._replace(name=new.rpartition(b"/")[2].decode())
    records = [Record(Op.REMOVE, path), Record(Op.PUT, new, moved)]
    words = {key: value for key, value in fields.items() if isinstance(value, str)}
    return _commit(call, branch, head, records, words)


def _target(call: Call) -> tuple[str, bytes, ObjectHash | None]:
    """Return branch, path and head; the first component is the branch of an empty repository."""
    text = call.word("resource")
    if not call.remote.branches():
        branch, _, path = text.strip("/").partition("/")
        return branch, path_of(path), None
    resource = resolve(call.remote, text)
    if resource.branch is None:
        raise Refusal(400, "bad_request", "Bad Request", "The resource must name a branch")
    return resource.branch.name, resource.path, resource.commit


def _commit(
    call: Call,
    branch: str,
    head: ObjectHash | None,
    records: list[Record],
    fields: dict[str, str],
) -> Response:
    if "name" not in fields or "email" not in fields:
        raise UsageError("the request needs 'name' and 'email'")
    author = Author(fields["name"], fields["email"])
    message = fields.get("message") or "Update files"
    records.sort(key=lambda record: tree_order(record.path))
    remote = call.remote
    try:
        id = remote.publisher.publish_stored(branch, head, records, message, author, remote.root)
    except Conflict as exc:
        raise Refusal(409, "conflict", "The branch moved", str(exc)) from exc
    return answers.created(commit=commit_json(remote.commit(id)))


def _exists(remote: LocalRemote, commit: ObjectHash, path: bytes) -> bool:
    try:
        entry_at(remote, commit, path)
    except NotFound:
        return False
    return True
