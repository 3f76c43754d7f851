"""Nodes in archives: both layouts, and what is none."""

from __future__ import annotations

import pytest

from oxenfs.errors import IntegrityError
from oxenfs.model import ObjectHash
from oxenfs.remote.archive import Limits, Member
from oxenfs.remote.archive_nodes import node_members, read_nodes
from oxenfs.remote.archive_write import write_members
from oxenfs.remote.base import RawNode

NODE = RawNode(ObjectHash(0xABC123), b"node", b"children")


def archive(*members: Member) -> bytes:
    return b"".join(write_members(members))


def test_nodes_in_both_layouts_are_read() -> None:
    for prefix in ("tree/nodes/", "", "./", "./tree/nodes/"):
        data = archive(*node_members([NODE], prefix))
        assert list(read_nodes([data], Limits())) == [NODE]


def test_the_two_files_of_a_node_come_in_any_order() -> None:
    node, children = node_members([NODE])
    assert list(read_nodes([archive(children, node)], Limits())) == [NODE]


@pytest.mark.parametrize("missing", [0, 1])
def test_half_a_node_is_damage(missing: int) -> None:
    half = list(node_members([NODE]))[missing]
    other = list(node_members([NODE._replace(id=ObjectHash(0xDEF456))]))
    for members in ([half], [half, *other], [*other, half]):
        with pytest.raises(IntegrityError, match="only one of its two files"):
            list(read_nodes([archive(*members)], Limits()))
    with pytest.raises(IntegrityError, match="twice"):
        list(read_nodes([archive(half, half)], Limits()))


@pytest.mark.parametrize(
    "name",
    [
        "abc/123/other",
        "abc/123",
        "../abc/123/node",
        "abc/../123/node",
        "/abc/123/node",
        "ABC/123/node",
        "abc/" + "1" * 30 + "/node",
        "ab/123/node",
        "abc/12g/node",
        "tree/nodes/abc/123/node/x",
        "node",
    ],
)
def test_another_name_than_a_node_has_is_damage(name: str) -> None:
    with pytest.raises(IntegrityError, match="archive of nodes with"):
        list(read_nodes([archive(Member(name, b""))], Limits()))
