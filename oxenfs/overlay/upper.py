"""The upper layer: names, attributes and numbers of what differs from the commit.

Knows nothing of the commit but paths: whoever calls says what is there. Every operation is one
record of the journal. Nothing here waits but for the disk's page cache; for one thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from oxenfs.errors import Exists, InvalidMove, NotEmpty, NotFound
from oxenfs.overlay.index_fill import META, NODES, ORIGINS, PIECES, XATTRS
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.nodes import (
    ROOT,
    Entry,
    Nid,
    Node,
    node_key,
    origin_key,
    pack_node,
)
from oxenfs.overlay.operation import Operation
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.standing import NEXT
from oxenfs.overlay.state import UpperState

_NUMBERS_AHEAD = 1024
_GONE_KEPT = 4096


class Upper(UpperState):
    """An open upper layer."""

    # --- names

    def promote(self, parent: Nid, name: bytes, node: Node) -> Nid:
        """Give what the commit has at `node.origin` a number; what is seen stays the same."""
        assert node.origin is not None
        with self._operation() as op:
            nid = op.number()
            op.set_entry(parent, name, Entry(nid, covers=True))
            op.set_node(nid, node._replace(parent=parent, name=name))
            op.edits.append(Edit(ORIGINS, origin_key(node.origin), node_key(nid)))
        return nid

    def make(self, parent: Nid, name: bytes, node: Node, *, covers: bool) -> Nid:
        """Make a file or folder where nothing is seen; return its number.

        Args:
            parent: the folder.
            name: its name there.
            node: what it is; its times count as now.
            covers: whether the folder's origin has an entry of that name.
        """
        self._alive(parent)
        found = self.entry(parent, name)
        if found is not None and not found.is_whiteout:
            raise Exists(f"{name!r} exists")
        with self._operation() as op:
            nid = op.number()
            op.set_entry(parent, name, Entry(nid, covers, _is_plain(node)))
            op.set_node(nid, node._replace(parent=parent, name=name))
            op.touch(parent, subfolders=int(node.is_directory))
        return nid

    def create(self, parent: Nid, name: bytes, node: Node, *, covers: bool) -> tuple[Nid, int]:
        """Make a file with bytes of its own; return its number and a descriptor of those.

        One record, where a file that gets its bytes with the first write takes two. See `make`.
        """
        data = self.new_file()
        fd = self.files.open(data)
        try:
            return self.make(parent, name, node._replace(data=data), covers=covers), fd
        except BaseException:
            os.close(fd)
            self.drop_file(data)
            raise

    def link(self, nid: Nid, parent: Nid, name: bytes, *, covers: bool) -> None:
        """Give a file one more name."""
        self._alive(nid)
        self._alive(parent)
        with self._operation() as op:
            node = op.node(nid)
            op.set_entry(parent, name, Entry(nid, covers, _is_plain(node)))
            op.set_node(nid, node._replace(nlink=node.nlink + 1, ctime_ns=op.now))
            op.touch(parent)

    def remove(self, parent: Nid, name: bytes, *, covers: bool, below: int = 0) -> None:
        """Take a name away; with the last one the file or folder goes.

        Args:
            parent: the folder.
            name: its name there.
            covers: whether the folder's origin has an entry of that name.
            below: how many entries the origin of what is removed has, if that is a folder.

        Raises:
            NotEmpty: a folder that still shows something.
        """
        found = self.entry(parent, name)
        with self._operation() as op:
            if found is not None:
                self._drop(op, found.nid, below)
                covers = found.covers
            op.clear_entry(parent, name, covers)
            folder = found is not None and self.node(found.nid).is_directory
            op.touch(parent, subfolders=-int(folder))

    def rename(
        self,
        parent: Nid,
        name: bytes,
        new_parent: Nid,
        new_name: bytes,
        *,
        covers: bool,
        below: int = 0,
    ) -> None:
        """Move a name that the layer has; a file or empty folder in its new place goes.

        Args:
            parent: its folder.
            name: its name there.
            new_parent: its new folder.
            new_name: its new name.
            covers: whether the new folder's origin has an entry of the new name.
            below: how many entries the origin of what is replaced has, if that is a folder.
        """
        moved = self._entry(parent, name)
        self._alive(new_parent)
        replaced = self.entry(new_parent, new_name)
        if replaced is not None and replaced.nid == moved.nid:
            return
        node = self.node(moved.nid)
        folder = int(node.is_directory)
        if folder and self._is_within(new_parent, moved.nid):
            raise InvalidMove("a folder cannot be moved into itself")
        with self._operation() as op:
            fewer = 0
            if replaced is not None and not replaced.is_whiteout:
                fewer = int(self.node(replaced.nid).is_directory)
                self._drop(op, replaced.nid, below)
            if replaced is not None:
                covers = replaced.covers
            op.clear_entry(parent, name, moved.covers)
            op.set_entry(new_parent, new_name, Entry(moved.nid, covers, moved.plain))
            op.move(moved.nid, new_parent, new_name)
            op.touch(parent, subfolders=-folder)
            op.touch(new_parent, subfolders=folder - fewer)

    def exchange(self, parent: Nid, name: bytes, new_parent: Nid, new_name: bytes) -> None:
        """Let two names that the layer has change places."""
        one, other = self._entry(parent, name), self._entry(new_parent, new_name)
        for moved, to in ((one, new_parent), (other, parent)):
            if self.node(moved.nid).is_directory and self._is_within(to, moved.nid):
                raise InvalidMove("a folder cannot be moved into itself")
        with self._operation() as op:
            op.set_entry(parent, name, Entry(other.nid, one.covers, other.plain))
            op.set_entry(new_parent, new_name, Entry(one.nid, other.covers, one.plain))
            for moved, to, called, left in (
                (one, new_parent, new_name, parent),
                (other, parent, name, new_parent),
            ):
                op.move(moved.nid, to, called)
                folder = int(self.node(moved.nid).is_directory)
                op.touch(left, subfolders=-folder)
                op.touch(to, subfolders=folder)

    # --- attributes

    def set_node(self, nid: Nid, node: Node, pieces: Pieces | None = None) -> None:
        """Let `node` be what is known about it; and which chunks its file of bytes has."""
        if nid in self._gone:
            self._gone[nid] = node
            return
        with self._operation() as op:
            op.set_node(nid, node)
            if pieces is not None:
                packed = pieces.pack() if node.limit is not None else None
                op.edits.append(Edit(PIECES, node_key(node.data), packed))

    def set_pieces(self, nid: Nid, data: Nid, pieces: Pieces) -> None:
        """Note which chunks a file of bytes has; they must be in it already."""
        if nid not in self._gone:
            with self._operation() as op:
                op.edits.append(Edit(PIECES, node_key(data), pieces.pack()))

    def set_xattr(self, nid: Nid, name: bytes, value: bytes | None) -> None:
        """Set an extended attribute, or remove it."""
        if nid in self._gone:
            return
        with self._operation() as op:
            op.edits.append(Edit(XATTRS, node_key(nid) + name, value))
            op.set_node(nid, op.node(nid)._replace(ctime_ns=op.now))
        self._any_xattrs = True

    # --- bytes

    def new_file(self) -> Nid:
        """Return a number for a new file of bytes."""
        with self._operation() as op:
            return op.number()

    # --- inside

    def _entry(self, parent: Nid, name: bytes) -> Entry:
        found = self.entry(parent, name)
        if found is None or found.is_whiteout:
            raise NotFound(f"no {name!r}")
        return found

    def _alive(self, nid: Nid) -> None:
        if nid in self._gone:
            raise NotFound(f"node {nid} has been removed")
        self.node(nid)

    def _is_within(self, folder: Nid, top: Nid) -> bool:
        while folder not in (ROOT, top):
            folder = self.node(folder).parent
        return folder == top

    def _drop(self, op: Operation, nid: Nid, below: int) -> None:
        """Take one name from a node, and the node away with its last one."""
        node = op.node(nid)
        if node.is_directory:
            if not self.is_empty(nid, below):
                raise NotEmpty("the folder has entries")
            for name, _ in self.entries(nid):
                op.set_entry(nid, name, None)
        elif node.nlink > 1:
            op.set_node(nid, node._replace(nlink=node.nlink - 1, ctime_ns=op.now))
            return
        op.gone[nid] = node._replace(nlink=0, ctime_ns=op.now)
        op.edits.append(Edit(NODES, node_key(nid), None))
        if node.origin is not None:
            op.edits.append(Edit(ORIGINS, origin_key(node.origin), None))
        if node.limit is not None:
            op.edits.append(Edit(PIECES, node_key(node.data), None))
        if self._any_xattrs:
            op.edits += [Edit(XATTRS, key, None) for key, _ in self._xattr_rows(nid)]

    def _xattr_rows(self, nid: Nid) -> list[tuple[bytes, bytes]]:
        return self.index.scan(XATTRS, node_key(nid))

    @contextlib.contextmanager
    def _operation(self) -> Iterator[Operation]:
        """Collect the edits of one operation, and let them count together at the end."""
        op = Operation(self.node, self._next, committing=self.is_committing)
        yield op
        op.edits += [Edit(NODES, node_key(nid), pack_node(n)) for nid, n in op.nodes.items()]
        if op.next > self._reserved:
            self._reserved = op.next + _NUMBERS_AHEAD
            op.edits.append(Edit(META, NEXT, node_key(self._reserved)))
        if op.edits:
            self.index.apply(op.edits)
        self._next = op.next
        for nid, node in op.nodes.items():
            self._nodes.pop(nid, None)
            self._keep(nid, node)
        for nid, node in op.gone.items():
            self._nodes.pop(nid, None)
            if node.data and nid not in self._held:
                self.drop_file(node.data)
                node = node._replace(data=0)
            self._gone[nid] = node
            if node.origin is not None:
                self._removed.add(nid)
        while len(self._gone) > _GONE_KEPT + len(self._held):
            oldest = next(n for n in self._gone if n not in self._held)
            del self._gone[oldest]


def _is_plain(node: Node) -> bool:
    return node.is_file and node.origin is None
