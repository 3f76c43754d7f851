"""How a local repository keeps blobs and nodes: each once, in packs or files, in sound buckets."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import AUTHOR, content, noise

from oxenfs.errors import NothingToPublish
from oxenfs.model import CHUNK_BYTES, Change, MakeDirectory, ObjectHash, Put, Remove
from oxenfs.remote.base import BlobFiles, RawNode, TreePlace
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.local import publish
from oxenfs.remote.local.blob_writer import PACKED_BYTES_MAX
from oxenfs.remote.local.check import check
from oxenfs.remote.local.nodes import NodeWriter
from oxenfs.remote.local.packs import PackWriter, name_of
from oxenfs.remote.local.repository import LocalRemote, create, open_repository
from oxenfs.remote.payloads import decode_payload
from oxenfs.remote.rows import rows_of
from oxenfs.remote.verify import check_chunks
from oxenfs.remote.wire import decode_node

from .publish_suite import publish as commit
from .publish_suite import put
from .reference import Tree, apply, ordered, puts, rows_below, tree_of, with_folders


def counts(remote: LocalRemote) -> dict[str, int]:
    with remote._meta.read() as txn:
        return {table: txn.count(table) for table in ("nodes", "blobs", "commits", "refs")}


def grown(remote: LocalRemote, action: Callable[[], object]) -> dict[str, int]:
    before = counts(remote)
    action()
    return {
        table: now - before[table] for table, now in counts(remote).items() if now != before[table]
    }


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_local_repository_offers_its_files(remote: LocalRemote) -> None:
    assert isinstance(remote, BlobFiles)


def test_blobs_up_to_a_mebibyte_are_packed_and_larger_ones_are_files(remote: LocalRemote) -> None:
    sizes = {b"small": 5, b"edge": PACKED_BYTES_MAX, b"large": PACKED_BYTES_MAX + 1}
    data = {name: noise(size, name) for name, size in sizes.items()}
    done = commit(remote, *puts(dict(data)))
    rows = rows_below(remote, done.commit)
    for name, packed in ((b"small", True), (b"edge", True), (b"large", False)):
        path, offset, size = remote.locate(rows[name].id)
        assert Path(path).parent == (remote.layout.packs if packed else Path(path).parent)
        assert Path(path).is_relative_to(remote.layout.root)
        assert Path(path).read_bytes()[offset : offset + size] == data[name]
        assert (offset > 0) == packed
    assert len(files_below(remote.layout.packs)) == 1
    assert files_below(remote.layout.root / "blobs") == [remote.layout.blob(rows[b"large"].id)]
    assert files_below(remote.layout.tmp) == []


@pytest.mark.parametrize("size", [CHUNK_BYTES + 1, PACKED_BYTES_MAX, 40 * CHUNK_BYTES + 7])
def test_digests_of_any_run_of_chunks_fit(remote: LocalRemote, size: int) -> None:
    data = noise(size, size)
    blob = rows_below(remote, commit(remote, put(b"f", data)).commit)[b"f"].id
    chunks = -(-size // CHUNK_BYTES)
    for first in range(chunks):
        for count in {1, 2, chunks - first} if first < chunks - 1 else {1}:
            piece = data[first * CHUNK_BYTES : (first + count) * CHUNK_BYTES]
            check_chunks(remote, blob, size, first, memoryview(piece))


def test_a_blob_of_more_chunks_than_a_record_of_digests_can_be_read(remote: LocalRemote) -> None:
    size = 129 * CHUNK_BYTES + 1
    data = noise(CHUNK_BYTES, "a") * 129 + b"x"
    blob = rows_below(remote, commit(remote, put(b"f", data)).commit)[b"f"].id
    for first in (0, 126, 127, 128, 129):
        piece = data[first * CHUNK_BYTES : (first + 3) * CHUNK_BYTES]
        assert remote.read(blob, first * CHUNK_BYTES, len(piece)) == piece
    assert len(remote.digests(blob, 126, 4)) == 4
    assert list(check(remote.layout.root)) == []
    assert remote.locate(blob).size == size


def test_each_content_is_stored_once(remote: LocalRemote) -> None:
    small, large = noise(1000, "s"), noise(2 << 20, "l")

    def first() -> None:
        done = commit(
            remote, put(b"a", small), put(b"b", small), put(b"c", large), put(b"d", large)
        )
        assert (done.uploaded_files, done.uploaded_bytes) == (2, len(small) + len(large))

    def second() -> None:
        done = commit(remote, put(b"e", small), put(b"f/g", large))
        assert (done.uploaded_files, done.uploaded_bytes) == (0, 0)

    assert grown(remote, first)["blobs"] == 2
    pack = remote.layout.packs / name_of(1)
    length = pack.stat().st_size
    assert "blobs" not in grown(remote, second)
    assert pack.stat().st_size == length
    assert len(files_below(remote.layout.root / "blobs")) == 1


def test_unchanged_folders_share_their_nodes(remote: LocalRemote) -> None:
    tree = with_folders({b"d%d/s%d/f" % (n % 5, n): b"%d" % n for n in range(40)})
    commit(remote, *puts(tree))

    def change() -> None:
        commit(remote, put(b"d1/s1/f", b"new"))

    # The commit; a directory and a vnode each for the root, d1 and d1/s1.
    assert grown(remote, change) == {"nodes": 7, "blobs": 1, "commits": 1}


def test_unchanged_buckets_of_a_large_folder_are_shared(remote: LocalRemote) -> None:
    commit(remote, *(put(b"f%03d" % n, b"%d" % n) for n in range(200)))
    # The commit, the root, and one of its 25 vnodes.
    assert grown(remote, lambda: commit(remote, put(b"f100", b"new")))["nodes"] == 3


@pytest.mark.parametrize("entries", [1, 8, 9, 100])
def test_entries_are_in_the_bucket_of_their_path_and_sorted(
    remote: LocalRemote, entries: int
) -> None:
    names = [b"%d" % n for n in range(entries)]
    done = commit(
        remote, *puts({b"d/sub/" + name: name for name in names} | {b"d/sub": None, b"d": None})
    )
    row = rows_below(remote, done.commit)[b"d/sub"]
    nodes = remote.directory(row.id, TreePlace(done.commit, b"d/sub"))
    buckets = -(-entries // remote.layout.vnode_size)
    seen: set[bytes] = set()
    numbers = []
    for vnode in nodes.vnodes:
        children = [decode_payload(c.type, c.payload) for c in decode_node(vnode).children]
        inside = [child.name.encode() for child in children]  # type: ignore[union-attr]
        assert inside == sorted(inside)
        assert decode_node(vnode).payload.entries == len(inside)  # type: ignore[union-attr]
        (number,) = {xxh3(b"d/sub/", name) % buckets for name in inside}
        numbers.append(number)
        seen.update(inside)
    assert numbers == sorted(numbers)
    assert seen == set(names)
    assert [row.name for row in rows_of(nodes)] == sorted(names)


def test_a_full_pack_and_one_in_use_are_left_alone(
    remote: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PackWriter(remote.layout.packs)
    second = PackWriter(remote.layout.packs)
    assert (first.number, second.number) == (1, 2)
    second.append(bytes(16), b"12345")
    second.flush()
    first.close()
    second.close()
    monkeypatch.setattr("oxenfs.remote.local.packs.PACK_BYTES_MAX", 5)
    again = PackWriter(remote.layout.packs)
    assert again.number == 1
    again.append(bytes(16), b"12345")
    again.flush()
    again.close()
    third = PackWriter(remote.layout.packs)
    assert third.number == 3
    third.close()


def test_dead_bytes_at_the_end_of_a_pack_are_stepped_over(remote: LocalRemote) -> None:
    commit(remote, put(b"a", b"one"))
    with (remote.layout.packs / name_of(1)).open("ab") as pack:
        pack.write(b"OXPK half of a record")
    done = commit(remote, put(b"b", b"two"))
    assert tree_of(remote, done.commit) == {b"a": b"one", b"b": b"two"}
    assert list(check(remote.layout.root)) == []


def test_two_openings_of_one_repository_see_each_other(remote: LocalRemote) -> None:
    other = open_repository(remote.layout.root)
    done = commit(remote, put(b"a", b"1"))
    assert other.branch("main").commit == done.commit
    assert other.key == remote.key
    other.close()
    assert tree_of(remote, done.commit) == {b"a": b"1"}


NAMES = st.sampled_from([b"a", b"b", b"c", b"a-", b"B"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
BYTES = st.sampled_from([b"", b"1", b"22", noise(300_000, "h")])
CHANGES = st.one_of(
    st.builds(lambda path, data: Put(path, content(data)), PATHS, BYTES),
    st.builds(MakeDirectory, PATHS),
    st.builds(Remove, PATHS),
)
CHANGE_SETS: st.SearchStrategy[list[Change]] = st.lists(CHANGES, max_size=8).map(ordered)


class NoteNodes(NodeWriter):
    """Expects all nodes that are made under one id to be made of the same bytes."""

    made: dict[ObjectHash, tuple[bytes, bytes]]

    def put(self, node: RawNode) -> None:
        # Bytes 1 to 17 name the node above: informational, and the first one's stays.
        same = (node.node[:1] + node.node[17:], node.children)
        assert self.made.setdefault(node.id, same) == same
        super().put(node)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(CHANGE_SETS, max_size=6))
def test_any_publishes_make_the_trees_of_the_model(
    monkeypatch: pytest.MonkeyPatch, sets: list[list[Change]]
) -> None:
    monkeypatch.setattr(NoteNodes, "made", {}, raising=False)
    monkeypatch.setattr(publish, "NodeWriter", NoteNodes)
    # A process for each example would take most of the time.
    monkeypatch.setattr("oxenfs.remote.local.check._trouble_with_index", lambda layout: None)
    with tempfile.TemporaryDirectory() as folder:
        remote = create(Path(folder) / "r", AUTHOR, vnode_size=2)
        tree: Tree = {}
        commits: list[tuple[ObjectHash, Tree]] = []
        for changes in sets:
            after = apply(tree, changes)
            try:
                done = commit(remote, *changes)
            except NothingToPublish:
                assert after == tree
            else:
                commits.append((done.commit, after))
            tree = after
        for id, wanted in commits:
            assert tree_of(remote, id) == wanted
        assert list(check(remote.layout.root)) == []
        remote.close()


def test_what_a_killed_writer_left_is_removed_by_the_next(remote: LocalRemote) -> None:
    tmp = remote.layout.tmp
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp / f"blob-{dead.pid}-left").write_bytes(b"half")
    (tmp / f"blob-{os.getpid()}-mine").write_bytes(b"being written")
    commit(remote, put(b"f", b"new"))
    assert [path.name for path in files_below(tmp)] == [f"blob-{os.getpid()}-mine"]
