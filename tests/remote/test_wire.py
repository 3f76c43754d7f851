"""Nodes to values and back; damaged ones are refused, whatever the damage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.errors import IntegrityError
from oxenfs.model import Author, Commit, ObjectHash
from oxenfs.remote.hashing import commit_id
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    FILE,
    VNODE,
    DirectoryPayload,
    FilePayload,
    Payload,
    VnodePayload,
    decode_payload,
    encode_payload,
)
from oxenfs.remote.wire import Child, child_types, children_of, decode_node, encode_node

HASHES = st.integers(0, 2**128 - 1).map(ObjectHash)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SIZES = st.integers(0, 2**63 - 1)
TIMES = st.integers(-(2**62), 2**62)
TYPES = st.dictionaries(
    st.sampled_from(["text", "image", "video", "binary", "tabular"]), SIZES, max_size=5
)
METADATA: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.lists(st.lists(st.one_of(SIZES, TEXT, st.none(), st.floats(allow_nan=False))), max_size=2),
)
FILES = st.builds(
    FilePayload,
    name=TEXT,
    metadata_hash=st.none() | HASHES,
    hash=HASHES,
    combined=HASHES,
    size=SIZES,
    last_commit=HASHES,
    mtime_ns=TIMES,
    data_type=TEXT,
    metadata=METADATA,
    mime_type=TEXT,
    extension=TEXT,
    chunk_hashes=st.lists(HASHES, max_size=3).map(tuple),
    chunk_type=st.just("SingleFile"),
    storage=st.just("Disk"),
)
DIRECTORIES = st.builds(
    DirectoryPayload, TEXT, HASHES, SIZES, SIZES, HASHES, TIMES, counts=TYPES, sizes=TYPES
)
VNODES = st.builds(VnodePayload, HASHES, SIZES)
COMMITS = st.builds(
    Commit,
    HASHES,
    st.lists(HASHES, max_size=3).map(tuple),
    st.builds(Author, TEXT, TEXT),
    TEXT,
    st.integers(-(10**18), 10**19),
)
ENTRIES = st.one_of(
    FILES.map(lambda file: Child(FILE, file.hash, encode_payload(file))),
    DIRECTORIES.map(lambda folder: Child(DIRECTORY, folder.id, encode_payload(folder))),
)


def kind_of(payload: Payload) -> int:
    kinds = {Commit: COMMIT, DirectoryPayload: DIRECTORY, VnodePayload: VNODE, FilePayload: FILE}
    return kinds[type(payload)]


@given(st.one_of(FILES, DIRECTORIES, VNODES, COMMITS))
def test_every_payload_comes_back_as_it_was(payload: Payload) -> None:
    raw = encode_payload(payload)
    decoded = decode_payload(kind_of(payload), raw)
    assert decoded == payload
    assert type(decoded) is type(payload)
    assert encode_payload(decoded) == raw


@given(st.one_of(DIRECTORIES, VNODES, COMMITS), HASHES, st.lists(ENTRIES, max_size=5))
def test_every_node_comes_back_as_it_was(
    payload: DirectoryPayload | VnodePayload | Commit, parent: ObjectHash, children: list[Child]
) -> None:
    kind = kind_of(payload)
    raw = encode_node(kind, payload.id, parent, encode_payload(payload), children)
    node = decode_node(raw)
    assert (node.type, node.parent, node.payload) == (kind, parent, payload)
    assert node.children == children == list(children_of(raw))
    assert encode_node(kind, payload.id, parent, encode_payload(node.payload), children) == raw


def test_a_commit_id_counts_whole_seconds_and_all_else() -> None:
    author = Author("a", "e")
    parents = [ObjectHash(0xAB12), ObjectHash(0xA)]
    id = commit_id(parents, "m", author, 10**18)
    assert id == commit_id(parents, "m", author, 10**18 + 999_999_999)
    others = [
        commit_id(parents[::-1], "m", author, 10**18),
        commit_id(parents, "n", author, 10**18),
        commit_id(parents, "m", Author("a", "f"), 10**18),
        commit_id(parents, "m", author, 10**18 + 10**9),
    ]
    assert len({id, *others}) == 5


def test_types_of_children_are_those_of_the_children() -> None:
    rows = [
        Child(kind, ObjectHash(number), b"x" * number) for number, kind in enumerate([1, 3, 3, 2])
    ]
    for count in range(5):
        node = encode_node(VNODE, ObjectHash(9), 0, b"payload", rows[:count])
        assert child_types(node) == bytes(row.type for row in children_of(node))
        assert len(child_types(node)) == count
    with pytest.raises(IntegrityError):
        child_types(node._replace(node=node.node[:-1]))
