"""A layer without its changes, on the commit that it stands on.

What `Rebase` does for some paths needs the listings of their folders. That nothing is to be left
can be told from the layer alone, and so without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oxenfs.model import ObjectHash
from oxenfs.overlay.index_fill import ENTRIES, NODES, ORIGINS
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.nodes import (
    DIRECTORY_MODE,
    ROOT,
    Entry,
    Nid,
    Node,
    joined,
    node_key,
    origin_key,
    pack_entry,
    pack_node,
)
from oxenfs.overlay.outcome import EDITS_AT_ONCE, Outcome
from oxenfs.overlay.standing import base_edits


class Emptying:
    """Drops all changes of one layer. For one thread, while nothing changes the layer.

    Attributes:
        outcome: complete when all of `records` was taken.
    """

    def __init__(
        self,
        now: Layer,
        base: ObjectHash,
        *,
        held: frozenset[Nid] = frozenset(),
        numbered: Callable[[Nid], bool] = lambda nid: True,
    ) -> None:
        """Empty a layer that stands on `base`.

        Args:
            now: the layer.
            base: a commit.
            held: files that somebody has open.
            numbered: whether a folder that is the commit's keeps the number that programs know;
                one that does not stays in the layer, with nothing different in it.
        """
        self._now = now
        self._base = base
        self._held = held
        self._numbered = numbered
        self.outcome = Outcome()

    def records(self, branch: str | None) -> Iterator[list[Edit]]:
        """Yield the layer that is left, which stands on a commit of `branch`."""
        edits = list(base_edits(self._base, branch))
        root = self._now.node(ROOT)
        assert root is not None
        for edit in (*self._folder(ROOT, b"", b""), *self._kept(ROOT, root)):
            edits.append(edit)
            if len(edits) >= EDITS_AT_ONCE:
                yield edits
                edits = []
        yield edits

    def _folder(self, nid: Nid, path: bytes, origin: bytes | None) -> Iterator[Edit]:
        """Drop what is in a folder; yield what keeps those in it that must stay.

        `origin`: what shows through it, if it is where the commit has it.
        """
        for name, entry in self._now.entries(nid):
            below = entry.covers and origin is not None
            node = None if entry.is_whiteout else self._now.node(entry.nid)
            if node is not None and node.is_directory:
                where = joined(path, name)
                if below and node.origin == where:
                    inside = list(self._folder(entry.nid, where, where))
                    if inside or not self._numbered(entry.nid):
                        yield _entry(nid, name, Entry(entry.nid, covers=True))
                        yield from self._kept(entry.nid, node)
                        yield from inside
                    else:
                        self._drop(entry.nid, node)
                        # Whoever stands in it must not lose it: its number stays.
                        self.outcome.returned.add(entry.nid)
                    continue
                # Nothing can stay in it: what the commit has in it is elsewhere.
                list(self._folder(entry.nid, where, None))
            if node is not None:
                self._drop(entry.nid, node)
            self.outcome.names.append((nid, name))
            if below:
                self.outcome.revealed.append((nid, name))

    def _drop(self, nid: Nid, node: Node) -> None:
        if nid in self.outcome.dropped:
            return  # another name of it
        self.outcome.dropped.add(nid)
        if node.origin is not None:
            self.outcome.revived.add(nid)
        if node.data and nid not in self._held:
            self.outcome.garbage.append(node.data)

    def _kept(self, nid: Nid, node: Node) -> Iterator[Edit]:
        """Yield a folder that stays, as the commit has it."""
        assert node.origin is not None
        self.outcome.touched.append(nid)
        kept = node._replace(mode=DIRECTORY_MODE, nlink=self._links(nid, node))
        yield Edit(NODES, node_key(nid), pack_node(kept))
        yield Edit(ORIGINS, origin_key(node.origin), node_key(nid))

    def _links(self, nid: Nid, folder: Node) -> int:
        """Return how many links a folder has with nothing different in it.

        Reckoned from what the layer knows; a folder in it that was removed is not counted.
        """
        count = folder.nlink
        for name, entry in self._now.entries(nid):
            was = self._now.of_origin(joined(folder.origin or b"", name)) if entry.covers else None
            for sign, other in ((-1, entry.nid), (1, was)):
                node = self._now.node(other) if other else None
                count += sign * (node is not None and node.is_directory)
        return count


def _entry(nid: Nid, name: bytes, entry: Entry) -> Edit:
    return Edit(ENTRIES, node_key(nid) + name, pack_entry(entry))
