"""Which paths of a change set somebody else changed meanwhile, to something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oxenfs.model import ObjectHash
from oxenfs.remote.local.nodes import Nodes
from oxenfs.remote.local.spool import Op, Record
from oxenfs.remote.wire import DIRECTORY, FILE, children_of, decode_payload

_FILE_IN_THE_WAY = -1

_Entry = tuple[int, ObjectHash] | None
"""Type and hash of what is at a path, or of the file that it would lie below; None: nothing."""


class TreeCursor:
    """Looks up paths in one commit's tree; quick when they come in tree order.

    Holds the entries of the directories on the way to the last path, no more.
    """

    def __init__(self, nodes: Nodes, root: ObjectHash) -> None:
        """Look below the directory `root`."""
        self._nodes = nodes
        self._names: list[bytes] = []
        self._levels = [self._entries(root)]

    def entry(self, path: bytes) -> _Entry:
        """Return what is at `path`; a file in its way counts as being there."""
        *folders, name = path.split(b"/")
        common = 0
        while common < min(len(folders), len(self._names)):
            if folders[common] != self._names[common]:
                break
            common += 1
        del self._names[common:], self._levels[common + 1 :]
        for folder in folders[common:]:
            found = self._levels[-1].get(folder)
            if found is None:
                return None
            if found[0] == FILE:
                # A type of its own, or it would pass for a file at `path` with the same bytes.
                return _FILE_IN_THE_WAY, found[1]
            self._names.append(folder)
            self._levels.append(self._entries(found[1]))
        return self._levels[-1].get(name)

    def _entries(self, directory: ObjectHash) -> dict[bytes, tuple[int, ObjectHash]]:
        return {
            decode_payload(child.type, child.payload).name.encode(): (  # type: ignore[union-attr]
                child.type,
                child.hash,
            )
            for vnode in self._nodes.directory(directory).vnodes
            for child in children_of(vnode)
        }


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
    before, now = TreeCursor(nodes, base), TreeCursor(nodes, head)
    for record in records:
        there = now.entry(record.path)
        if there == before.entry(record.path) or _as_wanted(record, there):
            continue
        yield record.path


def _as_wanted(record: Record, there: _Entry) -> bool:
    if record.op is Op.REMOVE:
        return there is None
    if record.op is Op.MAKE_DIRECTORY:
        return there is not None and there[0] == DIRECTORY
    return record.file is not None and there == (FILE, record.file.hash)
