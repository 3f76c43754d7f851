"""The blobs of a local repository: each stored once, under the xxh3-128 of its bytes.

Blobs up to 1 MiB lie in packs, larger ones in a file each. Blobs of more than one chunk also have
a digest (BLAKE3 and xxh3-128) per 256 KiB chunk, so that any range can be checked without the rest.

Table `blobs`: hash (16 bytes LE) to u32 pack (0 = a file of its own), u64 offset, u64 size.
Table `digests`: hash and u32 BE segment to the digests of up to 128 chunks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Self

from oxenfs.errors import IntegrityError, NotFound
from oxenfs.kv import Environment
from oxenfs.model import Digest, ObjectHash, hash_text
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.hashing import little
from oxenfs.remote.local.layout import Layout
from oxenfs.remote.local.packs import name_of
from oxenfs.remote.verify import DIGEST_BYTES

ROW = struct.Struct("<IQQ")
"""A value of the table `blobs`."""

SEGMENT_CHUNKS = 128
"""How many chunks have their digests in one value of the table `digests`."""


class Blobs:
    """Reads blobs' places and digests. Safe to use from several threads."""

    def __init__(self, layout: Layout, meta: Environment) -> None:
        """Use the index `meta` of the repository in `layout`."""
        self._layout = layout
        self._meta = meta
        self._pack_paths: dict[int, str] = {}

    def locate(self, blob: ObjectHash) -> BlobLocation:
        """Return where `blob` lies; raise `NotFound`."""
        row = self._meta.get("blobs", little(blob))
        if row is None:
            raise NotFound(f"blob {hash_text(blob)} is not in {self._layout.root}")
        return self._location(blob, row)

    def locate_many(self, blobs: Sequence[ObjectHash]) -> dict[ObjectHash, BlobLocation]:
        """Return where those of `blobs` lie that are here."""
        keys = {little(blob): blob for blob in blobs}
        with self._meta.read() as txn:
            rows = txn.get_many("blobs", list(keys))
        return {keys[key]: self._location(keys[key], row) for key, row in rows.items()}

    def _location(self, blob: ObjectHash, row: bytes) -> BlobLocation:
        pack, offset, size = ROW.unpack(row)
        if not pack:
            return BlobLocation(str(self._layout.blob(blob)), 0, size)
        path = self._pack_paths.get(pack)
        if path is None:
            path = self._pack_paths[pack] = str(self._layout.packs / name_of(pack))
        return BlobLocation(path, offset, size)

    def digests(self, blob: ObjectHash, first: int, count: int) -> list[Digest]:
        """Return the digests of `count` chunks from number `first` on."""
        found: list[Digest] = []
        key = little(blob)
        while count > 0:
            segment, at = divmod(first, SEGMENT_CHUNKS)
            row = self._meta.get("digests", key + segment.to_bytes(4, "big")) or b""
            take = min(count, SEGMENT_CHUNKS - at)
            for start in range(at * DIGEST_BYTES, (at + take) * DIGEST_BYTES, DIGEST_BYTES):
                digest = row[start : start + DIGEST_BYTES]
                if len(digest) != DIGEST_BYTES:
                    raise IntegrityError(f"blob {hash_text(blob)} has no digest of chunk {first}")
                found.append(Digest(digest))
            first += take
            count -= take
        return found


def read_at(location: BlobLocation, start: int, stop: int) -> bytes:
    """Return the bytes from `start` to `stop` of a blob as they lie on disk, unchecked."""
    with PackFiles() as files:
        return files.read(location, start, stop)


class PackFiles:
    """Reads blobs as they lie on disk, unchecked; the last file stays open for the next one."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._path = ""
        self._fd = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        if self._fd >= 0:
            os.close(self._fd)
        self._path, self._fd = "", -1

    def read(self, location: BlobLocation, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop` of a blob."""
        try:
            if location.path != self._path:
                self.__exit__()
                self._fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC)
                self._path = location.path
            data = os.pread(self._fd, stop - start, location.offset + start)
            # The kernel gives 2 GiB at the most.
            while 0 < len(data) < stop - start:
                at = start + len(data)
                more = os.pread(self._fd, stop - at, location.offset + at)
                if not more:
                    break
                data += more
            return data
        except OSError as exc:
            raise IntegrityError(f"{location.path} cannot be read: {exc.strerror}") from exc
