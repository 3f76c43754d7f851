"""Looking after the disk cache: check every byte, clean up, empty. For commands; these walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import blake3

from oxenfs.store import cache_rows as rows
from oxenfs.store.cache import Cache
from oxenfs.store.cache_rows import CHUNKS, DERIVED, SMALL
from oxenfs.store.eviction import give_back, recover

_ROWS_AT_ONCE = 4096
_BLAKE3_BYTES = 32

Progress = Callable[[int, int], None]
"""Called with the objects and bytes done so far."""


class Checked(NamedTuple):
    """What a check found.

    Attributes:
        objects, size_bytes: looked at.
        damaged: dropped, because their bytes were not the ones that were written.
    """

    objects: int
    size_bytes: int
    damaged: int


def verify(cache: Cache, progress: Progress = lambda objects, size: None) -> Checked:
    """Read everything, compare every hash, drop what is damaged. Others may use the cache."""
    objects = size = 0
    before = cache.healed
    for table in (SMALL, CHUNKS, DERIVED):
        last = b""
        while True:
            with cache.env.read() as txn:
                group = []
                for key, value in txn.after(table, last):
                    if key != last:
                        group.append((key, rows.unpack_row(value)))
                    if len(group) >= _ROWS_AT_ONCE:
                        break
            if not group:
                break
            last = group[-1][0]
            for key, row in group:
                data = memoryview(bytearray(row.extent.length))
                if (
                    cache.load(table, key, row, data, wait=True)
                    and table == CHUNKS
                    and blake3.blake3(data).digest() != row.digest[:_BLAKE3_BYTES]
                ):
                    cache.discard(table, key, row, "its BLAKE3 is wrong")
                objects += 1
                size += row.extent.length
                progress(objects, size)
    give_back(cache.env, cache.segments)
    return Checked(objects, size, cache.healed - before)


def collect(cache: Cache) -> int:
    """Clean up after killed processes, delete files nobody knows, keep the limit.

    Returns:
        the bytes that came free, as far as they were counted.
    """
    before = cache.room.totals().used_bytes
    recover(cache.env, cache.segments)
    give_back(cache.env, cache.segments)
    with cache.env.read() as txn:
        first_free = rows.number(txn, rows.NEXT_SEGMENT)
        known = {*rows.segments(txn), *rows.writers(txn)}
    for number in cache.segments.numbers():
        if number in known or number >= first_free:
            continue
        fd = cache.segments.take_over(number)
        if fd is not None:
            # Nobody is about to write to it, and a number is never given twice.
            with cache.segments.closing(fd):
                cache.segments.remove(number)
    cache.room.shrink()
    return max(0, before - cache.room.totals().used_bytes)


def clear(cache: Cache, *, pinned: bool = False) -> int:
    """Drop everything, but what is pinned unless `pinned` says so; return the number of objects."""
    dropped = 0
    for table in (SMALL, CHUNKS, DERIVED):
        last = b""
        while True:
            group = []
            with cache.env.write() as txn:
                for key, value in txn.after(table, last):
                    group.append((key, rows.unpack_row(value)))
                    if len(group) >= _ROWS_AT_ONCE:
                        break
                for key, row in group:
                    if pinned or not rows.is_pinned(txn, table, key):
                        dropped += rows.drop(txn, table, key, row.extent)
            give_back(cache.env, cache.segments)
            if len(group) < _ROWS_AT_ONCE:
                break
            last = group[-1][0]
    if pinned:
        with cache.env.write() as txn:
            for key in list(txn.keys("pins")):
                rows.unpin(txn, key)
    return dropped
