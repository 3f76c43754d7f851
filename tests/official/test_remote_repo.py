"""RemoteRepo of the official client, line by line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import drawing
from .client import Client, ClientError, tree_of

if TYPE_CHECKING:
    from serving import Running

OPEN = "repo = RemoteRepo(name, host=host, scheme='http')\n"


class Remote:
    """A repository as the client sees it."""

    def __init__(self, client: Client, server: Running, name: str) -> None:
        self._client = client
        self._values = {"name": name, "host": server.host}

    def run(self, code: str, **values: object) -> object:
        return self._client.run(OPEN + code, **self._values, **values)


@pytest.fixture
def repo(client: Client, server: Running, name: str) -> Remote:
    return Remote(client, server, name)


def fill(repo: Remote, folder: Path, tree: dict[str, bytes], message: str = "filled") -> None:
    """Commit `tree` through a workspace."""
    drawing.write(folder, tree)
    repo.run(
        """
workspace = Workspace(repo, "main")
workspace.add_files(folder, paths)
workspace.commit(message)
""",
        folder=str(folder),
        paths=[str(folder / path) for path in tree],
        message=message,
    )


def test_a_repository_is_made_with_a_file(repo: Remote) -> None:
    assert repo.run("result = repo.exists()") is False
    repo.run("repo.create()")
    assert repo.run("result = repo.exists()") is True
    assert repo.run("result = [entry.filename for entry in repo.ls()]") == ["README.md"]
    with pytest.raises(ClientError, match="exists"):
        repo.run("repo.create()")


def test_a_repository_is_made_empty(repo: Remote) -> None:
    repo.run("repo.create(empty=True)")
    assert repo.run("result = repo.exists()") is True
    assert repo.run("result = repo.branches()") == []


def test_a_repository_is_deleted(repo: Remote) -> None:
    repo.run("repo.create()")
    repo.run("repo.delete()")
    assert repo.run("result = repo.exists()") is False
    repo.run("repo.create()")
    assert repo.run("result = repo.exists()") is True


def test_listing_metadata_and_content(repo: Remote, drawn: random.Random, tmp_path: Path) -> None:
    tree = {
        f"{drawing.file_name(drawn)} d/{drawing.file_name(drawn)}": drawing.content(drawn)
        for _ in range(5)
    }
    repo.run("repo.create()")
    fill(repo, tmp_path / "source", tree)
    listed = repo.run(
        "result = [[entry.filename, entry.is_dir, entry.size] for entry in repo.ls()]"
    )
    folders = {path.split("/")[0] for path in tree}
    assert isinstance(listed, list)
    assert {row[0] for row in listed if row[1]} == folders
    for path, data in tree.items():
        found = repo.run(
            """
meta = repo.metadata(path)
result = [meta.filename, meta.size, meta.is_dir, meta.hash, repo.get_file(path).hex()]
""",
            path=path,
        )
        assert isinstance(found, list)
        assert found[:3] == [path.split("/")[1], len(data), False]
        assert bytes.fromhex(found[4]) == data
    assert repo.run("result = repo.file_exists('not there')") is False
    assert repo.run("result = repo.file_exists(path)", path=next(iter(tree))) is True


def test_downloads_of_a_file_a_big_file_and_a_folder(
    repo: Remote, drawn: random.Random, tmp_path: Path
) -> None:
    tree = {f"top/{path}": data for path, data in drawing.files(drawn, 8).items()}
    big = drawn.randbytes(drawing.BIG_BYTES)
    repo.run("repo.create()")
    fill(repo, tmp_path / "source", {**tree, "big.bin": big})
    got = tmp_path / "got"
    got.mkdir()
    one = next(iter(tree))
    repo.run("repo.download(path, to)", path=one, to=str(got / "one"))
    assert (got / "one").read_bytes() == tree[one]
    repo.run("repo.download('big.bin', to)", to=str(got / "big.bin"))
    assert (got / "big.bin").read_bytes() == big
    (got / "folder").mkdir()
    repo.run("repo.download('top', to)", to=str(got / "folder"))
    assert tree_of(got / "folder") == tree


def test_branches_are_made_listed_and_deleted(repo: Remote) -> None:
    repo.run("repo.create()")
    head = repo.run("result = repo.get_branch('main').commit_id")
    assert repo.run("result = repo.create_branch('feat/x').commit_id") == head
    listed = repo.run("result = [[b.name, b.commit_id] for b in repo.branches()]")
    assert listed == [["feat/x", head], ["main", head]]
    repo.run("repo.delete_branch('feat/x')")
    assert repo.run("result = [b.name for b in repo.branches()]") == ["main"]
    assert repo.run("result = repo.branch_exists('feat/x')") is False


def test_uploads_are_commits_in_the_log(repo: Remote, drawn: random.Random, tmp_path: Path) -> None:
    repo.run("repo.create()")
    data = drawn.randbytes(10_000)
    (tmp_path / "up.bin").write_bytes(data)
    repo.run("repo.upload(file, 'put ünï', dst_dir='d/e')", file=str(tmp_path / "up.bin"))
    assert repo.run("result = repo.get_file('d/e/up.bin').hex()") == data.hex()
    log = repo.run("result = [[c.message, c.author, c.email] for c in repo.log()]")
    author = ["Ünï Person", "person@example.com"]
    assert log == [["put ünï", *author], ["Initial commit", *author]]
    repo.run("repo.delete_file('d/e/up.bin', 'gone')")
    assert repo.run("result = repo.file_exists('d/e/up.bin')") is False


def test_an_older_revision_is_read_by_its_commit(
    repo: Remote, drawn: random.Random, tmp_path: Path
) -> None:
    repo.run("repo.create()")
    fill(repo, tmp_path / "a", {"f.txt": b"old"})
    old = repo.run("result = repo.log()[0].id")
    fill(repo, tmp_path / "b", {"f.txt": b"new"})
    assert repo.run("result = repo.get_file('f.txt').decode()") == "new"
    code = "repo.checkout(old)\nresult = repo.get_file('f.txt').decode()"
    assert repo.run(code, old=old) == "old"
