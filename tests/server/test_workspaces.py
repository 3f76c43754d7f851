"""Workspaces, request by request."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from oxenfs.remote.hashing import xxh3

from .conftest import Api, R


@pytest.fixture
def filled(repo: Api) -> Api:
    repo.fill({"README.md": b"r", "d/a": b"a", "d/b": b"b"})
    return repo


def status(api: Api, id: str = "w") -> dict[str, list[str]]:
    staged = api.get(f"/workspaces/{id}/changes")["staged"]
    return {
        kind: sorted(entry["filename"] for entry in staged[f"{kind}_files"]["entries"])
        for kind in ("added", "modified", "removed")
    }


def remove(api: Api, paths: list[str], code: int = 200, id: str = "w") -> Any:
    return api.call("DELETE", f"{R}/workspaces/{id}/files", code, json=paths)


def files_of(api: Api) -> list[str]:
    found: list[str] = []

    def walk(entries: list[dict[str, Any]], prefix: str) -> None:
        for entry in entries:
            path = prefix + entry["filename"]
            walk(entry.get("children", []), path + "/")
            if not entry["is_dir"]:
                found.append(path)

    walk(api.get("/dir/main?depth=-1")["entries"], "")
    return sorted(found)


def test_what_is_staged_is_listed_read_and_committed(filled: Api) -> None:
    assert filled.workspace()["name"] is None
    paths = filled.stage({"d/a": b"changed", "new/x y.txt": b"x", "README.md": b"r"})
    assert paths == ["d/a", "new/x y.txt", "README.md"]
    # The same content as the base's is no change.
    assert status(filled) == {"added": ["new/x y.txt"], "modified": ["d/a"], "removed": []}
    assert filled.content("/workspaces/w/files/d/a") == b"changed"
    assert filled.content("/file/w/d/b") == b"b"
    filled.commit()
    assert filled.content("/file/main/d/a") == b"changed"
    filled.get("/workspaces/w", 404)


def test_an_empty_repository_gets_its_first_branch(repo: Api) -> None:
    repo.workspace(branch="trunk")
    assert [each["name"] for each in repo.get("/branches")["branches"]] == ["trunk"]
    answer = repo.put("/workspaces", 400, json={"workspace_id": "x", "branch_name": "nope"})
    assert answer["status_message"].startswith("Branch not found: nope.")


def test_a_named_workspace_stands_on_its_commit(filled: Api) -> None:
    filled.workspace("id-1", name="my name")
    filled.stage({"f": b"1"}, "my name")
    commit = filled.commit("my name")["commit"]["id"]
    shown = filled.get("/workspaces/my%20name")["workspace"]
    assert (shown["id"], shown["commit"]["id"]) == ("id-1", commit)
    assert status(filled, "id-1") == {"added": [], "modified": [], "removed": []}
    assert filled.workspace("other", name="my name")["id"] == "id-1"
    filled.commit("my name", code=422)


def test_removals(filled: Api) -> None:
    filled.workspace()
    assert remove(filled, ["nope", "README.md"], 206)["paths"] == ["nope"]
    remove(filled, ["d/"])
    assert status(filled)["removed"] == ["README.md", "d/a", "d/b"]
    filled.stage({"d/c": b"c", "tmp": b"t"})
    remove(filled, ["tmp"])
    filled.commit()
    assert files_of(filled) == ["d/c"]


def test_what_is_unstaged_stays(filled: Api) -> None:
    filled.workspace()
    remove(filled, ["README.md"])
    filled.stage({"x": b"1", "y/z": b"2"})
    filled.delete("/workspaces/w/changes/README.md")
    filled.delete("/workspaces/w/changes/y")
    filled.delete("/workspaces/w/changes/none", 404)
    assert status(filled) == {"added": ["x"], "modified": [], "removed": []}


def test_renames(filled: Api) -> None:
    filled.workspace()
    patch = f"{R}/workspaces/w/files"
    filled.call("PATCH", f"{patch}/d", json={"new_path": "e/f"})
    filled.call("PATCH", f"{patch}/README.md", json={"new_path": "docs/R.md"})
    filled.call("PATCH", f"{patch}/docs/R.md", json={"new_path": "docs/R2.md"})
    filled.call("PATCH", f"{patch}/e/f/a", 400, json={"new_path": "e/f/b"})
    filled.call("PATCH", f"{patch}/gone", 404, json={"new_path": "x"})
    filled.commit()
    assert files_of(filled) == ["docs/R2.md", "e/f/a", "e/f/b"]


def test_a_file_becomes_a_folder_and_back(filled: Api) -> None:
    filled.workspace()
    filled.stage({"README.md/x": b"x", "d": b"file"})
    filled.commit()
    assert files_of(filled) == ["README.md/x", "d"]


def test_the_last_of_two_parts_counts(filled: Api) -> None:
    filled.workspace()
    parts = [("file", ("same", data, "text/plain")) for data in (b"1", b"2")]
    filled.post("/workspaces/w/files/q", files=parts)
    filled.commit()
    assert filled.content("/file/main/q/same") == b"2"


def test_too_much_in_gzip_is_left_out(filled: Api) -> None:
    filled.workspace()
    parts = [("file[]", ("zeros", gzip.compress(bytes(10 * 1024 * 1024 + 1)), "application/gzip"))]
    assert filled.post("/workspaces/w/files/", files=parts)["paths"] == []


@pytest.mark.parametrize("path", ["../evil", ".oxen/x", "a/.OXEN", ""])
def test_paths_are_checked(filled: Api, path: str) -> None:
    filled.workspace()
    body = {"hash": "1", "size": 5, "destination": {"workspace_id": "w", "path": path}}
    filled.post("/versions/uploads", 400, json=body)
    if path:
        parts = [("file[]", (path, b"x", "text/plain"))]
        filled.post("/workspaces/w/files/", 400, files=parts)
    assert status(filled)["added"] == []


def test_a_known_blob_is_staged_by_its_hash(filled: Api) -> None:
    filled.workspace()
    destination = {"workspace_id": "w", "path": "copy/of a"}
    body = {"hash": format(xxh3(b"a"), "x"), "size": 1, "destination": destination}
    assert filled.post("/versions/uploads", json=body)["file"] == "already_stored"
    filled.commit()
    assert filled.content("/file/main/copy/of%20a") == b"a"


def test_conflicts_are_of_paths(filled: Api) -> None:
    for id in ("mine", "same", "apart", "folder"):
        filled.workspace(id)
    filled.stage({"d/a": b"mine"}, "mine")
    filled.stage({"d/a": b"theirs"}, "same")
    filled.stage({"d/c": b"c"}, "apart")
    remove(filled, ["d"], id="folder")
    filled.fill({"d/a": b"theirs"})
    asked = filled.get("/workspaces/mine/merge/main")
    assert (asked["is_mergeable"], asked["conflicts"]) == (False, [{"path": "d/a"}])
    for id in ("mine", "folder"):
        refused = filled.commit(id, code=409)
        assert refused["error"]["type"] == "conflict"
    filled.commit("apart")
    filled.commit("same", code=422)
    assert status(filled, "mine")["modified"] == ["d/a"]
    filled.commit("mine", branch="nope", code=404)


def test_one_request_that_commits_files(filled: Api) -> None:
    parts = [
        ("files[]", ("one.txt", b"1", "text/plain")),
        ("files[]", ("two.txt", b"2", "text/plain")),
    ]
    who = {"name": "Ada", "email": "a@b.c", "message": "two files"}
    commit = filled.put("/file/main/new/folder", files=parts, data=who)["commit"]
    assert (commit["message"], commit["author"]) == ("two files", "Ada")
    assert filled.content("/file/main/new/folder/two.txt") == b"2"
    filled.call("DELETE", f"{R}/file/main/d/a", files={"name": (None, "Ada"), "email": (None, "e")})
    assert files_of(filled) == ["README.md", "d/b", "new/folder/one.txt", "new/folder/two.txt"]
    filled.put("/file/main/x", 400, files=parts)
    filled.put("/file/nope/x", 404, files=parts, data=who)


def test_the_first_file_of_an_empty_repository_makes_the_branch(repo: Api) -> None:
    parts = [("files[]", ("f.txt", b"1", "text/plain"))]
    repo.put("/file/main/d", files=parts, data={"name": "A", "email": "e", "message": "m"})
    assert repo.content("/file/main/d/f.txt") == b"1"


def listed(repo: Api, path: str) -> dict[str, str | None]:
    entries = repo.get(f"/dir/{path}")["entries"]
    return {each["filename"]: each.get("changes", {}).get("status") for each in entries}


def test_a_listing_in_a_workspace_tells_what_is_staged(repo: Api) -> None:
    repo.fill({"d/a": b"1", "d/b": b"2", "d/c": b"3", "d/e/f": b"4", "g": b"5"})
    repo.workspace()
    repo.stage({"d/b": b"new", "d/new.txt": b"n", "d/e/g": b"6", "top": b"7"})
    remove(repo, ["d/c"])
    assert listed(repo, "w/d") == {
        **{"e": None, "a": None, "b": "Modified", "c": "Removed"},
        "new.txt": "Added",
    }
    assert listed(repo, "w") == {"d": None, "g": None, "top": "Added"}
    assert listed(repo, "w/d/e") == {"f": None, "g": "Added"}
    # Outside of the workspace nothing is told: clients refuse fields that they do not know.
    assert listed(repo, "main/d") == dict.fromkeys(["e", "a", "b", "c"])
    added = repo.get("/dir/w/d?page=2&page_size=2")["entries"][-1]
    assert (added["filename"], added["size"], added["data_type"]) == ("new.txt", 1, "text")
    assert all(e["filename"] != "new.txt" for e in repo.get("/dir/w/d?page_size=2")["entries"])

    for path, status in {"d/b": "Modified", "d/c": "Removed", "d/new.txt": "Added"}.items():
        assert repo.get(f"/meta/w/{path}")["entry"]["changes"] == {"status": status}
    assert "changes" not in repo.get("/meta/w/d/a")["entry"]
    assert "changes" not in repo.get("/meta/w/d")["entry"]
    repo.get("/meta/main/d/new.txt", 404)
    repo.get("/meta/w/d/nothing", 404)


def test_a_removed_folder_shows_its_files_as_removed(repo: Api) -> None:
    repo.fill({"d/a": b"1", "d/e/f": b"4", "g": b"5"})
    repo.workspace()
    remove(repo, ["d"])
    assert listed(repo, "w/d") == {"e": None, "a": "Removed"}
    assert listed(repo, "w/d/e") == {"f": "Removed"}
    assert listed(repo, "w") == {"d": None, "g": None}
