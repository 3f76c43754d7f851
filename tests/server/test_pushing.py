"""A push, request by request: what is stored, and what a branch does not move to."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest
from repositories import commit, make_repository, noise

from oxenfs.model import Author, Commit, ObjectHash, hash_text
from oxenfs.remote.archive import Limits, Member, read_members
from oxenfs.remote.archive_nodes import node_members
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.local.check import check
from oxenfs.remote.local.repository import LocalRemote
from oxenfs.remote.payloads import (
    COMMIT,
    DIRECTORY,
    FILE,
    VNODE,
    DirectoryPayload,
    FilePayload,
    VnodePayload,
    encode_payload,
)
from oxenfs.remote.wire import Child, encode_node

from .conftest import Api, R

FILES = {b"a.txt": b"a\n", b"d/e/f.bin": noise(50_000, "f"), b"empty": b""}


@pytest.fixture
def source(tmp_path: Path) -> LocalRemote:
    """A repository to push from: two commits on main."""
    return make_repository(tmp_path / "source", FILES)


def all_nodes(source: LocalRemote) -> list[RawNode]:
    nodes = {}
    for each in source.history(source.branch("main").commit):
        nodes[each.id] = source.nodes.get(each.id)
        nodes.update((node.id, node) for node in source.tree(each.id))
    return list(nodes.values())


def send_nodes(api: Api, nodes: Iterable[RawNode], code: int = 200) -> None:
    body = b"".join(write_members(node_members(nodes, "")))
    api.post("/tree/nodes", code, content=body)


def send_blobs(api: Api, blobs: Iterable[bytes]) -> list[dict[str, str]]:
    parts = [
        ("file[]", (hash_text(xxh3(blob)), gzip.compress(blob), "application/gzip"))
        for blob in blobs
    ]
    failed: list[dict[str, str]] = api.post("/versions", files=parts)["err_files"]
    return failed


def branch(api: Api, head: ObjectHash, code: int = 200) -> dict[str, object]:
    answer: dict[str, object] = api.post(
        "/branches", code, json={"new_name": "main", "commit_id": hash_text(head)}
    )
    return answer


def test_a_commit_that_is_complete_becomes_the_branch(repo: Api, source: LocalRemote) -> None:
    head = source.branch("main").commit
    wanted = [hash_text(commit.id) for commit in source.history(head)]
    assert repo.post("/commits/missing", json={"hashes": wanted})["hashes"] == wanted
    assert send_blobs(repo, FILES.values()) == []
    send_nodes(repo, all_nodes(source))
    branch(repo, head)
    assert repo.post("/commits/missing", json={"hashes": [*wanted, "abc"]})["hashes"] == ["abc"]
    for path, data in FILES.items():
        assert repo.content(f"/file/main/{path.decode()}") == data
    stored = repo.opened()
    assert list(check(stored.layout.root)) == []
    assert all_nodes(stored) == all_nodes(source)
    stored.close()


@pytest.mark.parametrize("missing", ["blob", "vnode", "folder", "parent"])
def test_a_branch_does_not_move_to_what_is_incomplete(
    repo: Api, source: LocalRemote, missing: str
) -> None:
    head = source.branch("main").commit
    blobs, nodes = list(FILES.values()), all_nodes(source)
    parent = source.commit(head).parents[0]
    left_out = {
        "vnode": next(node.id for node in nodes if node.node[0] == VNODE),
        "folder": next(
            node.id for node in nodes if node.node[0] == DIRECTORY and node.id != source.root(head)
        ),
        "parent": parent,
    }
    if missing == "blob":
        blobs.pop(1)
    send_blobs(repo, blobs)
    send_nodes(repo, (node for node in nodes if node.id != left_out.get(missing)))
    refused = branch(repo, head, 400)
    assert refused["error"]["type"] == "reachable_objects_missing"  # type: ignore[index]
    repo.get("/branches/main", 404)
    assert repo.post("/commits/missing", json={"hashes": [hash_text(head)]})["hashes"]
    # What was missing comes, and all is well.
    send_blobs(repo, FILES.values())
    send_nodes(repo, nodes)
    branch(repo, head)


_COMMIT, _ROOT, _VNODE = (ObjectHash(xxh3(word)) for word in (b"c", b"r", b"v"))


def forged(name: str, size: int, blob: ObjectHash, twice: bool = False) -> list[RawNode]:
    """Return the nodes of a commit with one file, whatever it is called."""
    file = FilePayload(name, None, blob, blob, size, _COMMIT, 0, "text", None, "text/plain", "")
    rows = [Child(FILE, blob, encode_payload(file))] * (2 if twice else 1)
    vnode = encode_payload(VnodePayload(_VNODE, len(rows)))
    root = encode_payload(
        DirectoryPayload("", _ROOT, 1, size, _COMMIT, 0, {"text": 1}, {"text": size})
    )
    commit = encode_payload(Commit(_COMMIT, (), Author("a", "e"), "m", 0))
    return [
        encode_node(VNODE, _VNODE, _ROOT, vnode, rows),
        encode_node(DIRECTORY, _ROOT, _COMMIT, root, [Child(VNODE, _VNODE, vnode)]),
        encode_node(COMMIT, _COMMIT, 0, commit, [Child(DIRECTORY, _ROOT, root)]),
    ]


@pytest.mark.parametrize(
    ("name", "size", "twice"),
    [("..", 1, False), ("a/b", 1, False), (".oxen", 1, False), ("f", 2, False), ("f", 1, True)],
)
def test_a_forged_tree_is_refused(repo: Api, name: str, size: int, twice: bool) -> None:
    send_blobs(repo, [b"x"])
    send_nodes(repo, forged(name, size, xxh3(b"x"), twice))
    branch(repo, _COMMIT, 400)


def test_a_node_under_another_id_is_refused(repo: Api) -> None:
    node = forged("f", 1, xxh3(b"x"))[0]
    send_nodes(repo, [node._replace(id=ObjectHash(77))], 400)


def test_a_blob_with_another_hash_is_told_and_not_stored(repo: Api) -> None:
    parts = [
        ("file[]", ("abcd", gzip.compress(b"other"), "application/gzip")),
        ("file[]", (hash_text(xxh3(b"good")), gzip.compress(b"good"), "application/gzip")),
        ("file[]", (hash_text(xxh3(b"")), b"no gzip", "application/gzip")),
    ]
    failed = repo.post("/versions", files=parts)["err_files"]
    assert [each["hash"] for each in failed] == ["abcd", hash_text(xxh3(b""))]
    assert repo.get(f"/versions/{hash_text(xxh3(b'good'))}/metadata")["version"]["size"] == 4
    repo.get("/versions/abcd/metadata", 404)


def test_archives_that_are_none_are_refused(repo: Api, source: LocalRemote) -> None:
    body = b"".join(write_members(node_members(all_nodes(source), "")))
    for bad in (b"", b"x" * 1000, body[: len(body) // 2]):
        repo.post("/tree/nodes", 400, content=bad)
    evil = b"".join(write_members([Member("../../etc/passwd", b"x")]))
    repo.post("/tree/nodes", 400, content=evil)
    repo.post("/commits/upload", 400, content=evil)
    repo.post("/versions", 400, content=b"x", headers={"content-type": "text/plain"})


def test_a_blob_in_parts_comes_in_any_order(repo: Api) -> None:
    data = noise(25_000_000, "parts")
    name = hash_text(xxh3(data))
    begun = repo.post("/versions/uploads", json={"hash": name, "size": len(data)})
    assert (begun["file"], begun["num_parts"]) == ("awaiting_parts", 3)
    step, url = begun["part_size"], f"/versions/uploads/{begun['upload_id']}/parts"
    repo.put(f"{url}/1", 400, content=b"short")
    repo.put(f"{url}/4", 400, content=b"x")
    for number in (3, 1, 2):
        part = data[(number - 1) * step : number * step]
        assert repo.put(f"{url}/{number}", content=part)["completed"] is (number == 2)
    repo.put(f"{url}/1", 404, content=data[:step])
    again = repo.post("/versions/uploads", json={"hash": name, "size": len(data)})
    assert again["file"] == "already_stored"
    stored = repo.opened()
    assert stored.read(xxh3(data), 24_000_000, 1_000_000) == data[24_000_000:]
    assert not list(stored.layout.tmp.iterdir())
    stored.close()


def test_parts_of_something_else_are_refused(repo: Api) -> None:
    begun = repo.post("/versions/uploads", json={"hash": "1234abcd", "size": 4})
    repo.put(f"/versions/uploads/{begun['upload_id']}/parts/1", 400, content=b"data")
    repo.get("/versions/1234abcd/metadata", 404)
    repo.post("/versions/uploads", 400, json={"hash": "1", "size": 0})


def test_a_damaged_blob_is_repaired_by_a_push(repo: Api) -> None:
    small, large = noise(5000, "small"), noise(3_000_000, "large")
    repo.workspace()
    repo.stage({"small": small, "large": large})
    repo.commit()
    stored = repo.opened()
    for data in (small, large):
        place = stored.locate(xxh3(data))
        with Path(place.path).open("r+b") as file:
            file.seek(place.offset + 10)
            file.write(b"DAMAGE")
    for name, data in (("small", small), ("large", large)):
        repo.get(f"/file/main/{name}", 404)
        assert send_blobs(repo, [data]) == []
        assert repo.content(f"/file/main/{name}") == data
    stored.close()


def test_an_index_of_directories_comes_back_as_it_was_sent(repo: Api, source: LocalRemote) -> None:
    head = source.branch("main").commit
    send_blobs(repo, FILES.values())
    send_nodes(repo, all_nodes(source))
    folder = f"history/{hash_text(head)}/dir_hashes"
    sent = [Member(f"{folder}/{name}", name.encode()) for name in ("CURRENT", "000004.log")]
    repo.post("/commits/upload", content=b"".join(write_members(sent)))
    branch(repo, head)
    body = repo.content(f"/commits/{hash_text(head)}/download_dir_hashes_db")
    members = list(read_members([body], Limits()))
    assert sorted(members[:2]) == sorted(sent)
    # The other commit has one of our making.
    parent = hash_text(source.commit(head).parents[0])
    names = {member.name for member in members[2:]}
    assert names == {
        f"history/{parent}/dir_hashes/{name}"
        for name in ("CURRENT", "MANIFEST-000005", "000004.log")
    }


def test_a_branch_moves_wherever_it_is_told_to(repo: Api) -> None:
    first, second = repo.fill({"a": b"1"}), repo.fill({"a": b"2"})
    repo.put("/branches/main", json={"commit_id": first})
    assert repo.get("/branches/main")["branch"]["commit_id"] == first
    repo.put("/branches/other/x", json={"commit_id": second})
    assert repo.get("/branches/other/x")["branch"]["commit_id"] == second
    repo.put("/branches/main", 400, json={"commit_id": "abcdef"})
    repo.put("/branches/a..b", 400, json={"commit_id": first})
    repo.call("PUT", f"{R}/branches/main", 400, content=b"no json")
    repo.delete("/branches/main")
    repo.get("/branches/main", 404)
    repo.delete("/branches/main", 404)


def test_a_push_that_somebody_overtook_is_refused(repo: Api, source: LocalRemote) -> None:
    head = source.branch("main").commit
    send_blobs(repo, FILES.values())
    send_nodes(repo, all_nodes(source))
    branch(repo, head)
    pushed = commit(source, {b"pushed": b"p"})
    send_blobs(repo, [b"p"])
    send_nodes(repo, all_nodes(source))
    faster = repo.fill({"faster": b"f"})
    for _ in range(2):
        refused = repo.put("/branches/main", 409, json={"commit_id": hash_text(pushed)})
        assert refused["error"]["type"] == "conflict"
    assert repo.get("/branches/main")["branch"]["commit_id"] == faster
    repo.put("/branches/other", json={"commit_id": hash_text(pushed)})
    assert repo.content("/file/other/pushed") == b"p"
