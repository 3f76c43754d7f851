"""Entries by path and pages of directories, against what decoding everything says."""

from __future__ import annotations

import random
from array import array

import msgpack
import pytest
from repositories import AUTHOR, noise

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.model import ObjectHash
from oxenfs.remote.base import RawNode
from oxenfs.remote.local import lookup
from oxenfs.remote.local.lookup import Pages, children_at, entries_to, entry_at, files_below
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import (
    FILE,
    VERSION,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    encode_payload,
)
from oxenfs.remote.wire import Child, child_at, child_count, children_of, encode_node, find_child

from .reference import puts, with_folders

WORDS = ["File", "Dir", "a", "aa", "ab", "b", "ünï", "n" * 255, "V0_25_0", "text"]
NAMES = [*WORDS, *map(str, range(60))]
FOLDERS = [f"{name} d" for name in NAMES[:5]]
TREE = with_folders(
    {
        **{f"{top}/{name}".encode(): noise(9, top + name) for top in FOLDERS for name in NAMES},
        **{name.encode(): noise(5, name) for name in NAMES},
    }
)


@pytest.fixture
def commit(remote: LocalRemote) -> ObjectHash:
    head = remote.branch("main").commit
    return remote.publish("main", head, puts(TREE), "m", AUTHOR).commit


def test_each_path_leads_to_its_entry(remote: LocalRemote, commit: ObjectHash) -> None:
    for path, data in TREE.items():
        entry = entry_at(remote, commit, path)
        assert entry.name.encode() == path.rpartition(b"/")[2]
        assert isinstance(entry, FilePayload) == (data is not None)
        if isinstance(entry, FilePayload):
            assert remote.read(entry.hash, 0, entry.size) == data
    assert entry_at(remote, commit, b"").name == ""
    assert [each.name for each in entries_to(remote, commit, b"a d/aa")] == ["", "a d", "aa"]


@pytest.mark.parametrize("path", [b"c", b"a d/c", b"a d/a/x", b"a d/", b"A", b"nn"])
def test_what_is_not_there_is_not_found(
    remote: LocalRemote, commit: ObjectHash, path: bytes
) -> None:
    if path.endswith(b"/"):
        assert entry_at(remote, commit, path).name == "a d"
        return
    with pytest.raises(NotFound):
        entry_at(remote, commit, path)


def test_all_files_below_a_directory(remote: LocalRemote, commit: ObjectHash) -> None:
    found = {path: file.size for path, file in files_below(remote, remote.root(commit), b"")}
    assert found == {path: len(data) for path, data in TREE.items() if data is not None}


def test_pages_together_are_the_directory_in_order(
    remote: LocalRemote, commit: ObjectHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = remote.root(commit)
    wanted = children_at(remote, root)
    names = [(isinstance(each, FilePayload), each.name.encode()) for each in wanted]
    assert names == sorted(names)
    assert len(remote.nodes.directory(root).vnodes) > 5
    pages = Pages()
    for size in (1, 7, 1000):
        found = []
        for start in range(0, len(wanted) + size, size):
            shown, total = pages.page(remote, root, start, start + size)
            assert total == len(wanted)
            found += shown
        assert found == wanted
    # The order was worked out once, and is worked out again when it had to go.
    calls: list[ObjectHash] = []
    work_out = lookup._sorted

    def counted(remote: LocalRemote, directory: ObjectHash, order: lookup.Order) -> array[int]:
        calls.append(directory)
        return work_out(remote, directory, order)

    monkeypatch.setattr(lookup, "_sorted", counted)
    monkeypatch.setattr(lookup, "_KEPT_ENTRIES", 100)
    pages.page(remote, root, 0, 5)
    assert not calls
    for folder in ("a d", "aa d", "File d"):
        inside = entry_at(remote, commit, folder.encode())
        assert isinstance(inside, DirectoryPayload)
        assert pages.page(remote, inside.id, 0, 1000)[0] == children_at(remote, inside.id)
    assert len(calls) == 3
    assert pages.page(remote, root, 0, 5)[0] == wanted[:5]
    assert len(calls) == 4


def file_called(name: str) -> FilePayload:
    blob = ObjectHash(random.Random(name).getrandbits(100))
    return FilePayload(name, None, blob, blob, 1, ObjectHash(1), 0, "text", None, "t", "")


def vnode_of(payloads: dict[str, bytes]) -> RawNode:
    children = [Child(FILE, file_called(name).hash, raw) for name, raw in payloads.items()]
    id = ObjectHash(5)
    return encode_node(VNODE, id, 1, encode_payload(VnodePayload(id, len(children))), children)


def test_an_entry_is_found_among_others_that_contain_its_name() -> None:
    vnode = vnode_of({name: encode_payload(file_called(name)) for name in NAMES})
    assert child_count(vnode) == len(NAMES)
    for number, name in enumerate(NAMES):
        found = find_child(vnode, name.encode())
        assert found == child_at(vnode, number) == list(children_of(vnode))[number]
    assert find_child(vnode, b"zz") is None


def test_a_name_written_in_another_way_is_found_as_well(
    remote: LocalRemote, commit: ObjectHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = msgpack.unpackb(encode_payload(file_called("odd")))[0][VERSION]
    plain = msgpack.packb([{VERSION: fields}])
    longer = plain.replace(b"\xa3odd", b"\xd9\x03odd")
    assert find_child(vnode_of({"odd": longer}), b"odd") is None
    monkeypatch.setattr(lookup, "find_child", lambda *_: None)
    assert entry_at(remote, commit, b"a d/ab").name == "ab"


@pytest.mark.parametrize("cut", [1, 20, 33, 40])
def test_a_damaged_vnode_is_told(cut: int) -> None:
    whole = vnode_of({name: encode_payload(file_called(name)) for name in ("a", "b")})
    with pytest.raises(IntegrityError):
        child_at(whole, 2)
    for damaged in (
        RawNode(whole.id, whole.node[: len(whole.node) - cut], whole.children),
        RawNode(whole.id, whole.node, whole.children[:-cut]),
    ):
        with pytest.raises(IntegrityError):
            [child_at(damaged, number) for number in range(2)]
