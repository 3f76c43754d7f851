"""Repositories of the official client: read by our code, re-encoded to the same bytes, checked."""

from __future__ import annotations

import importlib.util

import pytest
from repositories import content

from oxenfs.model import Commit, Kind, ObjectHash, hash_text
from oxenfs.remote.base import RawNode
from oxenfs.remote.describe import describe
from oxenfs.remote.hashing import commit_id
from oxenfs.remote.local.blob_writer import BlobWriter
from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import COMMIT, FilePayload, decode_payload, encode_payload
from oxenfs.remote.wire import Child, decode_node, encode_node

from . import official
from .grafting import put_nodes, set_branch
from .publish_suite import publish, put
from .reference import rows_below, tree_of, with_folders

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("oxen") is None, reason="oxenai is not installed"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> official.Made:
    return official.make(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def nodes(made: official.Made) -> dict[ObjectHash, RawNode]:
    return {
        ObjectHash(id): RawNode(ObjectHash(id), node, children)
        for id, node, children in official.raw_nodes(made.root)
    }


def commits_in(nodes: dict[ObjectHash, RawNode]) -> list[Commit]:
    decoded = (decode_node(raw).payload for raw in nodes.values() if raw.node[0] == COMMIT)
    return [payload for payload in decoded if isinstance(payload, Commit)]


@pytest.fixture
def adopted(
    remote: LocalRemote, made: official.Made, nodes: dict[ObjectHash, RawNode]
) -> LocalRemote:
    """A repository of ours with all nodes and blobs of the official one, at branch `official`."""
    put_nodes(remote, nodes.values())
    for commit in commits_in(nodes):
        set_branch(remote, "official" if hash_text(commit.id) == made.commits[0] else "any", commit)
    writer = BlobWriter(remote.layout, remote._meta)
    for blob in (made.root / ".oxen/versions/files").rglob("data"):
        writer.add(content(blob.read_bytes()))
    writer.flush()
    writer.close()
    return remote


def test_every_node_is_encoded_again_to_the_same_bytes(nodes: dict[ObjectHash, RawNode]) -> None:
    kinds = set()
    for raw in nodes.values():
        node = decode_node(raw)
        children = []
        for child in node.children:
            payload = decode_payload(child.type, child.payload)
            assert encode_payload(payload) == child.payload
            kinds.add(child.type)
            children.append(Child(child.type, child.hash, encode_payload(payload)))
        again = encode_node(node.type, raw.id, node.parent, encode_payload(node.payload), children)
        assert again == raw
        kinds.add(node.type)
    assert kinds == {0, 1, 2, 3}


def test_commit_ids_are_what_we_compute(
    made: official.Made, nodes: dict[ObjectHash, RawNode]
) -> None:
    commits = commits_in(nodes)
    assert {hash_text(commit.id) for commit in commits} == set(made.commits)
    assert any(len(commit.parents) == 2 for commit in commits)
    for commit in commits:
        wanted = commit_id(commit.parents, commit.message, commit.author, commit.timestamp_ns)
        assert commit.id == wanted


def test_its_tree_is_read_byte_by_byte(adopted: LocalRemote, made: official.Made) -> None:
    tree = tree_of(adopted, adopted.branch("official").commit)
    on_disk = {
        str(path.relative_to(made.root)).encode(): path.read_bytes()
        for path in made.root.rglob("*")
        if path.is_file() and ".oxen" not in path.parts
    }
    assert len(on_disk) > len(official.FILES)
    assert tree == with_folders(on_disk)


def test_its_history_is_in_order(adopted: LocalRemote, made: official.Made) -> None:
    head = adopted.branch("official").commit
    assert [hash_text(commit.id) for commit in adopted.history(head)] == made.commits


def test_its_kinds_of_files_are_known(adopted: LocalRemote) -> None:
    rows = rows_below(adopted, adopted.branch("official").commit)
    kinds = {path: rows[path].kind for path in rows}
    assert kinds[b"a.txt"] == kinds["ünï/ß.md".encode()] == Kind.TEXT
    assert kinds[b"table.csv"] == kinds[b"lines.jsonl"] == Kind.TABULAR
    assert kinds[b"image.png"] == Kind.IMAGE
    assert kinds[b"no-extension"] == Kind.BINARY
    assert kinds[b"many"] == Kind.DIRECTORY
    assert all(row.mtime_ns > 10**18 for row in rows.values() if row.kind != Kind.DIRECTORY)


def test_the_check_finds_nothing_wrong_with_it(adopted: LocalRemote) -> None:
    assert list(check(adopted.layout.root)) == []


def test_a_commit_on_top_of_it_keeps_what_it_does_not_touch(adopted: LocalRemote) -> None:
    base = adopted.branch("official").commit
    before = rows_below(adopted, base)
    done = publish(adopted, put(b"a.txt", b"2"), put(b"many/new.txt", b"n"), branch="official")
    after = rows_below(adopted, done.commit)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {b"many", b"many/new.txt", b"a.txt"}
    assert list(check(adopted.layout.root)) == []


def test_our_description_of_a_file_is_that_of_the_official_client(
    made: official.Made, nodes: dict[ObjectHash, RawNode]
) -> None:
    seen = set()
    for raw in nodes.values():
        for child in decode_node(raw).children:
            file = decode_payload(child.type, child.payload)
            if not isinstance(file, FilePayload) or file.name in seen:
                continue
            seen.add(file.name)
            text = format(file.hash, "x")
            data = (made.root / ".oxen/versions/files" / text[:2] / text[2:] / "data").read_bytes()
            ours = describe(file.name, data, whole=True)
            assert (ours.data_type, ours.extension) == (file.data_type, file.extension)
            if file.data_type == "text":
                assert ours.metadata == file.metadata
                assert ours.metadata_hash == file.metadata_hash
    assert len(seen) > len(official.FILES)
