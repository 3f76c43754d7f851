"""`fsck` tells trees, commits and branches that contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest
from repositories import AUTHOR

from oxenfs.model import Author, Commit, ObjectHash, hash_text
from oxenfs.remote.hashing import little
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import COMMIT, DIRECTORY, VNODE, decode_payload, encode_payload
from oxenfs.remote.wire import children_of, decode_node, encode_node

from .grafting import put_nodes
from .reference import files, puts, rows_below
from .test_check import flip, head_of, problems, the_problem


def edit(remote: LocalRemote, path: bytes, fields: dict[str, object], *, own: bool = True) -> None:
    """Set fields of the record of `path` in the vnode it lies in, and in its own node."""
    folder, _, name = path.rpartition(b"/")
    rows = rows_below(remote, head_of(remote))
    directory = rows[folder].id if folder else remote.root(head_of(remote))
    for vnode in remote._nodes.directory(directory).vnodes:
        children = list(children_of(vnode))
        for at, child in enumerate(children):
            payload: Any = decode_payload(child.type, child.payload)
            if payload.name.encode() != name:
                continue
            raw = encode_payload(payload._replace(**fields))
            children[at] = child._replace(payload=raw)
            node = decode_node(vnode)
            head = encode_payload(node.payload)
            put_nodes(remote, [encode_node(VNODE, vnode.id, node.parent, head, children)])
            if child.type == DIRECTORY and own:
                below = list(children_of(remote._nodes.get(child.hash)))
                put_nodes(remote, [encode_node(DIRECTORY, child.hash, 0, raw, below)])


EDITS: list[tuple[str, bytes, dict[str, object], set[str]]] = [
    ("size of a file", b"d/small", {"size": 7}, {"d", "d/small"}),
    ("type of a file", b"d/small", {"data_type": "audio"}, {"d"}),
    ("hash of a file", b"d/small", {"hash": ObjectHash(5)}, {"d/small"}),
    ("combined hash", b"other", {"combined": ObjectHash(5)}, {"other"}),
    ("last commit", b"other", {"last_commit": ObjectHash(5)}, {"other"}),
    ("name", b"d/small", {"name": ".."}, {"d/.."}),
    ("name twice", b"d/small", {"name": "middle"}, {"d/middle"}),
    ("entries", b"d", {"entries": 9}, {"d"}),
    ("size of a folder", b"d/sub", {"size": 9}, {"d/sub"}),
    ("counts", b"d/sub", {"counts": {"text": 1}}, {"d/sub", "d"}),
    ("id of a folder", b"d/sub", {"id": ObjectHash(5)}, {"d/sub"}),
]


@pytest.mark.parametrize(
    ("path", "fields", "told"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS]
)
def test_a_tree_that_contradicts_itself_is_told(
    filled: LocalRemote, path: bytes, fields: dict[str, object], told: set[str]
) -> None:
    edit(filled, path, fields)
    found = problems(filled)
    assert {line.partition("@")[0] for line in found} == told, found


def test_a_folder_with_two_records_is_told(filled: LocalRemote) -> None:
    edit(filled, b"e", {"entries": 1}, own=False)
    assert "record" in the_problem(filled, "e")


def test_a_commit_whose_id_is_not_its_hash_is_told(filled: LocalRemote) -> None:
    head = head_of(filled)
    real = filled.commit(head)
    forged = Commit(head, real.parents, Author("Eve", "e"), real.message, real.timestamp_ns)
    raw = filled._nodes.get(head)
    roots = list(children_of(raw))
    put_nodes(filled, [encode_node(COMMIT, head, 0, encode_payload(forged), roots)])
    (line,) = problems(filled)
    assert line.startswith(f"commit {hash_text(head)}: ")


def test_a_missing_ancestor_is_told_with_the_commit_that_needs_it(filled: LocalRemote) -> None:
    head = filled.commit(head_of(filled))
    (parent,) = head.parents
    with filled._meta.write() as txn:
        txn.delete("nodes", little(parent))
        txn.delete("commits", hash_text(parent).encode())
    *rest, line = problems(filled)
    assert line.startswith(f"commit {hash_text(parent)}, named by commit {hash_text(head.id)}: ")
    # What was changed last in that commit still says so.
    assert {line.partition("@")[0] for line in rest} == {"d/sub", "d/sub/large"}


def test_branches_at_nothing_and_with_bad_names_are_told(filled: LocalRemote) -> None:
    with filled._meta.write() as txn:
        txn.put("refs", b"astray", little(12345))
        txn.put("refs", b"bad name", little(head_of(filled)))
        txn.delete("refs", b"main")
        txn.put("commits", b"not a hash", bytes(8))
    text = "\n".join(problems(filled))
    for said in ("'astray'", "'bad name'", "'main' is missing", "not a hash"):
        assert said in text


def test_damage_below_a_second_branch_only_is_told(filled: LocalRemote) -> None:
    base = head_of(filled)
    done = filled.publish("side", base, puts(files(only=b"on the side")), "m", AUTHOR)
    row = rows_below(filled, done.commit)[b"only"]
    flip(filled.locate(row.id).path, filled.locate(row.id).offset)
    (line,) = problems(filled)
    assert line.startswith(f"only@{hash_text(done.commit)}: ")
