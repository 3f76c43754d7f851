"""Endpoints of Merkle nodes."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from oxenfs.errors import IntegrityError, NotFound, UsageError
from oxenfs.model import Commit, ObjectHash, hash_text, parse_hash
from oxenfs.remote.archive import Limits
from oxenfs.remote.archive_nodes import node_members, read_nodes
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode
from oxenfs.remote.local import ranges
from oxenfs.remote.local.receive import store_nodes
from oxenfs.remote.local.refs import has_commit
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    timestamp_fields,
)
from oxenfs.remote.wire import children_of, decode_node
from oxenfs.server import answers
from oxenfs.server.answers import Refusal, plain_error, streamed
from oxenfs.server.commits import hashes_in
from oxenfs.server.endpoint import Call
from oxenfs.server.listing import payload_at, resolved
from oxenfs.server.revisions import path_of

# A node of a directory of a million files is some 200 MB.
_LIMITS = Limits(members=50_000_000, member_bytes=1 << 30)


def download(call: Call) -> Response:
    """`GET R/tree/download/{range}`: of a commit and its history, of a range, of subtrees."""
    remote = call.remote
    base, dots, head = call.word("range").partition("..")
    commit = _commit(remote, head if dots else base)
    subtrees, depth = call.query("subtrees"), call.number("depth", -1)
    if dots:
        nodes = ranges.range_nodes(remote, _commit(remote, base), commit)
    elif subtrees is None and call.query("depth") is None:
        nodes = ranges.history_nodes(remote, commit)
    else:
        paths = [path_of(path) for path in (subtrees or "").split(",")]
        parents = call.query("is_download") != "true"
        nodes = ranges.subtree_nodes(
            remote, commit, paths, None if depth < 0 else depth, parents=parents
        )
    return _archive(nodes)


def download_all(call: Call) -> Response:
    """`GET R/tree/download`: every node that a branch reaches."""
    return _archive(ranges.all_nodes(call.remote))


def upload(call: Call) -> Response:
    """`POST R/tree/nodes`: nodes of a push, as they are."""
    try:
        store_nodes(call.remote.meta, read_nodes(call.body.pieces(), _LIMITS))
    except IntegrityError as exc:
        raise UsageError(str(exc)) from exc
    return answers.found()


def at_path(call: Call) -> Response:
    """`GET R/tree/nodes/resource/{resource}`: the hash of what is at a path."""
    payload = payload_at(call.remote, resolved(call))
    value = payload.hash if isinstance(payload, FilePayload) else payload.id
    return answers.found(hash=hash_text(value))


def node_json(call: Call) -> Response:
    """`GET R/tree/nodes/hash/{hash}`: one node, without its children.

    A client that pulls asks for its own head, and for a range from there if it is here. Of a push
    that was refused or broke off the commit is stored, but is none that a range can begin at.
    """
    node = _node(call)
    if node is None or (node.node[0] == COMMIT and not has_commit(call.remote.meta, node.id)):
        return plain_error(404, "resource_not_found")
    # Hashes are numbers of 128 bits here: Python writes them, whatever reads them.
    return answers.found(node={"node": {"V0_25_0": _fields(node)}})


def node_download(call: Call) -> Response:
    """`GET R/tree/nodes/hash/{hash}/download`: one node as it is stored."""
    node = _node(call)
    if node is None:
        return plain_error(404, "resource_not_found")
    return _archive(iter([node]))


def missing_nodes(call: Call) -> Response:
    """`POST R/tree/nodes/missing_node_hashes`: those that are not stored."""
    hashes = hashes_in(call)
    return answers.found(hashes=[text for text in hashes if not _is_stored(call.remote, text)])


def mark_synced(call: Call) -> Response:
    """`POST R/tree/nodes/mark_nodes_as_synced`: nothing to note, what is here is here."""
    return answers.found(hashes=hashes_in(call))


def missing_files(call: Call) -> Response:
    """`POST R/tree/nodes/missing_file_hashes_from_commits`: blobs of commits that are not here."""
    missing: dict[str, None] = {}
    for text in hashes_in(call):
        root = call.remote.root(parse_hash(text))
        missing |= _missing_below(call.remote, call.remote.nodes.below(root))
    return answers.found(hashes=list(missing))


def missing_files_of_node(call: Call) -> Response:
    """`GET R/tree/nodes/hash/{hash}/missing_file_hashes`."""
    below = call.remote.nodes.below(parse_hash(call.word("hash")))
    return answers.found(hashes=list(_missing_below(call.remote, below)))


def _missing_below(remote: LocalRemote, nodes: Iterator[RawNode]) -> dict[str, None]:
    missing: dict[str, None] = {}
    for node in nodes:
        for child in children_of(node):
            if child.type not in (DIRECTORY, VNODE):
                try:
                    remote.locate(child.hash)
                except NotFound:
                    missing[hash_text(child.hash)] = None
    return missing


def _archive(nodes: Iterator[RawNode]) -> Response:
    return streamed(write_members(node_members(nodes)))


def _commit(remote: LocalRemote, text: str) -> ObjectHash:
    try:
        return remote.commit(parse_hash(text)).id
    except (NotFound, UsageError) as exc:
        detail = f"Could not find branch or commit: {text}"
        raise Refusal(404, "resource_not_found", "Revision not found", detail) from exc


def _node(call: Call) -> RawNode | None:
    try:
        return call.remote.nodes.get(parse_hash(call.word("hash")))
    except (NotFound, UsageError):
        return None


def _is_stored(remote: LocalRemote, text: str) -> bool:
    try:
        remote.nodes.get(parse_hash(text))
    except (NotFound, UsageError, IntegrityError):
        return False
    return True


def _fields(raw: RawNode) -> dict[str, object]:
    payload = decode_node(raw).payload
    if isinstance(payload, Commit):
        return {
            "hash": payload.id,
            "node_type": "Commit",
            "parent_ids": list(payload.parents),
            "message": payload.message,
            "author": payload.author.name,
            "email": payload.author.email,
            "timestamp": timestamp_fields(payload.timestamp_ns),
        }
    if isinstance(payload, DirectoryPayload):
        return {
            "node_type": "Dir",
            "name": payload.name,
            "hash": payload.id,
            "num_entries": payload.entries,
            "num_bytes": payload.size,
            "last_commit_id": payload.last_commit,
            "last_modified_seconds": payload.mtime_ns // 1_000_000_000,
            "last_modified_nanoseconds": payload.mtime_ns % 1_000_000_000,
            "data_type_counts": payload.counts,
            "data_type_sizes": payload.sizes,
        }
    assert isinstance(payload, VnodePayload)
    return {"hash": payload.id, "node_type": "VNode", "num_entries": payload.entries}
