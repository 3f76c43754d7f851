"""Endpoints of blobs by hash: batches out and in, and uploads in parts."""

from __future__ import annotations

import contextlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence

from starlette.responses import Response

from oxenfs.errors import NotFound, OxenfsError, UsageError
from oxenfs.model import ObjectHash, hash_text, parse_hash
from oxenfs.remote.archive import Member
from oxenfs.remote.archive_write import shrinks, write_members
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.local import workspaces
from oxenfs.remote.local.parts import PART_WINDOW
from oxenfs.remote.local.receive import Receiver, intact
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.local.spool import Record
from oxenfs.remote.local.staged import Area
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, plain_error, streamed
from oxenfs.server.bodies import TooLarge, inflated, text_field
from oxenfs.server.changes import put_record, stored_record
from oxenfs.server.content import blob_pieces
from oxenfs.server.endpoint import Call
from oxenfs.server.multipart import Part, parts_of
from oxenfs.server.revisions import path_of
from oxenfs.server.uploads import Destination

SMALL_BYTES_MAX = 10 << 20
"""What may come out of one gzip part; more goes in an upload of its own."""

_LIST_BYTES_MAX = 64 << 20
_MEMBER_BYTES_MAX = 10 << 20
_SAMPLE_BYTES = 64 * 1024
_GZIP = 31
_BLOCK = 512

Wanted = tuple[str, ObjectHash, BlobLocation]
"""A blob under the name by which it was asked for."""


def download(call: Call) -> Response:
    """`QUERY R/versions`: blobs in the order of the request, each as often as it is named."""
    remote = call.remote
    lines = inflated(call.body.pieces(), _LIST_BYTES_MAX).decode("ascii", "replace").split("\n")
    asked: list[tuple[str, ObjectHash]] = []
    for name in map(str.strip, lines):
        with contextlib.suppress(UsageError):
            asked.append((name, parse_hash(name)))
    places = remote.locate_many([blob for _, blob in asked])
    missing = [name for name, blob in asked if blob not in places]
    if missing:
        count, shown = len(missing), " ".join(missing[:1000])
        raise Refusal(
            404,
            "version_blobs_missing",
            "Version blobs missing on server",
            f"Server is missing {count} content blob(s) for this batch download. "
            f"Missing hashes: {shown}",
            missing_hashes=missing,
        )
    wanted = [(name, blob, places[blob]) for name, blob in asked]
    if all(place.size <= _MEMBER_BYTES_MAX for place in places.values()):
        contents = remote.read_each([(blob, place) for _, blob, place in wanted])
        members = (Member(name, data) for (name, _, _), data in zip(wanted, contents, strict=True))
        pieces = write_members(members, _level(remote, wanted))
    else:
        pieces = _with_large(remote, wanted)
    return streamed(pieces, "application/gzip")


def metadata(call: Call) -> Response:
    """`GET R/versions/{hash}/metadata`."""
    try:
        blob = parse_hash(call.word("hash"))
        size = call.remote.locate(blob).size
    except (NotFound, UsageError):
        return plain_error(404, "resource_not_found")
    return answers.found(version={"hash": hash_text(blob), "size": size})


def upload_batch(call: Call) -> Response:
    """`POST R/versions`: small blobs, each a part of a form that is named by its hash."""
    failed = []
    receiver = Receiver(call.remote)
    try:
        for part in parts_of(call.body):
            if part.filename is None:
                continue
            problem = _receive(receiver, part)
            if problem:
                failed.append({"hash": part.filename, "path": None, "error": problem})
        receiver.flush()
    finally:
        receiver.close()
    return answers.created(err_files=failed)


