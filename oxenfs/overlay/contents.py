"""The bytes of changed files: whether they are the commit's, and as contents to publish."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import BinaryIO, cast

import xxhash

from oxenfs.errors import OxenfsError, SourceChanged
from oxenfs.model import CHUNK_BYTES, Content, ObjectHash
from oxenfs.names import quoted
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.lower import Found, LowerTree
from oxenfs.overlay.nodes import Nid, Node

_PIECE_BYTES = 1 << 20


class Contents:
    """Compares and opens files of a layer. For one thread.

    Attributes:
        hashes: what was found out: by file of bytes, its hash and its stamp; to be kept.
    """

    def __init__(self, layer: Layer, lower: LowerTree) -> None:
        """Read files of `layer`, and of the commit it stands on."""
        self._layer = layer
        self._lower = lower
        self.hashes: dict[Nid, tuple[ObjectHash, bytes]] = {}

    def is_same(self, node: Node, found: Found) -> bool:
        """Return whether a file has the bytes of `found`, a file of any commit."""
        if node.data:
            facts = self._layer.facts(node)
            return facts.size == found.size and self.hash(node) == found.hash
        if node.origin is None:
            return found.size == 0
        origin = self._lower.find(node.origin)
        return origin is not None and origin.same_as == found.same_as

    def hash(self, node: Node) -> ObjectHash:
        """Return the hash of a file with bytes of its own; read once as long as they stay."""
        facts = self._layer.facts(node)
        kept = self._layer.hash(node.data)
        if kept is not None and kept[16:] == facts.stamp:
            return ObjectHash(int.from_bytes(kept[:16], "big"))
        known = self.hashes.get(node.data)
        if known is not None and known[1] == facts.stamp:
            return known[0]
        hash = self._untouched(node, facts.size)
        if hash is None:
            state = xxhash.xxh3_128()
            with self._open(node, facts.size) as file:
                while piece := file.read(_PIECE_BYTES):
                    state.update(piece)
            hash = ObjectHash(state.intdigest())
        if self._layer.facts(node).stamp == facts.stamp:
            self.hashes[node.data] = hash, facts.stamp
        return hash

    def content(self, node: Node) -> Content:
        """Return the bytes of a file on their way into a repository."""
        facts = self._layer.facts(node)
        if not node.data:
            if node.origin is None:
                return Content(0, facts.mtime_ns, lambda: io.BytesIO(b""))
            found = self._lower.find(node.origin)
            if found is None or found.directory:
                raise OxenfsError(f"{quoted(node.origin)} is not in the commit any more")
            return replace(self._lower.content(node.origin, found), mtime_ns=facts.mtime_ns)
        kept = self._layer.hash(node.data)
        known = None
        if kept is not None and kept[16:] == facts.stamp:
            known = ObjectHash(int.from_bytes(kept[:16], "big"))
        opened = lambda: self._open(node, facts.size)  # noqa: E731
        return Content(facts.size, facts.mtime_ns, opened, known)

    def _untouched(self, node: Node, size: int) -> ObjectHash | None:
        """Return the hash of the origin if the copied chunks are its own; reads no others."""
        if node.limit is None or node.origin is None:
            return None
        found = self._lower.find(node.origin)
        if found is None or found.directory or (found.size, node.limit) != (size, size):
            return None
        pieces = self._layer.pieces(node.data)
        fd = os.open(self._layer.files.path(node.data), os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start in range(0, size, CHUNK_BYTES):
                if pieces.has(start // CHUNK_BYTES):
                    length = min(CHUNK_BYTES, size - start)
                    below = self._lower.read(node.origin, found, start, length)
                    if os.pread(fd, length, start) != below:
                        return None
        finally:
            os.close(fd)
        return found.hash

    def _open(self, node: Node, size: int) -> BinaryIO:
        path = self._layer.files.path(node.data)
        below = None
        if node.limit is not None and node.origin is not None:
            below = self._lower.find(node.origin)
            if below is None or below.directory:
                raise OxenfsError(f"{quoted(node.origin)} is not in the commit any more")
        raw = _Bytes(path, size, node, below, self._layer, self._lower)
        return cast("BinaryIO", io.BufferedReader(raw, _PIECE_BYTES))


class _Bytes(io.RawIOBase):
    """A file of bytes as a stream, with the commit's bytes in its holes."""

    def __init__(
        self,
        path: str,
        size: int,
        node: Node,
        below: Found | None,
        layer: Layer,
        lower: LowerTree,
    ) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = size
        self._node = node
        self._below = below
        self._lower = lower
        self._pieces = layer.pieces(node.data) if below is not None else None
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read on."""
        at = self._at
        size = min(len(buffer), self._size - at)
        if size <= 0:
            return 0
        if self._pieces is not None and self._below is not None:
            chunk = at // CHUNK_BYTES
            size = min(size, (chunk + 1) * CHUNK_BYTES - at)
            limit = self._node.limit or 0
            if not self._pieces.has(chunk) and at < limit:
                size = min(size, limit - at)
                assert self._node.origin is not None
                buffer[:size] = self._lower.read(self._node.origin, self._below, at, size)
                self._at += size
                return size
        got = os.preadv(self._fd, [memoryview(buffer)[:size]], at)
        if not got:
            raise SourceChanged("a file became shorter while it was committed; commit again")
        self._at += got
        return got

    def close(self) -> None:
        """Close the file; raise `SourceChanged` if it has another size by now."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            size = os.fstat(fd).st_size
            os.close(fd)
            super().close()
            if size != self._size:
                raise SourceChanged("a file changed its size while it was committed; commit again")
        super().close()
