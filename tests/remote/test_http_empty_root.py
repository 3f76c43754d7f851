"""The first commit of an empty repository at oxen-server: its root directory is nowhere."""

from __future__ import annotations

from oxenfs.model import ObjectHash
from oxenfs.remote.http.trees import _directory
from oxenfs.remote.rows import rows_of
from oxenfs.remote.wire import decode_node


def test_a_root_that_a_server_names_and_does_not_have_is_empty() -> None:
    # Recorded from oxen-server 0.65.2: the commit's only child is a directory with the hash 0.
    nodes = _directory({}, ObjectHash(0))
    assert list(rows_of(nodes)) == []
    assert not decode_node(nodes.directory).children
