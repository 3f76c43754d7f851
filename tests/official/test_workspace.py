"""Workspaces of the official client."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import drawing
from .client import Client, ClientError
from .test_remote_repo import Remote

if TYPE_CHECKING:
    from serving import Running

STATUS = """
status = workspace.status()
result = [sorted(status.added_files()), sorted(status.modified_files()),
          sorted(status.removed_files())]
"""


@pytest.fixture
def repo(client: Client, server: Running, name: str) -> Remote:
    repo = Remote(client, server, name)
    repo.run("repo.create()")
    return repo


def test_files_are_added_listed_and_committed(
    repo: Remote, drawn: random.Random, tmp_path: Path
) -> None:
    tree = drawing.files(drawn)
    drawing.write(tmp_path / "s", tree)
    big = drawn.randbytes(drawing.BIG_BYTES)
    (tmp_path / "big.bin").write_bytes(big)
    single = drawn.randbytes(3000)
    (tmp_path / "single.bin").write_bytes(single)
    staged = repo.run(
        """
workspace = Workspace(repo, "main", workspace_id="mine")
workspace.add_files(folder, paths)
workspace.add(big, "w")
workspace.add(single)
"""
        + STATUS,
        folder=str(tmp_path / "s"),
        paths=[str(tmp_path / "s" / path) for path in tree],
        big=str(tmp_path / "big.bin"),
        single=str(tmp_path / "single.bin"),
    )
    everything = {**tree, "w/big.bin": big, "single.bin": single}
    assert staged == [sorted(everything), [], []]
    repo.run("Workspace(repo, 'main', workspace_id='mine').commit('from a workspace')")
    assert repo.run("result = repo.log()[0].message") == "from a workspace"
    for path, data in everything.items():
        found = repo.run("result = repo.get_file(path).hex()", path=path)
        assert bytes.fromhex(str(found)) == data, path


def test_a_file_is_modified_and_unstaged(repo: Remote, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("other\n")
    (tmp_path / "new.txt").write_text("new\n")
    staged = repo.run(
        """
workspace = Workspace(repo, "main", workspace_id="w")
workspace.add(readme)
workspace.add(new, "d")
"""
        + STATUS,
        readme=str(tmp_path / "README.md"),
        new=str(tmp_path / "new.txt"),
    )
    assert staged == [["d/new.txt"], ["README.md"], []]
    unstaged = repo.run(
        "workspace = Workspace(repo, 'main', workspace_id='w')\nworkspace.rm('d/new.txt')\n"
        + STATUS
    )
    assert unstaged in ([[], ["README.md"], []], [[], ["README.md"], ["d/new.txt"]])
    repo.run("Workspace(repo, 'main', workspace_id='w').commit('changed')")
    assert repo.run("result = repo.get_file('README.md').decode()") == "other\n"
    assert repo.run("result = repo.file_exists('d/new.txt')") is False


def test_a_named_workspace_stays_after_its_commit(repo: Remote, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1")
    (tmp_path / "two.txt").write_text("2")
    for file in ("one.txt", "two.txt"):
        repo.run(
            """
workspace = Workspace(repo, "main", workspace_name="my ws")
workspace.add(file)
workspace.commit(file)
""",
            file=str(tmp_path / file),
        )
    assert repo.run("result = repo.get_file('one.txt').decode()") == "1"
    assert repo.run("result = repo.get_file('two.txt').decode()") == "2"
    assert repo.run("result = len(repo.list_workspaces())") == 1


def test_a_conflict_is_refused_and_the_staging_stays(repo: Remote, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.txt").write_text("theirs")
    repo.run(
        """
workspace = Workspace(repo, "main", workspace_id="w")
workspace.add(mine, "c")
repo.upload(theirs, "theirs", dst_dir="c")
""",
        mine=str(tmp_path / "a.txt"),
        theirs=str(tmp_path / "theirs" / "a.txt"),
    )
    with pytest.raises(ClientError, match="behind"):
        repo.run("Workspace(repo, 'main', workspace_id='w').commit('mine')")
    assert repo.run("result = repo.get_file('c/a.txt').decode()") == "theirs"
    code = "workspace = Workspace(repo, 'main', workspace_id='w')\n" + STATUS
    assert repo.run(code) == [["c/a.txt"], [], []]


def test_a_branch_that_moved_elsewhere_is_no_conflict(repo: Remote, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    repo.run(
        """
workspace = Workspace(repo, "main")
workspace.add(a, "mine")
repo.upload(b, "elsewhere", dst_dir="theirs")
workspace.commit("mine")
""",
        a=str(tmp_path / "a.txt"),
        b=str(tmp_path / "b.txt"),
    )
    log = repo.run("result = [commit.message for commit in repo.log()]")
    assert log == ["mine", "elsewhere", "Initial commit"]
    assert repo.run("result = repo.get_file('theirs/b.txt').decode()") == "b"
    assert repo.run("result = repo.get_file('mine/a.txt').decode()") == "a"


def test_what_was_committed_in_workspaces_is_cloned(
    repo: Remote,
    client: Client,
    server: Running,
    name: str,
    drawn: random.Random,
    tmp_path: Path,
) -> None:
    from .client import tree_of
    from .test_remote_repo import fill

    tree = drawing.files(drawn)
    fill(repo, tmp_path / "s", tree)
    url = f"{server.url}/{name}"
    client.run("Repo(folder).clone(url)", folder=str(tmp_path / "clone"), url=url)
    readme = f"# {name.partition('/')[2]}\n".encode()
    assert tree_of(tmp_path / "clone") == {"README.md": readme, **tree}
