"""The state of an upper layer: opened, read, held on to, exchanged for another, closed."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from oxenfs.errors import NotFound, OxenfsError
from oxenfs.model import ObjectHash
from oxenfs.overlay.files import ByteFiles
from oxenfs.overlay.index import Prepared
from oxenfs.overlay.index_fill import ENTRIES, HASHES, META, NODES, ORIGINS, PIECES, XATTRS
from oxenfs.overlay.index_open import open_index
from oxenfs.overlay.journal import Edit
from oxenfs.overlay.nodes import (
    DIRECTORY_MODE,
    ROOT,
    Entry,
    Nid,
    Node,
    node_key,
    origin_key,
    unpack_entry,
    unpack_node,
)
from oxenfs.overlay.pieces import Pieces
from oxenfs.overlay.standing import BASE, BRANCH, NEXT, PUBLISHING, first_edits, permissions

_NODES_KEPT = 4096
_COMPACT_BYTES = 4 << 20
_COMPACT_PER_VALUE = 400


class UpperState:
    """What `Upper` is made of, but for what programs do to names and attributes.

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

    def xattrs(self, nid: Nid) -> dict[bytes, bytes]:
        """Return the extended attributes that were set, by name."""
        if not self._any_xattrs:
            return {}
        return {key[8:]: value for key, value in self.index.scan(XATTRS, node_key(nid))}

    # --- what is held, and what is frozen

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

    @property
    def frozen_below(self) -> Nid:
        """Numbers from here on were given since `freeze`."""
        return self._frozen_below

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

    # --- as a whole

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
