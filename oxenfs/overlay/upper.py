"""The upper layer: names, attributes and numbers of what differs from the commit.

Knows nothing of the commit but paths: whoever calls says what is there. Every operation is one
record of the journal. Nothing here waits but for the disk's page cache; for one thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

from oxenfs.errors import Exists, InvalidMove, NotEmpty, NotFound, OxenfsError
from oxenfs.model import ObjectHash
from oxenfs.overlay.files import ByteFiles
from oxenfs.overlay.index import (
    ENTRIES,
    HASHES,
    META,
    NODES,
    ORIGINS,
    PIECES,
    XATTRS,
    Prepared,
    open_index,
)
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.nodes import (
    DIRECTORY_MODE,
    ROOT,
    Entry,
    Nid,
    Node,
    node_key,
    origin_key,
    pack_node,
    unpack_entry,
    unpack_node,
)
from oxenfs.overlay.operation import Operation
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.standing import BASE, BRANCH, NEXT, PUBLISHING, first_edits, permissions

_NUMBERS_AHEAD = 1024
_NODES_KEPT = 4096
_GONE_KEPT = 4096
_COMPACT_BYTES = 4 << 20
_COMPACT_PER_VALUE = 400


class Upper:
    """An open upper layer.

    Attributes:
        files: the bytes of its files.
        index: its state.
        base: the commit it stands on.
        branch: where a commit of it goes; None if it was made on a commit.
    """

    def __init__(self, folder: Path, base: ObjectHash, branch: str | None) -> None:
        """Open the layer in `folder`, or make one that stands on `base` of `branch`.

        A layer that is there keeps its own base and branch.
        """
        self._folder = folder
        self.index = open_index(folder)
        self._nodes: OrderedDict[Nid, Node] = OrderedDict()
        self._gone: OrderedDict[Nid, Node] = OrderedDict()
        self._removed: set[Nid] = set()
        self._held: dict[Nid, int] = {}
        self._garbage: list[Nid] = []
        self._frozen_below: Nid = 0
        try:
            self.files = ByteFiles(folder / "data")
            packed = self.index.get(META, BASE)
            if packed is None:
                self._next = self._reserved = ROOT + 1
                self.index.apply(
                    [*first_edits(base, branch), Edit(META, NEXT, node_key(self._reserved))]
                )
            self._load()
            self._sweep()
        except BaseException:
            self.index.close()
            raise

    def _load(self) -> None:
        self.base = ObjectHash(int.from_bytes(self.index.get(META, BASE) or b"", "big"))
        branch = self.index.get(META, BRANCH)
        self.branch = branch.decode() if branch else None
        self._next = self._reserved = int.from_bytes(self.index.get(META, NEXT) or b"", "big")
        self._any_xattrs = bool(self.index.scan(XATTRS))
        self._nodes.clear()

    def _sweep(self) -> None:
        """Remove the bytes of files that a crash has left without a node."""
        mark = self._folder / "open"
        if mark.exists():
            self.index.flush()
            with self.index.snapshot() as snapshot:
                self.files.sweep(
                    lambda: (unpack_node(value).data for _, value in snapshot.scan(NODES))
                )
        mark.touch(mode=0o600)

    # --- reading

    def node(self, nid: Nid) -> Node:
        """Return a node; one that has no name any more as long as it is held, or a little longer.

        Raises:
            NotFound: there is none.
        """
        node = self._nodes.get(nid)
        if node is not None:
            return node
        packed = self.index.get(NODES, node_key(nid))
        if packed is None:
            gone = self._gone.get(nid)
            if gone is None:
                raise NotFound(f"no node {nid}")
            return gone
        node = unpack_node(packed)
        self._keep(nid, node)
        return node

    def is_gone(self, nid: Nid) -> bool:
        """Return whether a node has no name any more."""
        return nid in self._gone

    def entry(self, parent: Nid, name: bytes) -> Entry | None:
        """Return what the layer says about a name; None: ask the commit."""
        packed = self.index.get(ENTRIES, node_key(parent) + name)
        return None if packed is None else unpack_entry(packed)

    def entries(self, parent: Nid) -> list[tuple[bytes, Entry]]:
        """Return all that the layer says about the names in a folder, sorted by name."""
        return [
            (key[8:], unpack_entry(value))
            for key, value in self.index.scan(ENTRIES, node_key(parent))
        ]

    def of_origin(self, path: bytes) -> Nid | None:
        """Return the node of what the commit has at `path`; None if it is untouched."""
        packed = self.index.get(ORIGINS, origin_key(path))
        return None if packed is None else int.from_bytes(packed, "big")

    def pieces(self, data: Nid) -> Pieces:
        """Return which chunks of a file of bytes are there."""
        return Pieces(self.index.get(PIECES, node_key(data)) or b"")

    def path(self, folder: Nid) -> bytes:
        """Return where a folder is, from the root."""
        names: list[bytes] = []
        while folder != ROOT:
            node = self.node(folder)
            names.append(node.name)
            folder = node.parent
        return b"/".join(reversed(names))

    def is_empty(self, folder: Nid, below: int) -> bool:
        """Return whether a folder shows nothing, if its origin has `below` entries."""
        covered = 0
        for _, entry in self.entries(folder):
            if not entry.is_whiteout:
                return False
            covered += entry.covers
        return covered >= below

    def has_changes(self) -> bool:
        """Return whether there is any difference to the commit, if only a time."""
        if self.index.scan(ENTRIES) or self.index.get(META, PUBLISHING) is not None:
            return True
        root = self.node(ROOT)
        return permissions(root.mode) != permissions(DIRECTORY_MODE) or bool(self.xattrs(ROOT))

    def reset(self, base: ObjectHash, branch: str | None) -> None:
        """Drop all changes, and stand on `base` of `branch`."""
        nodes = [
            (int.from_bytes(key, "big"), unpack_node(value))
            for key, value in self.index.scan(NODES)
        ]
        garbage = [node.data for nid, node in nodes if node.data and nid not in self._held]
        dropped = [nid for nid, _ in nodes if nid != ROOT]
        self.adopt(self.prepare([first_edits(base, branch)]), dropped, garbage)

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

    def xattrs(self, nid: Nid) -> dict[bytes, bytes]:
        """Return the extended attributes that were set, by name."""
        if not self._any_xattrs:
            return {}
        return {key[8:]: value for key, value in self.index.scan(XATTRS, node_key(nid))}

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

    def hold(self, nid: Nid) -> None:
        """Keep a node and its bytes, with or without a name, until `release`."""
        self._held[nid] = self._held.get(nid, 0) + 1

    def release(self, nid: Nid) -> None:
        """Undo one `hold`."""
        left = self._held[nid] - 1
        if left:
            self._held[nid] = left
            return
        del self._held[nid]
        gone = self._gone.get(nid)
        if gone is not None and gone.data:
            self.drop_file(gone.data)
            self._gone[nid] = gone._replace(data=0)

    def take_removed(self) -> set[Nid]:
        """Return the nodes from the commit that lost their last name since the last call.

        Those that somebody holds are kept for a later one.
        """
        found = {nid for nid in self._removed if nid not in self._held}
        self._removed -= found
        return found

    def held(self) -> frozenset[Nid]:
        """Return the nodes that somebody holds."""
        return frozenset(self._held)

    def drop_file(self, data: Nid) -> None:
        """Let a file of bytes go, with the next `collect`."""
        self._garbage.append(data)

    def is_frozen(self, data: Nid) -> bool:
        """Return whether a commit reads that file of bytes, so that it must not change."""
        return 0 < data < self._frozen_below

    @property
    def is_committing(self) -> bool:
        """Whether files of bytes are frozen."""
        return self._frozen_below > 0

    def freeze(self) -> None:
        """Let all files of bytes stay as they are until `thaw`: a commit reads them."""
        self._frozen_below = self._next

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._frozen_below = 0

    def collect(self) -> None:
        """Flush the journal, then remove the bytes that nothing refers to; for any thread.

        In this order: after a power cut the journal may still know of them.
        """
        found, self._garbage = self._garbage, []
        taken = [data for data in found if not self.is_frozen(data)]
        self._garbage += [data for data in found if self.is_frozen(data)]
        if not taken:
            return
        self.index.journal.sync()
        for data in taken:
            self.files.remove(data)

    def set_meta(self, key: bytes, value: bytes | None) -> None:
        """Note a fact about the whole layer."""
        self.index.apply([Edit(META, key, value)])

    def meta(self, key: bytes) -> bytes | None:
        """Return a fact about the whole layer."""
        return self.index.get(META, key)

    def keep_hashes(self, found: dict[Nid, tuple[ObjectHash, bytes]]) -> None:
        """Remember hashes of files of bytes, each with its stamp."""
        if found:
            self.index.apply(
                [
                    Edit(HASHES, node_key(data), hash.to_bytes(16, "big") + stamp)
                    for data, (hash, stamp) in found.items()
                ]
            )

    def prepare(self, records: Iterable[list[Edit]]) -> Prepared:
        """Write what is to be the whole layer, with numbers as they are; for any thread."""
        reserve = [Edit(META, NEXT, node_key(self._reserved))]
        return self.index.prepare(itertools.chain([reserve], records))

    def adopt(self, prepared: Prepared, dropped: Iterable[Nid], garbage: Iterable[Nid]) -> None:
        """Let what was prepared be the layer.

        Args:
            prepared: see `prepare`; nothing has changed since.
            dropped: nodes that are not in it; those who are held live on without a name.
            garbage: files of bytes that it does not need.
        """
        gone = {nid: self.node(nid) for nid in dropped if nid in self._held}
        self.index.adopt(prepared)
        self._load()
        self._gone.update((nid, node._replace(nlink=0)) for nid, node in gone.items())
        self._garbage += garbage

    def sync(self) -> None:
        """Wait until all names and attributes survive a power cut; for any thread."""
        self.index.journal.sync()

    def close(self) -> None:
        """Close in order: the next opening has nothing to repair."""
        try:
            self.thaw()
            with contextlib.suppress(OxenfsError):
                self._garbage += [n.data for n in self._gone.values() if n.data]
                self.collect()
                self.index.journal.sync()
                if self.index.journal.end > _COMPACT_BYTES + self.index.live() * _COMPACT_PER_VALUE:
                    self.index.compact()
                (self._folder / "open").unlink(missing_ok=True)
        finally:
            self.index.close()

    # --- inside

    def _keep(self, nid: Nid, node: Node) -> None:
        self._nodes[nid] = node
        if len(self._nodes) > _NODES_KEPT:
            self._nodes.popitem(last=False)

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
