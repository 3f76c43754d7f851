"""A hostile server: whatever it sends, no crash, no escape, little memory, and a clear error.

Each case is one answer. What may come of it is one of our errors, in one printable line; or, for
trees that are only strange, exactly the names that can be shown.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote.http.misbehaving import Misbehaving, Reply, Request, misbehaving, reply

from oxenfs.errors import OxenfsError
from oxenfs.remote.base import BlobPlace, TreePlace
from oxenfs.remote.http.remote import HttpRemote
from oxenfs.store.columns import Listing
from oxenfs.store.records import complete_directories, make_columns

from . import answers, archives, trees
from .building import BLOB, BLOB_ID, HEAD, Tree, archive

TIMEOUT_S = 2.0
MEMORY_BYTES = 400 << 20
NO_NAMES = {b"", b".", b".."}

Ask = Callable[[HttpRemote], object]

_SIZES: list[int] = []


def read_commit(remote: HttpRemote) -> object:
    return remote.commit(HEAD)


def list_root(remote: HttpRemote) -> set[bytes]:
    """List a commit's root as the first `ls` does."""
    nodes = remote.directory(remote.root(HEAD), TreePlace(HEAD, b""))
    return names_of(Listing(make_columns(nodes, lambda _: 0)))


def take_tree(remote: HttpRemote) -> set[bytes]:
    """List the whole tree as the process does that makes listings ahead."""
    found = set()
    for nodes in complete_directories(remote.tree(HEAD)):
        found |= names_of(Listing(make_columns(nodes, lambda _: 0)))
    return found


def read_blob(remote: HttpRemote) -> object:
    return remote.read(BLOB_ID, 0, len(BLOB), BlobPlace(HEAD, b"good.txt", len(BLOB)))


def read_range(remote: HttpRemote) -> object:
    return remote.read(BLOB_ID, 0, 1000, BlobPlace(HEAD, b"large", 5 << 20))


def names_of(listing: Listing) -> set[bytes]:
    names = listing.names_between(0, listing.count)
    for name in names:
        assert name not in NO_NAMES
        assert not set(name) & {0, ord("/")}
        assert len(name) <= 255
        assert name.lower() not in (b".oxen", b"oxen~1")
        assert listing.find(name) >= 0
    assert len(set(names)) == len(names)
    for row in range(listing.count):
        assert 0 <= listing.sizes[row] < 1 << 63
        assert -(1 << 63) <= listing.mtimes[row] < 1 << 63
    return set(names)


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    with misbehaving() as running:
        yield running


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let the peak of each case be little, and let what would take all fail, not the machine."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (2 << 30), limits[1]))
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    assert peak_bytes() - before < MEMORY_BYTES


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def refuse(server: Misbehaving, said: Reply, ask: Ask) -> str:
    """Ask, and return what the error says; anything else than one of ours fails the test."""
    server.answering = lambda _: said
    remote = server.remote(timeout_s=TIMEOUT_S)
    try:
        with pytest.raises(OxenfsError) as caught:
            ask(remote)
    finally:
        remote.close()
    text = str(caught.value)
    assert len(text) > 15
    assert len(text) < 2000
    assert text.isprintable(), repr(text)
    return text


def of(cases: Iterator[tuple[str, object]]) -> list[object]:
    found = list(cases)
    _SIZES.append(len(found))
    names = [what for what, _ in found]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return [pytest.param(case, id=what.encode("unicode_escape").decode()) for what, case in found]


@pytest.mark.parametrize("body", of(answers.bodies()))
def test_hostile_json_is_refused(server: Misbehaving, body: bytes) -> None:
    text = refuse(server, reply(200, body), read_commit)
    assert server.host in text


@pytest.mark.parametrize("said", of(answers.framed()))
@pytest.mark.parametrize("ask", [read_commit, read_blob])
def test_hostile_heads_and_lengths_are_refused(server: Misbehaving, said: Reply, ask: Ask) -> None:
    started = time.monotonic()
    assert server.host in refuse(server, said, ask)
    assert time.monotonic() - started < 3 * TIMEOUT_S


@pytest.mark.parametrize("said", of(answers.redirections()))
def test_hostile_redirections_are_refused(server: Misbehaving, said: Reply) -> None:
    server.requests.clear()
    assert server.host in refuse(server, said, read_range)
    assert len(server.requests) <= 6
    assert all(request.headers["host"] == server.host for request in server.requests)


@pytest.mark.parametrize("body", of(archives.of_nodes()))
@pytest.mark.parametrize("ask", [list_root, take_tree])
def test_hostile_archives_of_nodes_are_refused(
    server: Misbehaving, body: bytes, ask: Ask, request: pytest.FixtureRequest
) -> None:
    if ask is take_tree and "no node at all" in request.node.name:
        pytest.skip("a tree without directories is one, if the commit was found before")
    assert server.host in refuse(server, reply(200, body), ask)


@pytest.mark.parametrize("body", of(archives.of_blobs()))
def test_hostile_archives_of_blobs_are_refused(server: Misbehaving, body: bytes) -> None:
    assert server.host in refuse(server, reply(200, body), read_blob)


@pytest.mark.parametrize("tree", of(trees.broken_trees()))
def test_broken_trees_are_refused(server: Misbehaving, tree: Tree) -> None:
    refuse(server, reply(200, archive(tree.nodes())), list_root)


@pytest.mark.parametrize("tree", of(trees.broken_trees()))
def test_broken_trees_show_nothing_ahead(server: Misbehaving, tree: Tree) -> None:
    """What makes listings ahead may leave a broken directory out, and nothing worse."""
    server.answering = lambda _: reply(200, archive(tree.nodes()))
    remote = server.remote(timeout_s=TIMEOUT_S)
    found: set[bytes] = set()
    with contextlib.suppress(OxenfsError):
        found = take_tree(remote)
    remote.close()
    assert found <= {trees.GOOD}


@pytest.mark.parametrize(
    "case", of((what, (tree, names)) for what, tree, names in trees.odd_trees())
)
@pytest.mark.parametrize("ask", [list_root, take_tree])
def test_of_odd_trees_is_shown_what_can_be(
    server: Misbehaving,
    case: tuple[Tree, set[bytes]],
    ask: Ask,
    request: pytest.FixtureRequest,
) -> None:
    tree, names = case
    nodes = tree.nodes()
    if "before its folder" in request.node.name:
        nodes.reverse()
    server.answering = lambda _: reply(200, archive(nodes))
    remote = server.remote(timeout_s=TIMEOUT_S)
    try:
        assert ask(remote) == names
    finally:
        remote.close()


def test_the_corpus_is_large() -> None:
    assert sum(_SIZES) >= 400


def pages(request: Request) -> Reply:
    """Answer a list of commits with pages that never end, each with new ones."""
    number = next(_COUNTER)
    found = [{**answers.COMMIT, "id": f"{number:x}{n:03x}"} for n in range(1000)]
    return reply(200, {"status": "success", "commits": found, "total_pages": 10**12})


_COUNTER = itertools.count(1)


def test_a_history_without_end_is_read_as_far_as_somebody_asks(server: Misbehaving) -> None:
    server.answering = pages
    server.requests.clear()
    remote = server.remote(timeout_s=TIMEOUT_S)
    first = list(itertools.islice(remote.history(HEAD), 2500))
    assert len({commit.id for commit in first}) == 2500
    assert len(server.requests) == 3
    remote.close()