def begin_upload(call: Call) -> Response:
    """`POST R/versions/uploads`: a blob in parts; one that is here is only staged."""
    fields = call.body.fields()
    blob, size = parse_hash(text_field(fields, "hash")), fields.get("size")
    if type(size) is not int or not 0 <= size <= 1 << 40:
        raise UsageError("the request needs a 'size' of at most 1 TiB")
    if not size:
        return plain_error(
            400, "bad_request", "Version upload refused: a file of zero bytes has no parts"
        )
    destination = _destination(call.remote, fields.get("destination"))
    if intact(call.remote, blob):
        if call.remote.locate(blob).size != size:
            return plain_error(400, "bad_request", "Version upload refused: another size")
        if destination is not None:
            _stage(call.remote, destination, blob)
        return answers.found(file="already_stored")
    id, session = call.hosted.uploads.begin(blob, size, destination)
    return answers.created(
        file="awaiting_parts",
        upload_id=id,
        part_size=session.upload.part_bytes,
        num_parts=session.upload.parts,
        part_window=PART_WINDOW,
    )


def upload_part(call: Call) -> Response:
    """`PUT R/versions/uploads/{upload}/parts/{number}`; the last one completes the blob."""
    id = call.word("upload")
    try:
        session = call.hosted.uploads.get(id)
        completed = session.upload.put(int(call.word("number")), call.body.pieces())
        if completed:
            try:
                head = session.upload.finish()
                if session.destination is not None:
                    path = session.destination.path
                    upload = session.upload
                    record = put_record(path, upload.blob, upload.size, head)
                    _put(call.remote, session.destination, record)
            finally:
                call.hosted.uploads.end(id)
    except NotFound as exc:
        return plain_error(404, "resource_not_found", str(exc))
    except UsageError as exc:
        return plain_error(400, "bad_request", f"Version upload refused: {exc} (upload {id})")
    return answers.created(completed=completed)


def _receive(receiver: Receiver, part: Part) -> str | None:
    """Store the blob in a part, and return what is wrong with it."""
    assert part.filename is not None
    try:
        wanted = parse_hash(part.filename)
        if part.content_type == "application/gzip":
            stored = receiver.add_bytes(inflated(part.pieces(), SMALL_BYTES_MAX))
        else:
            stored = receiver.add_stream(part.pieces())[0]
    except (TooLarge, UsageError) as exc:
        return f"Failed to store version: {exc}"
    if stored != wanted:
        return (
            f"Failed to store version: Hash mismatch: expected {part.filename}, "
            f"got {hash_text(stored)}"
        )
    return None


def _destination(remote: LocalRemote, value: object) -> Destination | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UsageError("a destination must be an object")
    workspace = workspaces.find(remote, text_field(value, "workspace_id"))
    path = path_of(text_field(value, "path"))
    if not path:
        raise UsageError("a destination needs a path")
    return Destination(workspace.id, path)


def _stage(remote: LocalRemote, destination: Destination, blob: ObjectHash) -> None:
    _put(remote, destination, stored_record(remote, destination.path, blob))


def _put(remote: LocalRemote, destination: Destination, record: Record) -> None:
    workspace = workspaces.find(remote, destination.workspace)
    with remote.meta.write() as txn:
        Area(txn, workspace.area_key).put(record)


def _level(remote: LocalRemote, wanted: Sequence[Wanted]) -> int:
    """Return how hard to compress: not at all if the largest of a few blobs does not shrink."""
    if not wanted:
        return 1
    step = max(len(wanted) // 8, 1)
    _, blob, place = max(wanted[::step], key=lambda item: item[2].size)
    try:
        sample = remote.read(blob, 0, min(place.size, _SAMPLE_BYTES))
    except OxenfsError:
        return 1
    return 1 if shrinks(sample) else 0


def _with_large(remote: LocalRemote, wanted: Sequence[Wanted]) -> Iterator[bytes]:
    """Yield an archive without holding any of its members whole."""
    store = zlib.compressobj(0, zlib.DEFLATED, _GZIP)
    for name, blob, place in wanted:
        header = tarfile.TarInfo(name)
        header.size, header.mode = place.size, 0o644
        yield store.compress(header.tobuf(tarfile.GNU_FORMAT))
        for piece in blob_pieces(remote, blob, 0, place.size):
            yield store.compress(piece)
        yield store.compress(bytes(-place.size % _BLOCK))
    yield store.compress(bytes(2 * _BLOCK)) + store.flush()
