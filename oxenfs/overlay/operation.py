"""The edits of one operation on a layer, on their way into one record of the journal."""

from __future__ import annotations

from collections.abc import Callable

from oxenfs.overlay.index_fill import ENTRIES
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.nodes import WHITEOUT, Entry, Nid, Node, node_key, pack_entry
from oxenfs.overlay.standing import now_ns


class Operation:
    """What one operation changes; nothing counts before its edits are applied together.

    Attributes:
        now: when it happens, for times.
        edits: so far, without those of `nodes`.
        nodes: nodes as they will be.
        gone: nodes that lose their last name, as they were at last.
        next: the next number to be given.
    """

    def __init__(self, node: Callable[[Nid], Node], next: Nid, *, committing: bool) -> None:
        """Begin; `node` gives what is there, `next` is the next free number.

        While a commit is under way (`committing`), a name that goes leaves a whiteout in any case:
        the commit may be putting something there.
        """
        self._node = node
        self._committing = committing
        self.now = now_ns()
        self.edits: list[Edit] = []
        self.nodes: dict[Nid, Node] = {}
        self.gone: dict[Nid, Node] = {}
        self.next = next

    def number(self) -> Nid:
        """Return a new number."""
        self.next += 1
        return self.next - 1

    def node(self, nid: Nid) -> Node:
        """Return a node as it will be."""
        return self.nodes.get(nid) or self._node(nid)

    def set_node(self, nid: Nid, node: Node) -> None:
        """Let `node` be what is known about it."""
        self.nodes[nid] = node

    def move(self, nid: Nid, parent: Nid, name: bytes) -> None:
        """Note where a folder is now; of anything, that it was moved."""
        node = self.node(nid)._replace(ctime_ns=self.now)
        self.nodes[nid] = node._replace(parent=parent, name=name) if node.is_directory else node

    def set_entry(self, parent: Nid, name: bytes, entry: Entry | None) -> None:
        """Let a name lead to `entry`; None: to whatever the commit has."""
        value = None if entry is None else pack_entry(entry)
        self.edits.append(Edit(ENTRIES, node_key(parent) + name, value))

    def clear_entry(self, parent: Nid, name: bytes, covers: bool) -> None:
        """Take a name away; `covers`: the commit has something there."""
        if covers or self._committing:
            self.set_entry(parent, name, Entry(WHITEOUT, covers))
        else:
            self.set_entry(parent, name, None)

    def touch(self, folder: Nid, subfolders: int = 0) -> None:
        """Note a change of a folder's names, of which `subfolders` are folders more or less."""
        node = self.node(folder)
        self.nodes[folder] = node._replace(
            nlink=node.nlink + subfolders, mtime_ns=self.now, ctime_ns=self.now
        )
