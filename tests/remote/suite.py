"""What every remote must do. A subclass gives the fixtures `remote` and `graft`.

Later remotes run the same classes, so nothing here may know where a repository is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import AUTHOR, MTIME_NS, noise

from oxenfs.errors import IsADirectory, NotADirectory, NotFound
from oxenfs.history import commits_of, names_at, read_file
from oxenfs.model import CHUNK_BYTES, Kind, ObjectHash, Remove, hash_text
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.payloads import DIRECTORY, VNODE
from oxenfs.remote.revision import AmbiguousRevision, resolve
from oxenfs.remote.rows import find_row, rows_of
from oxenfs.remote.wire import decode_node

from .reference import files, puts, rows_below, tree_of, with_folders

Graft = Callable[[Remote, str, tuple[ObjectHash, ...], int], ObjectHash]
"""Makes a branch at a new commit with these parents and time in seconds, and their tree."""

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]


def publish(remote: Remote, tree: dict[bytes, bytes | None], message: str = "m") -> ObjectHash:
    base = remote.branch("main").commit
    return remote.publish("main", base, puts(tree), message, AUTHOR).commit


class ReadingSuite:
    """Revisions, trees, bytes. `remote` is empty: `main` at one commit without files."""

    def test_a_new_repository_has_one_branch_at_an_empty_commit(self, remote: Remote) -> None:
        (branch,) = remote.branches()
        assert branch == remote.default_branch() == remote.branch("main")
        commit = remote.commit(branch.commit)
        assert commit.parents == ()
        assert list(remote.history(commit.id)) == [commit]
        assert tree_of(remote, commit.id) == {}

    def test_branches_are_sorted_by_name_and_found_by_their_whole_name(
        self, remote: Remote
    ) -> None:
        base = remote.branch("main").commit
        for name in ("feature/x", "a", "ünï"):
            remote.publish(name, base, puts(files(**{name[0]: b"1"})), name, AUTHOR)
        names = [branch.name for branch in remote.branches()]
        assert names == ["a", "feature/x", "main", "ünï"]
        assert remote.branch("feature/x") in remote.branches()
        for missing in ("feature", "MAIN", "mai", "main ", "", "x" * 600, "m\0", "bad\udcff"):
            with pytest.raises(NotFound):
                remote.branch(missing)

    def test_a_commit_says_who_when_and_why(self, remote: Remote) -> None:
        base = remote.branch("main").commit
        id = publish(remote, files(a=b"1"), "first ünï\nsecond line")
        commit = remote.commit(id)
        assert (commit.id, commit.parents, commit.author) == (id, (base,), AUTHOR)
        assert commit.message == "first ünï\nsecond line"
        assert commit.timestamp_ns > remote.commit(base).timestamp_ns - 10**9
        with pytest.raises(NotFound):
            remote.commit(ObjectHash(id ^ 1))
        with pytest.raises(NotFound):
            remote.root(ObjectHash(id ^ 1))

    def test_commits_are_found_by_the_beginning_of_their_id(self, remote: Remote) -> None:
        ids = {remote.branch("main").commit}
        ids |= {publish(remote, files(a=b"%d" % n), f"{n}") for n in range(30)}
        texts = sorted(map(hash_text, ids))
        for text in texts:
            assert remote.commits_with_prefix(text, 5) == [int(text, 16)]
        assert len(remote.commits_with_prefix("", 7)) == 7
        for digit in "0123456789abcdef":
            found = remote.commits_with_prefix(digit, 100)
            assert sorted(map(hash_text, found)) == [t for t in texts if t.startswith(digit)]

    def test_a_revision_is_a_branch_or_an_id_or_a_unique_prefix(self, remote: Remote) -> None:
        head = publish(remote, files(a=b"1"))
        text = hash_text(head)
        assert resolve(remote, None) == resolve(remote, "main")
        assert resolve(remote, "main").commit.id == head
        assert resolve(remote, text.upper()).branch is None
        for rev in (text, text[:6], text[:20], text.rjust(32, "0")):
            assert resolve(remote, rev).commit.id == head
        with pytest.raises(NotFound, match="main"):
            resolve(remote, "mian")
        with pytest.raises(NotFound, match="6 digits") as caught:
            resolve(remote, text[:5])
        assert not isinstance(caught.value, AmbiguousRevision)

    def test_a_branch_named_like_a_commit_wins(self, remote: Remote) -> None:
        first = publish(remote, files(a=b"1"))
        remote.publish(hash_text(first)[:8], first, puts(files(b=b"2")), "m", AUTHOR)
        assert resolve(remote, hash_text(first)[:8]).branch == hash_text(first)[:8]
        assert resolve(remote, hash_text(first)[:9]).commit.id == first

    def test_history_has_children_before_parents_and_each_once(
        self, remote: Remote, graft: Graft
    ) -> None:
        first = remote.branch("main").commit
        base = publish(remote, files(a=b"1"))
        left = graft(remote, "left", (base,), 2_000_000_100)
        right = graft(remote, "right", (base,), 2_000_000_050)
        older = graft(remote, "right", (right,), 2_000_000_010)
        newer = graft(remote, "left", (left, right), 2_000_000_200)
        merge = graft(remote, "merge", (newer, older), 2_000_000_300)
        ids = [commit.id for commit in remote.history(merge)]
        transport = getattr(remote, "transport", None)
        if transport is None or transport.is_oxenfs:
            assert ids == [merge, newer, left, older, right, base, first]
        else:
            # By time alone: a commit whose clock was late stands behind its parent.
            assert ids == [merge, newer, left, right, older, base, first]
        assert [commit.id for commit in remote.history(left)] == [left, base, first]
        assert remote.commit(merge).parents == (newer, older)

    def test_history_of_linear_commits_is_not_read_ahead(self, remote: Remote) -> None:
        ids = [publish(remote, files(a=b"%d" % n), f"{n}") for n in range(5)]
        history = remote.history(ids[-1])
        assert [next(history).id for _ in range(3)] == ids[:1:-1]

    def test_the_commits_of_a_path_are_those_that_changed_it(
        self, remote: Remote, graft: Graft
    ) -> None:
        base = remote.branch("main").commit
        add = publish(remote, with_folders({b"d/a": b"1", b"b": b"1"}), "add")
        other = publish(remote, files(b=b"2"), "other")
        gone = remote.publish("main", other, [Remove(b"d")], "gone", AUTHOR).commit
        again = publish(remote, with_folders({b"d/a": b"1"}), "again")
        merge = graft(remote, "merge", (again, base), 2_000_000_000)
        head = remote.commit(merge)

        def of(*paths: bytes) -> list[ObjectHash]:
            return [commit.id for commit in commits_of(remote, head, paths)]

        assert of(b"d/a") == of(b"d") == [again, gone, add]
        assert of(b"b") == [other, add]
        assert of(b"b", b"d/a") == [again, gone, other, add]
        assert of() == [merge, again, gone, other, add, base]
        with pytest.raises(NotFound, match="nothing"):
            of(b"b", b"nothing")

    def test_a_tree_is_what_was_put_in(self, remote: Remote) -> None:
        tree = with_folders(
            {
                b"a.txt": b"text\n",
                b"dir/sub/x.bin": bytes(range(256)),
                b"dir.txt": b"",
                b"dir/empty": None,
                "ünï/\t\n \x7f".encode(): b"odd",
                b"n" * 255: b"long",
                b"Case": b"1",
                b"case": b"2",
            }
        )
        commit = publish(remote, tree)
        assert tree_of(remote, commit) == tree
        rows = rows_below(remote, commit)
        assert rows[b"a.txt"][1:] == (
            Kind.TEXT,
            rows[b"a.txt"].hash,
            5,
            MTIME_NS,
            commit.to_bytes(16, "big"),
        )
        assert rows[b"dir"].kind == Kind.DIRECTORY
        assert rows[b"dir"].size == 0
        assert rows[b"dir"].last_commit == commit

    def test_a_directory_is_its_node_and_all_its_vnodes(self, remote: Remote) -> None:
        commit = publish(remote, {b"f%03d" % n: b"%d" % n for n in range(50)})
        root = remote.root(commit)
        nodes = remote.directory(root, TreePlace(commit, b""))
        assert nodes.directory.id == root
        node = decode_node(nodes.directory)
        assert [child.hash for child in node.children] == [vnode.id for vnode in nodes.vnodes]
        assert [row.name for row in rows_of(nodes)] == [b"f%03d" % n for n in range(50)]
        with pytest.raises(NotFound):
            remote.directory(ObjectHash(root ^ 1), TreePlace(commit, b"none"))

    def test_a_tree_gives_each_directory_and_vnode_once(self, remote: Remote) -> None:
        tree = with_folders({b"d%d/e%d/f" % (n % 4, n): b"1" for n in range(20)})
        commit = publish(remote, tree)
        nodes = list(remote.tree(commit))
        assert len({node.id for node in nodes}) == len(nodes)
        kinds = [decode_node(node).type for node in nodes]
        assert set(kinds) == {DIRECTORY, VNODE}
        folders = {row.id for row in rows_below(remote, commit).values() if row.kind == 0}
        assert {n.id for n in nodes if n.node[0] == DIRECTORY} == {*folders, remote.root(commit)}

    @pytest.mark.parametrize("size", SIZES)
    def test_any_range_of_a_file_can_be_read(self, remote: Remote, size: int) -> None:
        data = noise(size, size)
        commit = publish(remote, {b"f": data})
        row = rows_below(remote, commit)[b"f"]
        assert (row.size, remote.read(row.id, 0, size)) == (size, data)
        edges = {0, 1, size // 2, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, size - 1, size}
        inside = sorted(edge for edge in edges if 0 <= edge <= size)
        for start in inside:
            for stop in (stop for stop in inside if stop >= start):
                assert remote.read(row.id, start, stop - start) == data[start:stop]
        for offset, length in ((0, size + 1), (size, 1), (size + 1, 0), (-1, 1), (0, -1)):
            with pytest.raises(NotFound):
                remote.read(row.id, offset, length)

    def test_a_blob_that_is_not_there_is_not_found(self, remote: Remote) -> None:
        with pytest.raises(NotFound):
            remote.read(ObjectHash(12345), 0, 0)

    def test_a_path_leads_to_its_entry(self, remote: Remote) -> None:
        commit = publish(remote, with_folders({b"a/b/c": b"123", b"z": b""}))
        assert find_row(remote, commit, b"") is None
        row = find_row(remote, commit, b"a/b/c")
        assert row is not None
        assert (row.name, row.size) == (b"c", 3)
        for path in (b"x", b"a/x", b"a/b/", b"/a//b"):
            found = path.strip(b"/") in (b"a/b", b"a//b")
            if found:
                assert find_row(remote, commit, path) is not None
            else:
                with pytest.raises(NotFound):
                    find_row(remote, commit, path)
        with pytest.raises(NotADirectory):
            find_row(remote, commit, b"z/y")

    def test_show_gives_bytes_of_files_and_names_of_directories(
        self, remote: Remote, tmp_path: Path
    ) -> None:
        data = noise((4 << 20) + 5, "show")
        head = remote.commit(publish(remote, with_folders({b"d/f": data, b"d/e": None})))
        assert b"".join(read_file(remote, head, b"d/f")) == data
        assert list(names_at(remote, head, b"d")) == [b"e/", b"f"]
        assert list(names_at(remote, head, b"")) == [b"d/"]
        with pytest.raises(IsADirectory):
            read_file(remote, head, b"d")
        with pytest.raises(IsADirectory):
            read_file(remote, head, b"")
        with pytest.raises(NotADirectory):
            list(names_at(remote, head, b"d/f"))
