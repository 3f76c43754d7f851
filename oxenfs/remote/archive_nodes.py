"""Merkle nodes in an archive: two files each, `node` and `children`, in a folder of its id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oxenfs.errors import IntegrityError
from oxenfs.model import ObjectHash, hash_text
from oxenfs.remote.archive import Limits, Member, read_members
from oxenfs.remote.base import RawNode

_NODE_NAME = re.compile(r"(?:\./)?(?:tree/nodes/)?([0-9a-f]{3})/([0-9a-f]{0,29})/(node|children)\Z")


def read_nodes(pieces: Iterable[bytes], limits: Limits) -> Iterator[RawNode]:
    """Yield the Merkle nodes of an archive; both layouts, with and without `tree/nodes/`.

    Raises:
        IntegrityError: as `read_members`, or a member that is not half of a node.
    """
    halves: dict[str, bytes] = {}
    current: ObjectHash | None = None
    for member in read_members(pieces, limits):
        match = _NODE_NAME.match(member.name)
        if match is None:
            raise IntegrityError(f"an archive of nodes with {member.name[:80]!r} in it")
        id = ObjectHash(int(match[1] + match[2], 16))
        if current is not None and id != current:
            raise IntegrityError(f"node {hash_text(current)} has only one of its two files")
        if match[3] in halves:
            raise IntegrityError(f"node {hash_text(id)} has its {match[3]} twice")
        current = id
        halves[match[3]] = member.content
        if len(halves) == 2:
            yield RawNode(id, halves["node"], halves["children"])
            halves.clear()
            current = None
    if current is not None:
        raise IntegrityError(f"node {hash_text(current)} has only one of its two files")


def node_members(nodes: Iterable[RawNode], prefix: str = "tree/nodes/") -> Iterator[Member]:
    """Yield the two files of each node, next to each other.

    Args:
        nodes: to send.
        prefix: `tree/nodes/` from server to client, empty for a push.
    """
    for node in nodes:
        text = hash_text(node.id)
        folder = f"{prefix}{text[:3]}/{text[3:]}"
        yield Member(f"{folder}/node", node.node)
        yield Member(f"{folder}/children", node.children)
