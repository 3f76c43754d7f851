"""Blobs and trees that are not what was asked for are refused, with the host's name."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from repositories import AUTHOR, noise

from oxenfs.errors import IntegrityError, NotFound, OxenfsError, RemoteUnavailable
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.archive import Member
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import BlobPlace, RawNode, TreePlace
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.http.blobs import HttpBlobs
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    VNODE,
    DirectoryPayload,
    VnodePayload,
    encode_payload,
)
from oxenfs.remote.wire import Child, encode_node

from .http.misbehaving import Misbehaving, Reply, bad, reply

__all__ = ["bad"]

DATA = [noise(size, size) for size in (0, 1, 5000, 1 << 20)]
BLOBS = [xxh3(data) for data in DATA]
ID = ObjectHash(0xABC123)


def batch(*members: tuple[ObjectHash, bytes]) -> Reply:
    """Return the answer to `QUERY versions` that has these."""
    named = (Member(hash_text(blob), data) for blob, data in members)
    return reply(200, b"".join(write_members(named)))


def read(server: Misbehaving, blobs: list[ObjectHash]) -> list[bytes]:
    groups = HttpBlobs(server.remote().transport).batch(blobs)
    return [data for group in groups for _, data in group]


GOOD = list(zip(BLOBS, DATA, strict=True))


def test_blobs_come_in_the_order_they_are_asked_for_each_as_often(bad: Misbehaving) -> None:
    order = [2, 0, 2, 3, 1]
    bad.replies = [batch(*(GOOD[n] for n in order))]
    assert read(bad, [BLOBS[n] for n in order]) == [DATA[n] for n in order]
    (request,) = bad.requests
    assert (request.method, request.path) == ("QUERY", "/versions")
    assert gzip.decompress(request.body).decode().split() == [hash_text(BLOBS[n]) for n in order]


def test_small_blobs_keep_their_connection(bad: Misbehaving) -> None:
    bad.replies = [batch(GOOD[2])]
    remote = bad.remote()
    for _ in range(5):
        assert remote.read(BLOBS[2], 10, 20) == DATA[2][10:30]
    assert (len(bad.requests), bad.connections) == (5, 1)
    remote.close()


WRONG = {
    "wrong bytes": [(BLOBS[2], DATA[2][:-1] + b"x")],
    "too few bytes": [(BLOBS[2], DATA[2][:-1])],
    "another blob": [(BLOBS[1], DATA[1])],
    "its bytes under another name": [(BLOBS[1], DATA[2])],
    "one too many": [(BLOBS[2], DATA[2]), (BLOBS[2], DATA[2])],
    "none": [],
}


@pytest.mark.parametrize("members", WRONG.values(), ids=WRONG)
def test_what_is_not_the_blob_asked_for_is_damage(
    bad: Misbehaving, members: list[tuple[ObjectHash, bytes]]
) -> None:
    bad.replies = [batch(*members)]
    with pytest.raises(IntegrityError, match=bad.host):
        bad.remote().read(BLOBS[2], 0, 5000)
    assert len(bad.requests) == 1


def test_the_wrong_order_is_damage(bad: Misbehaving) -> None:
    bad.replies = [batch(GOOD[2], GOOD[1])]
    with pytest.raises(IntegrityError, match="another blob"):
        read(bad, [BLOBS[1], BLOBS[2]])


@pytest.mark.parametrize("name", ["", "x", "../" + hash_text(BLOBS[2]), "0x1", "1" * 40, "-5"])
def test_a_name_that_is_no_hash_is_damage(bad: Misbehaving, name: str) -> None:
    bad.replies = [reply(200, b"".join(write_members([Member(name, DATA[2])])))]
    with pytest.raises(IntegrityError, match=bad.host):
        bad.remote().read(BLOBS[2], 0, 1)


@pytest.mark.parametrize("size", [0, 4999, 5001, 1 << 20])
def test_a_blob_of_another_size_than_the_tree_says_is_damage(bad: Misbehaving, size: int) -> None:
    bad.replies = [batch(GOOD[2])]
    with pytest.raises(IntegrityError, match="the tree says"):
        bad.remote().read(BLOBS[2], 0, 0, BlobPlace(ID, b"f", size))
    assert len(bad.requests) == 1


@pytest.mark.parametrize(("offset", "size"), [(0, 5001), (5000, 1), (5001, 0), (-1, 1), (0, -1)])
def test_a_small_blob_ends_where_it_ends(bad: Misbehaving, offset: int, size: int) -> None:
    bad.replies = [batch(GOOD[2])]
    with pytest.raises(NotFound):
        bad.remote().read(BLOBS[2], offset, size)


def test_zeros_may_shrink_as_far_as_they_do(bad: Misbehaving) -> None:
    data = bytes(1 << 20)
    blob = xxh3(data)
    bad.replies = [batch(*[(blob, data)] * 80)]
    assert read(bad, [blob] * 80) == [data] * 80


def test_a_member_that_is_too_large_is_not_read(bad: Misbehaving) -> None:
    data = bytes((16 << 20) + 1)
    bad.replies = [batch((xxh3(data), data))]
    with pytest.raises(IntegrityError, match="member of 16777217 bytes"):
        read(bad, [xxh3(data)])


@pytest.mark.parametrize("ask", ["blob", "root"])
@pytest.mark.parametrize(
    "body", [b"", b"not gzip", gzip.compress(b"not tar" * 100, mtime=0), b"\x1f\x8b"]
)
def test_what_is_no_archive_names_the_host(bad: Misbehaving, ask: str, body: bytes) -> None:
    bad.replies = [reply(200, body)]
    with pytest.raises(IntegrityError, match=bad.host):
        bad.remote().read(ID, 0, 1) if ask == "blob" else bad.remote().root(ID)


@pytest.mark.parametrize("then", ["close", "reset"])
def test_an_archive_that_breaks_off_is_no_answer(bad: Misbehaving, then: str) -> None:
    good = batch(GOOD[3])
    bad.replies = [Reply(good.head, good.body[:9000], then)]
    with pytest.raises(RemoteUnavailable, match=bad.host):
        bad.remote().read(BLOBS[3], 0, 1)


# Trees.

ROOT, BUCKET, OTHER = ObjectHash(0xD1), ObjectHash(0x5E2), ObjectHash(0x0F3)


def directory(id: ObjectHash, *vnodes: ObjectHash) -> RawNode:
    payload = DirectoryPayload("", id, 0, 0, ID, 0, {}, {})
    rows = [Child(VNODE, vnode, encode_payload(VnodePayload(vnode, 0))) for vnode in vnodes]
    return _named(DIRECTORY, id, encode_payload(payload), rows)


def vnode(id: ObjectHash) -> RawNode:
    return _named(VNODE, id, encode_payload(VnodePayload(id, 0)), [])


def commit(id: ObjectHash, *roots: ObjectHash) -> RawNode:
    payload = encode_payload(Commit(id, (), AUTHOR, "m", 0))
    rows = [Child(DIRECTORY, root, b"") for root in roots]
    return _named(COMMIT, id, payload, rows)


def _named(kind: int, id: ObjectHash, payload: bytes, rows: list[Child]) -> RawNode:
    return encode_node(kind, id, 0, payload, rows)


def tree(*nodes: RawNode) -> Reply:
    padded = []
    for node in nodes:
        name = hash_text(node.id).rjust(3, "0")
        for half, data in (("node", node.node), ("children", node.children)):
            padded.append(Member(f"tree/nodes/{name[:3]}/{name[3:]}/{half}", data))
    return reply(200, b"".join(write_members(padded)))


def test_a_commit_leads_to_its_root_whose_listing_comes_along(bad: Misbehaving) -> None:
    bad.replies = [tree(vnode(BUCKET), directory(ROOT, BUCKET), commit(ID, ROOT))]
    remote = bad.remote()
    assert remote.root(ID) == ROOT
    nodes = remote.directory(ROOT, TreePlace(ID, b""))
    assert (nodes.directory.id, [each.id for each in nodes.vnodes]) == (ROOT, [BUCKET])
    (request,) = bad.requests
    assert request.target.endswith(f"/{hash_text(ID)}?subtrees=&depth=0&is_download=true")


DAMAGED: dict[str, tuple[list[RawNode], type[OxenfsError]]] = {
    "no commit": ([directory(ROOT)], NotFound),
    "nothing": ([], NotFound),
    "no root": ([commit(ID)], IntegrityError),
    "two roots": ([commit(ID, ROOT, OTHER), directory(ROOT), directory(OTHER)], IntegrityError),
    "root missing": ([commit(ID, ROOT)], IntegrityError),
    "root is a vnode": ([commit(ID, ROOT), vnode(ROOT)], IntegrityError),
    "vnode missing": ([commit(ID, ROOT), directory(ROOT, BUCKET)], IntegrityError),
    "vnode is a directory": (
        [commit(ID, ROOT), directory(ROOT, BUCKET), directory(BUCKET)],
        IntegrityError,
    ),
    "another root under its name": (
        [commit(ID, ROOT), directory(OTHER)._replace(id=ROOT)],
        IntegrityError,
    ),
    "another commit under its name": (
        [commit(OTHER, ROOT)._replace(id=ID), directory(ROOT)],
        IntegrityError,
    ),
    "empty node": ([RawNode(ID, b"", b"")], IntegrityError),
    "empty root": ([commit(ID, ROOT), RawNode(ROOT, b"", b"")], IntegrityError),
    "commit is a directory": ([directory(ID)], IntegrityError),
}


@pytest.mark.parametrize(("nodes", "error"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_tree_is_refused(
    bad: Misbehaving, nodes: list[RawNode], error: type[OxenfsError]
) -> None:
    bad.replies = [tree(*nodes)]
    with pytest.raises(error, match=bad.host):
        bad.remote().root(ID)
    assert len(bad.requests) == 1


def by_path_or_id(found: bool) -> Callable[[object], Reply]:
    """Answer like a server: by path only if `found`, by id always."""

    def answer(request: object) -> Reply:
        path = request.path  # type: ignore[attr-defined]
        if path.startswith("/tree/download/"):
            return tree(commit(ID), *([directory(ROOT, BUCKET), vnode(BUCKET)] * found))
        return tree(directory(ROOT, BUCKET) if hash_text(ROOT) in path else vnode(BUCKET))

    return answer


@pytest.mark.parametrize(
    ("path", "by_path"),
    [(b"a/b", True), (b"a,b/c", False), (b"bad\xff/c", False), ('ünï %+?#&="'.encode(), True)],
)
def test_a_path_that_a_query_cannot_have_is_found_by_its_nodes(
    bad: Misbehaving, path: bytes, by_path: bool
) -> None:
    bad.answering = by_path_or_id(True)
    nodes = bad.remote().directory(ROOT, TreePlace(ID, path))
    assert (nodes.directory.id, len(nodes.vnodes)) == (ROOT, 1)
    assert len(bad.requests) == (1 if by_path else 2)
    assert any("subtrees" in request.target for request in bad.requests) == by_path


def test_a_directory_that_is_elsewhere_in_the_commit_is_found_by_its_nodes(
    bad: Misbehaving,
) -> None:
    bad.answering = by_path_or_id(False)
    assert bad.remote().directory(ROOT, TreePlace(ID, b"a")).directory.id == ROOT
    assert len(bad.requests) == 3


def test_a_whole_tree_has_each_directory_and_vnode_once(bad: Misbehaving) -> None:
    nodes = [commit(ID, ROOT), directory(ROOT, BUCKET), vnode(BUCKET), vnode(BUCKET)]
    bad.replies = [tree(*nodes)]
    assert [node.id for node in bad.remote().tree(ID)] == [ROOT, BUCKET]
