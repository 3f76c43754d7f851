"""The file of an environment before it is mapped: as long as it says, or not to be touched."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from oxenfs.errors import AccessDenied, IntegrityError

# One size for all: a map that another process has grown could not be read here without closing
# every transaction first. It is address space, not disk. ext4 refuses 16 TiB.
MAP_BYTES = 1 << 40
_META_BYTES = 16 + 8 + 16 + 2 * 48 + 16


def extend_to_last_page(data: Path) -> None:
    """Make an LMDB data file as long as its meta pages say, if it is shorter.

    `posix_fallocate` never shrinks a file nor touches what is there, so a process that writes to
    the environment at the same time is not disturbed. Only the last page takes up space: a damaged
    meta page may name one far away.

    Source: `MDB_meta` in LMDB's mdb.c (data format 1): magic, version, address, map size, two
    database records of 48 bytes (the first one begins with the page size), last page, transaction.
    """
    try:
        fd = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        wanted, page_bytes = _wanted_bytes(fd)
        if 0 < os.fstat(fd).st_size < wanted:
            os.posix_fallocate(fd, wanted - page_bytes, page_bytes)
    finally:
        os.close(fd)


def refuse_cut_off(data: Path) -> None:
    """Raise `IntegrityError` for a file that would have to be made longer, and cannot be."""
    fd = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size < _wanted_bytes(fd)[0]:
            raise IntegrityError(f"the index in {data.parent} is cut off, on a read-only disk")
    finally:
        os.close(fd)


def length(file: Path) -> int:
    """Return the length of a data file, 0 if there is none; raise `AccessDenied`."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise AccessDenied(f"no permission for the index in {file.parent} ({exc})") from exc


def _wanted_bytes(fd: int) -> tuple[int, int]:
    """Return how long a data file should be at least, and the length of its pages."""
    wanted = 0
    page_bytes = 4096
    for number in range(2):
        meta = os.pread(fd, _META_BYTES, number * page_bytes)
        if len(meta) < _META_BYTES or meta[16:20] != b"\xde\xc0\xef\xbe":
            continue
        (size,) = struct.unpack_from("<I", meta, 40)
        last_page, _ = struct.unpack_from("<QQ", meta, 136)
        if 512 <= size <= 65536 and last_page < MAP_BYTES // size:
            page_bytes = size
            wanted = max(wanted, (last_page + 1) * size)
    return wanted, page_bytes
