"""Which objects have to go, and how their bytes go back to the file system.

A hand goes round the places of the cache. It takes the next objects as a sample and drops those of
them that were not used for the longest time: of a small cache that is exact, of a large one as good
as a sorted list of everything, which would cost a walk or a write per read.
"""

from __future__ import annotations

import contextlib

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, Transaction
from oxenfs.store import cache_rows as rows
from oxenfs.store.ages import Ages
from oxenfs.store.cache_rows import Lying
from oxenfs.store.segments import Extent, Segments, rounded

SAMPLE = 2048
# Of a sample that is not everything: the older half; the next sample has old ones, too.
_PART = 2


def choose(env: Environment, ages: Ages, wanted_bytes: int) -> int:
    """Drop objects of at least `wanted_bytes`, if that many are not pinned; return how many."""
    freed = dropped = passed = 0
    while freed < wanted_bytes:
        with env.write() as txn:
            total = txn.count("where")
            sample = _next_sample(txn)
            passed += len(sample)
            loose = [each for each in sample if not rows.is_pinned(txn, each.table, each.key)]
            loose.sort(key=lambda each: ages.idle(each.key), reverse=True)
            if len(sample) < total:
                loose = loose[: max(1, len(loose) // _PART)]
            for each in loose:
                if freed >= wanted_bytes:
                    break
                if rows.drop(txn, each.table, each.key, each.extent):
                    freed += rounded(each.extent.length)
                    dropped += 1
        if not sample or passed >= total + SAMPLE:
            # Once round, and not enough: the rest is pinned.
            break
    return dropped


def give_back(env: Environment, segments: Segments) -> None:
    """Give the bytes of dropped objects back, and whole segments that became empty.

    Everything here may be done twice, by two processes or after a kill in the middle: offsets are
    never used again.
    """
    with env.read() as txn:
        waiting = rows.doomed(txn)
    if not waiting:
        return
    for extent in _joined(waiting):
        segments.punch(extent)
    empty = []
    with env.write() as txn:
        for extent in waiting:
            rows.redeem(txn, extent)
        for segment in {extent.segment for extent in waiting}:
            if rows.is_empty(txn, segment):
                # Before it is forgotten: a file that nobody knows would be space that is lost.
                segments.remove(segment)
                rows.remove_segment(txn, segment)
                empty.append(segment)


def recover(env: Environment, segments: Segments) -> None:
    """Clean up after writers that were killed: what they were granted, and did not note.

    Looks at their segments alone, not at the whole cache.
    """
    with env.read() as txn:
        left = rows.writers(txn)
    for segment, end in left.items():
        try:
            fd = segments.take_over(segment)
        except OSError:
            _forget_segment(env, segment)
            continue
        if fd is None:
            continue
        with segments.closing(fd):
            _settle(env, segments, segment, end)
    give_back(env, segments)


def _settle(env: Environment, segments: Segments, segment: int, end: int) -> None:
    """Close a dead writer's segment: only what the index knows stays charged, and on the disk."""
    with env.write() as txn:
        if segment not in rows.writers(txn):
            return
        at = 0
        for each in rows.lying_in(txn, segment):
            if each.extent.offset > at:
                segments.punch(Extent(segment, at, each.extent.offset - at))
            at = each.extent.offset + rounded(each.extent.length)
        segments.truncate(segment, at)
        rows.retire(txn, segment, 0)
        rows.recharge(txn, segment)
        if rows.is_empty(txn, segment):
            segments.remove(segment)
            rows.remove_segment(txn, segment)


def _forget_segment(env: Environment, segment: int) -> None:
    """Drop all objects of a segment whose file is gone."""
    with contextlib.suppress(OxenfsError), env.write() as txn:
        for each in list(rows.lying_in(txn, segment)):
            rows.drop(txn, each.table, each.key, each.extent)
        rows.retire(txn, segment, 0)
        for extent in rows.doomed(txn):
            if extent.segment == segment:
                rows.redeem(txn, extent)
        rows.remove_segment(txn, segment)


def _next_sample(txn: Transaction) -> list[Lying]:
    hand = rows.number(txn, rows.HAND)
    sample: list[Lying] = []
    for segment, offset in ((hand >> 40, hand & ((1 << 40) - 1)), (0, 0)):
        for each in rows.lying_from(txn, segment, offset):
            if len(sample) >= SAMPLE or (sample and each.extent == sample[0].extent):
                rows.set_number(txn, rows.HAND, each.extent.segment << 40 | each.extent.offset)
                return sample
            sample.append(each)
    # Twice the same where the table is shorter than a sample: once is enough.
    rows.set_number(txn, rows.HAND, 0)
    return list({each.extent: each for each in sample}.values())


def _joined(extents: list[Extent]) -> list[Extent]:
    """Return `extents`, sorted, with neighbours made one."""
    found: list[Extent] = []
    for extent in extents:
        last = found[-1] if found else None
        if (
            last is not None
            and last.segment == extent.segment
            and last.offset + rounded(last.length) == extent.offset
        ):
            found[-1] = last._replace(length=rounded(last.length) + extent.length)
        else:
            found.append(extent)
    return found
