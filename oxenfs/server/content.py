"""Endpoints that give the bytes of a file by its path."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from oxenfs.errors import NotFound
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.staged import Area
from oxenfs.remote.payloads import FilePayload
from oxenfs.server.answers import Refusal, streamed
from oxenfs.server.endpoint import Call
from oxenfs.server.listing import absent, payload_at, resolved
from oxenfs.server.revisions import Resource

_STEP_BYTES = 1 << 20
_CHUNK_BYTES = 10 << 20


def file(call: Call) -> Response:
    """`GET` and `HEAD R/file/{resource}`: all of a file."""
    resource = resolved(call)
    payload = file_at(call.remote, resource)
    return content(call.remote, payload, head=call.head)


def content(remote: LocalRemote, payload: FilePayload, *, head: bool = False) -> Response:
    """Answer with the bytes of a file."""
    headers = {
        "oxen-revision-id": hash_text(payload.last_commit),
        "access-control-expose-headers": "content-length",
    }
    size = remote.locate(payload.hash).size
    if head:
        headers |= {"content-length": str(size), "content-type": payload.mime_type}
        return Response(headers=headers)
    answer = streamed(blob_pieces(remote, payload.hash, 0, size), None, headers, size)
    # Set here: Starlette would add a character set to text.
    answer.headers["content-type"] = payload.mime_type
    return answer


def chunk(call: Call) -> Response:
    """`GET R/chunk/{resource}`: a range of a file's bytes."""
    payload = file_at(call.remote, resolved(call))
    start, size = call.number("chunk_start", 0), call.number("chunk_size", _CHUNK_BYTES)
    stored = call.remote.locate(payload.hash).size
    if start < 0 or size < 0 or start + size > stored or not stored:
        raise Refusal(400, "bad_request", "beyond end of file")
    return streamed(blob_pieces(call.remote, payload.hash, start, size), None, None, size)


def file_at(remote: LocalRemote, resource: Resource) -> FilePayload:
    """Return the file at a resource, what is staged in a workspace first; raise a `Refusal`."""
    workspace = resource.workspace
    if workspace is not None:
        with remote.meta.read() as txn:
            staged = Area(txn, workspace.area_key).get(resource.path)
        if staged is not None:
            if staged.file is None:
                raise absent(resource.path)
            return staged.file
    payload = payload_at(remote, resource)
    if not isinstance(payload, FilePayload):
        detail = f"Could not find path: {resource.path.decode()}"
        raise Refusal(404, "resource_not_found", "Path does not exist", detail)
    return payload


def blob_pieces(remote: LocalRemote, blob: ObjectHash, start: int, size: int) -> Iterator[bytes]:
    """Yield verified bytes of a blob."""
    end = start + size
    while start < end:
        # Whole chunks, so that none is verified twice.
        stop = min(start - start % _STEP_BYTES + _STEP_BYTES, end)
        try:
            yield remote.read(blob, start, stop - start)
        except NotFound as exc:
            raise absent(hash_text(blob).encode()) from exc
        start = stop
