"""What is read: resources, listings, contents, nodes."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from repositories import noise

from oxenfs.remote.archive import Limits
from oxenfs.remote.archive_nodes import read_nodes
from oxenfs.remote.hashing import xxh3
from oxenfs.remote.payloads import COMMIT, DIRECTORY, VNODE, DirectoryPayload
from oxenfs.remote.wire import decode_node

from .conftest import Api, R

KINDS = {COMMIT: "commit", DIRECTORY: "dir", VNODE: "vnode"}


def test_an_empty_repository(repo: Api) -> None:
    shown = repo.get("")["repository"]
    assert shown["is_empty"] is True
    assert shown["storage_kind"] == "local"
    assert repo.get("/branches")["branches"] == []
    history = repo.get("/commits/history/main")
    assert (history["commits"], history["total_entries"]) == ([], 0)
    repo.get("/dir/main", 404)
    repo.get("/revisions/main", 404)


def test_revisions_are_tried_in_order(repo: Api) -> None:
    first = repo.fill({"a/f.txt": b"1"})
    for name in ("feat", "feat/a"):
        repo.post("/branches", json={"new_name": name, "from_name": "main"})
    both = repo.get("/revisions/feat/a")["resource"]
    assert (both["branch"]["name"], both["path"]) == ("feat", "a")
    repo.delete("/branches/feat")
    alone = repo.get("/revisions/feat/a")["resource"]
    assert (alone["branch"]["name"], alone["path"]) == ("feat/a", "")
    assert repo.get("/revisions/feat/a/a/f.txt")["resource"]["path"] == "a/f.txt"
    by_commit = repo.get(f"/revisions/{first}/a")["resource"]
    assert (by_commit["branch"], by_commit["version"]) == (None, first)
    repo.get("/revisions/nope", 404)


@pytest.mark.parametrize("bad", ["main/%2E%2E/x", "main/.OXEN/x", "main/a%00b"])
def test_paths_that_no_repository_has_are_refused(repo: Api, bad: str) -> None:
    repo.fill({"f": b"1"})
    assert repo.client.get(f"{R}/file/{bad}").status_code in (400, 404)


def test_a_directory_comes_in_pages_directories_first(repo: Api) -> None:
    repo.fill({f"{name}": b"x" for name in ("b", "a", "z/1", "y/2", "c")})
    listed = repo.get("/dir/main?page=1&page_size=3")
    assert [each["filename"] for each in listed["entries"]] == ["y", "z", "a"]
    assert (listed["total_pages"], listed["total_entries"]) == (2, 5)
    listed = repo.get("/dir/main?page=2&page_size=3")
    assert [each["filename"] for each in listed["entries"]] == ["b", "c"]
    assert repo.get("/dir/main?page=9")["entries"] == []
    deep = repo.get("/dir/main?depth=-1")["entries"][0]
    assert [each["filename"] for each in deep["children"]] == ["2"]
    repo.get("/dir/main/a", 404)


def test_a_directory_is_sorted_as_asked_directories_first(repo: Api) -> None:
    repo.fill(dict.fromkeys(("a", "b", "c", "x/1", "y/1", "y/2"), b"1"))
    repo.fill({"a": b"2", "x/1": b"2"})
    repo.fill({"c": b"3", "y/1": b"3"})

    def names(query: str) -> str:
        listed = repo.get(f"/dir/main?{query}&page_size=3")
        listed["entries"] += repo.get(f"/dir/main?{query}&page_size=3&page=2")["entries"]
        return "".join(each["filename"] for each in listed["entries"])

    assert names("sort_by=name") == names("sort_by=") == names("reverse=false") == "xyabc"
    assert names("sort_by=name&reverse=true") == names("reverse=true") == "yxcba"
    assert names("sort_by=date") == "xybac"
    assert names("sort_by=Date&reverse=true") == "yxcab"
    deep = repo.get("/dir/main?sort_by=date&depth=1")["entries"][1]
    assert [each["filename"] for each in deep["children"]] == ["2", "1"]
    assert "sort_by" in str(repo.get("/dir/main?sort_by=size", 400))


def test_an_entry_has_the_fields_that_clients_know(repo: Api) -> None:
    commit = repo.fill({"d/t.txt": b"one\ntwo", "d/x.bin": b"\0\1"})
    file, folder = repo.get("/meta/main/d/t.txt")["entry"], repo.get("/meta/main/d")["entry"]
    keys = (
        "filename hash is_dir latest_commit resource size data_type mime_type extension metadata "
        "is_queryable"
    )
    assert set(file) == set(folder) == set(keys.split())
    assert file["metadata"] == {"text": {"num_lines": 2, "num_chars": 7}}
    assert file["hash"] == format(xxh3(b"one\ntwo"), "x")
    assert file["latest_commit"]["id"] == folder["latest_commit"]["id"] == commit
    counts = folder["metadata"]["dir"]["data_types"]
    assert {each["data_type"]: each["count"] for each in counts} == {"text": 1, "binary": 1}


def test_a_file_with_its_headers(repo: Api) -> None:
    data = noise(3_000_000, "file")
    commit = repo.fill({"f.bin": data, "empty": b""})
    answer = repo.client.get(f"{R}/file/main/f.bin")
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["oxen-revision-id"] == commit
    assert answer.headers["content-type"] == "application/octet-stream"
    head = repo.client.head(f"{R}/file/main/f.bin")
    assert (head.headers["content-length"], head.content) == (str(len(data)), b"")
    assert repo.content("/file/main/empty") == b""
    repo.get("/file/main/none", 404)


def test_a_chunk_is_exact_and_never_beyond_the_end(repo: Api) -> None:
    data = noise(2_500_000, "chunk")
    repo.fill({"f.bin": data, "empty": b""})
    for start, size in ((0, 1), (262_143, 2), (1_000_001, 1_499_999), (0, len(data)), (5, 0)):
        got = repo.content(f"/chunk/main/f.bin?chunk_start={start}&chunk_size={size}")
        assert got == data[start : start + size]
    repo.get("/chunk/main/f.bin?chunk_start=2499999&chunk_size=2", 400)
    repo.get("/chunk/main/empty?chunk_start=0&chunk_size=0", 400)
    repo.get("/chunk/main/f.bin?chunk_start=x", 400)


def batch(api: Api, lines: list[str], code: int = 200) -> list[tuple[str, bytes]]:
    body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
    answer = api.client.request("QUERY", f"{R}/versions", content=body)
    assert answer.status_code == code, answer.text
    if code != 200:
        return [(name, b"") for name in answer.json()["error"]["missing_hashes"]]
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as tar:
        return [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]


def test_a_batch_keeps_order_and_duplicates(repo: Api) -> None:
    blobs = [noise(size, size) for size in (0, 1, 100_000, 11_000_000)] + [b"text\n" * 1000]
    repo.workspace()
    repo.stage({f"{number}": data for number, data in enumerate(blobs)}, zipped=False)
    repo.commit()
    names = [format(xxh3(data), "x") for data in blobs]
    for wanted in ([4, 0, 1, 1, 2], [3, 0, 3]):
        got = batch(repo, [names[number] for number in wanted])
        assert got == [(names[number], blobs[number]) for number in wanted]
    assert batch(repo, ["zz", names[0]]) == [(names[0], b"")]
    assert batch(repo, [names[0], "deadbeef"], 404) == [("deadbeef", b"")]


def test_a_body_that_is_no_gzip_is_refused(repo: Api) -> None:
    repo.call("QUERY", f"{R}/versions", 400, content=b"no gzip")


def nodes(api: Api, query: str) -> list[str]:
    """Return the kinds and names of the nodes that come back, sorted."""
    found = []
    for raw in read_nodes([api.content(f"/tree/download/{query}")], Limits()):
        node = decode_node(raw)
        name = f" {node.payload.name}" if isinstance(node.payload, DirectoryPayload) else ""
        found.append(KINDS[node.type] + name)
    return sorted(found)


def test_which_nodes_come_back(repo: Api) -> None:
    commit = repo.fill({"README.md": b"r", "a/b/c/d.txt": b"d"})
    root = ["commit", "dir ", "vnode"]
    cases = {
        "?subtrees=&depth=0&is_download=true": root,
        "?depth=0": root,
        "?subtrees=&depth=1&is_download=true": [*root, "dir a"],
        "?subtrees=&depth=2&is_download=true": [*root, "dir a", "dir b", "vnode"],
        "?subtrees=a&depth=1&is_download=true": ["commit", "dir a", "dir b", "vnode"],
        "?subtrees=nope&is_download=true": ["commit"],
        "?subtrees=nope": ["commit"],
        "?subtrees=a/b": [*root, "dir a", "dir b", "dir c", "vnode", "vnode", "vnode"],
        "?subtrees=README.md": root,
        "?subtrees=a%2Fb&depth=0&is_download=true": ["commit", "dir b", "vnode"],
        "?subtrees=": [*root, "dir a", "dir b", "dir c", "vnode", "vnode", "vnode"],
        "?subtrees=.": [*root, "dir a", "dir b", "dir c", "vnode", "vnode", "vnode"],
    }
    for query, expected in cases.items():
        assert nodes(repo, commit + query) == sorted(expected), query
    repo.get("/tree/download/main", 404)


def test_a_range_has_what_is_new(repo: Api) -> None:
    base = repo.fill({"a/1": b"1", "b/2": b"2"})
    head = repo.fill({"a/1": b"changed"})
    assert nodes(repo, f"{base}..{head}") == ["commit", "dir ", "dir a", "vnode", "vnode"]
    assert len(nodes(repo, head)) == len(nodes(repo, base)) + 5
    assert nodes(repo, "../download") == nodes(repo, head)


def test_history_of_a_path(repo: Api) -> None:
    first = repo.fill({"a": b"1", "b": b"1"})
    repo.fill({"b": b"2"})
    third = repo.fill({"a": b"3"})
    got = repo.get("/commits/history/main/a")
    assert [commit["id"] for commit in got["commits"]] == [third, first]
    assert got["has_more"] is False
    paged = repo.get("/commits/history/main?page=2&page_size=3")
    # The first commit is the one that a workspace in an empty repository makes.
    assert (len(paged["commits"]), paged["total_entries"]) == (1, 4)


def test_nodes_by_hash(repo: Api) -> None:
    repo.fill({"a/1": b"1"})
    id = repo.get("/tree/nodes/resource/main/a")["hash"]
    shown = repo.get(f"/tree/nodes/hash/{id}")["node"]["node"]["V0_25_0"]
    assert (shown["name"], shown["hash"]) == ("a", int(id, 16))
    (raw,) = read_nodes([repo.content(f"/tree/nodes/hash/{id}/download")], Limits())
    assert raw.id == int(id, 16)
    repo.get("/tree/nodes/hash/abc", 404)


def test_routes_that_are_not_there(repo: Api) -> None:
    assert repo.get("/nothing", 404)["status"] == "error"
    assert repo.call("PATCH", f"{R}/branches", 405)["status"] == "error"
    assert repo.call("GET", "/api/repos/ns/none", 404)["status"] == "error"
