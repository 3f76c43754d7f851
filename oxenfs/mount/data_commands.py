"""Commands of the control socket about where a mount's bytes come from: numbers, warming, pins."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from oxenfs.errors import OxenfsError, UsageError
from oxenfs.mount.control import Command, Send
from oxenfs.store.counters import memory_bytes
from oxenfs.views.base import Directory
from oxenfs.views.prefetch import Prefetch, blobs_below, node_at
from oxenfs.views.supply import Supply

_TELL_EVERY_S = 0.25
_PINS_AT_ONCE = 1000


def data_commands(supply: Supply, root: Callable[[], Directory]) -> Mapping[str, Command]:
    """Return the commands of a mount that gets its bytes from `supply` and shows `root` now."""

    async def stats(request: Mapping[str, Any], send: Send) -> Any:
        return await trio.to_thread.run_sync(_stats, supply)

    async def prefetch(request: Mapping[str, Any], send: Send) -> Any:
        return await _prefetch(supply, *await there(request), send)

    async def pin(request: Mapping[str, Any], send: Send) -> Any:
        shown, paths = await there(request)
        pinned = await _pin(supply, shown, paths)
        return {**await _prefetch(supply, shown, paths, send), "pinned": pinned}

    async def unpin(request: Mapping[str, Any], send: Send) -> Any:
        return {"unpinned": await _unpin(supply, *await there(request))}

    async def there(request: Mapping[str, Any]) -> tuple[Directory, list[bytes]]:
        # Before anything begins, and also where nothing has to: a wrong path is said in any mount.
        shown, paths = root(), _paths(request)
        for path in paths:
            await node_at(shown, path)
        return shown, paths

    for_ever = float("inf")
    return {
        "stats": Command(stats),
        "prefetch": Command(prefetch, for_ever),
        "pin": Command(pin, for_ever),
        "unpin": Command(unpin, for_ever),
    }


def _stats(supply: Supply) -> dict[str, Any]:
    counters, cache, source, blobs = supply.counters, supply.cache, supply.source, supply.fetched
    found: dict[str, Any] = counters.to_json()
    if source is not None:
        found["requests"] += source.requests
        found["bytes_remote"] += source.received_bytes
    found["bytes_disk"] = 0 if cache is None else cache.bytes_read
    found["healed"] = 0 if cache is None else cache.healed
    found["evicted"] = 0 if cache is None else cache.room.evicted
    transfers = None if blobs is None else blobs.transfers
    found["in_flight"] = 0 if transfers is None else transfers.in_flight
    found["rss_bytes"] = memory_bytes(os.getpid())
    return found


async def _prefetch(
    supply: Supply, root: Directory, paths: Sequence[bytes], send: Send
) -> dict[str, int]:
    """Bring everything below `paths` here, telling how far it is a few times a second."""
    if supply.fetched is None:
        return {"files": 0, "bytes": 0, "fetched_bytes": 0}
    if supply.cache is None:
        raise OxenfsError("nothing can be prefetched: there is no cache on disk; see the log")
    work = Prefetch(root, supply.fetched, paths)
    told_s = 0.0

    async def tell() -> None:
        nonlocal told_s
        while True:
            await trio.sleep(max(0.0, told_s + _TELL_EVERY_S - time.monotonic()))
            await send({"progress": work.progress()})
            told_s = time.monotonic()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        try:
            await work.run()
        except Exception as exc:  # raised below, where no nursery wraps it in a group
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    await send({"progress": work.progress()})
    return work.progress()


async def _pin(supply: Supply, root: Directory, paths: Sequence[bytes]) -> int:
    if supply.fetched is None or supply.cache is None:
        return 0
    made: list[bytes] = []
    group: list[tuple[bytes, int]] = []
    cache, blobs = supply.cache, supply.fetched

    def put() -> None:
        # Not in a thread: a few milliseconds, and nothing else may come in between.
        cache.room.pin(group)
        made.extend(key for key, _ in group)
        group.clear()

    try:
        async for file in blobs_below(root, paths):
            group.append((blobs.here.small_key(file.blob), file.place.size))
            if len(group) >= _PINS_AT_ONCE:
                put()
        put()
    except BaseException:
        cache.room.unpin(made)
        raise
    return len(made)


async def _unpin(supply: Supply, root: Directory, paths: Sequence[bytes]) -> int:
    if supply.fetched is None or supply.cache is None:
        return 0
    count = 0
    group: list[bytes] = []
    async for file in blobs_below(root, paths):
        group.append(supply.fetched.here.small_key(file.blob))
        if len(group) >= _PINS_AT_ONCE:
            count += supply.cache.room.unpin(group)
            group.clear()
    return count + supply.cache.room.unpin(group)


def _paths(request: Mapping[str, Any]) -> list[bytes]:
    paths = request.get("paths")
    if not isinstance(paths, list) or not paths:
        raise UsageError("no paths")
    return [os.fsencode(str(path)) for path in paths]
