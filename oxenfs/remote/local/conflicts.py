"""Which paths of a change set somebody else changed meanwhile, to something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oxenfs.model import ObjectHash
from oxenfs.remote.cursor import Found, TreeCursor
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.payloads import DIRECTORY, FILE


def conflicts(
    nodes: Nodes, base: ObjectHash, head: ObjectHash, records: Iterable[Record]
) -> Iterator[bytes]:
    """Yield paths of `records` that differ between two root directories and from what is wanted.

    Args:
        nodes: where the trees are.
        base: the root that the records were made against.
        head: the root that they are to be applied to.
        records: in tree order.
    """
    if base == head:
        return
    before, now = _cursor(nodes, base), _cursor(nodes, head)
    for record in records:
        there = now.entry(record.path)
        if there == before.entry(record.path) or _as_wanted(record, there):
            continue
        yield record.path


def _cursor(nodes: Nodes, root: ObjectHash) -> TreeCursor:
    # Nodes are found by id here: commit and path do not matter.
    return TreeCursor(lambda id, _place: nodes.directory(id), ObjectHash(0), root)


def _as_wanted(record: Record, there: Found) -> bool:
    if record.op is Op.REMOVE:
        return there is None
    if record.op is Op.MAKE_DIRECTORY:
        return there is not None and there[0] == DIRECTORY
    return record.file is not None and there == (FILE, record.file.hash)
