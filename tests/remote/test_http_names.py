"""Names that URLs, forms and queries have their own ideas about: read, listed and published."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from repositories import AUTHOR, noise

from oxenfs.errors import NotFound, Unsupported
from oxenfs.history import commits_of, read_file
from oxenfs.model import Change, ObjectHash, Remove
from oxenfs.remote.base import BlobPlace
from oxenfs.remote.http.remote import HttpRemote
from oxenfs.remote.http.transport import Transport

from .http import serving
from .publish_suite import put
from .reference import puts, rows_below, tree_of, with_folders

PARTS = [
    "per%cent",
    "%41",
    "%2F",
    "pl+us",
    "que?ry=1&x",
    "ha#sh",
    "spa ce",
    " both ends ",
    "ünï ß",
    "e\u0301",
    "日本",
    "\U0001f402",
    "com,ma",
    "semi;colon",
    'quo"te',
    "apo's",
    "new\nline",
    "tab\t",
    "a=b&c",
    "[x]{y}*",
    "~tilde",
    "...",
    "-dash",
    "colon:at@",
    "n" * 255,
]
LARGE = (1 << 20) + 5


@pytest.fixture(scope="module", params=["ours", "real"])
def remote(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpRemote]:
    missing = {"ours": serving.why_ours_is_missing, "real": serving.why_real_is_missing}
    if (reason := missing[request.param]()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("served")
    started = (
        serving.ours(folder)
        if request.param == "ours"
        else serving.real(os.environ["OXEN_SERVER"], folder)
    )
    with started as server:
        made = server.remote()
        yield made
        made.close()


@pytest.fixture(scope="module")
def tree() -> dict[bytes, bytes | None]:
    files: dict[bytes, bytes | None] = {}
    for number, part in enumerate(PARTS):
        name = part.encode()
        files[name + b"/f" if number % 2 else b"top/" + name] = noise(100, part)
    for part in PARTS[:13]:
        files[b"dir " + part.encode() + b"/" + part.encode()] = noise(LARGE, part)
    return with_folders(files)


@pytest.fixture(scope="module")
def commit(remote: HttpRemote, tree: dict[bytes, bytes | None]) -> ObjectHash:
    changes = [change for change in puts(tree) if tree[change.path] is not None]
    return remote.publish("main", remote.branch("main").commit, changes, "m", AUTHOR).commit


def test_what_was_published_is_listed_and_read(
    remote: HttpRemote, commit: ObjectHash, tree: dict[bytes, bytes | None]
) -> None:
    assert tree_of(remote, commit) == tree


def test_a_backslash_is_kept_or_refused(remote: HttpRemote, commit: ObjectHash) -> None:
    before = remote.branch("main").commit
    changes = puts({b"a\\b": b"x"})
    if remote.transport.is_oxenfs:
        done = remote.publish("backslash", commit, changes, "m", AUTHOR)
        assert tree_of(remote, done.commit)[b"a\\b"] == b"x"
        return
    # oxen-server would make b in the folder a.
    with pytest.raises(Unsupported, match="backslash"):
        remote.publish("main", commit, changes, "m", AUTHOR)
    assert remote.branch("main").commit == before


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([put(b"a\\b", b"x")], "backslash"),
        ([put(b"top", b"file")], "'top' was a folder"),
        ([Remove(b"top"), put(b"top", b"file")], "'top' was a folder"),
    ],
)
def test_what_an_oxen_server_would_lose_is_refused(
    remote: HttpRemote,
    commit: ObjectHash,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[Change],
    why: str,
) -> None:
    # Our server says who it is in each answer, and would keep them.
    other = property(lambda self: False, lambda self, value: None)
    monkeypatch.setattr(Transport, "is_oxenfs", other, raising=False)
    before = remote.branches()
    with pytest.raises(Unsupported, match=why):
        remote.publish("main", commit, changes, "m", AUTHOR)
    assert remote.branches() == before


def test_ranges_are_found_by_path(
    remote: HttpRemote, commit: ObjectHash, tree: dict[bytes, bytes | None]
) -> None:
    large = 0
    for path, row in rows_below(remote, commit).items():
        data = tree[path]
        if data is not None and len(data) == LARGE:
            place = BlobPlace(commit, path, LARGE)
            assert remote.read(row.id, 1 << 20, 5, place) == data[1 << 20 :]
            assert remote.read(row.id, 3, 4, place) == data[3:7]
            large += 1
    assert large == 13


def test_files_and_histories_are_found_by_path(
    remote: HttpRemote, commit: ObjectHash, tree: dict[bytes, bytes | None]
) -> None:
    head = remote.commit(commit)
    for path in (b"top/per%cent", b"pl+us/f", b"ha#sh/f"):
        assert b"".join(read_file(remote, head, path)) == tree[path]
        assert [each.id for each in commits_of(remote, head, [path])] == [commit]


@pytest.mark.parametrize("name", ["pl+us", "ünï/x", "a&b=c#d", "semi;colon", "x,y", "a%41"])
def test_branches_with_such_names_are_made_found_and_told_apart(
    remote: HttpRemote, commit: ObjectHash, name: str
) -> None:
    if "%" in name:
        # No client makes one over HTTP; whoever does, it is found.
        with pytest.raises(NotFound):
            remote.branch(name)
        return
    remote.make_branch(name, commit)
    assert remote.branch(name).commit == commit
    assert name in [branch.name for branch in remote.branches()]
    for other in (name + "x", name.replace("+", " ") if "+" in name else name[:-1]):
        with pytest.raises(NotFound):
            remote.branch(other)
