"""Brings files of a commit into the cache before anybody reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import trio

from oxenfs.errors import NotADirectory, NotFound, OxenfsError
from oxenfs.names import quoted
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.siblings import SMALL_BYTES_MAX
from oxenfs.views.base import Directory, Node, lookup
from oxenfs.views.commit import CommitFile

_GROUP_FILES = 200
_GROUP_BYTES = 2 << 20
_WORKERS = 8
_LARGE_AT_ONCE = 2
_ROWS_BETWEEN_CHECKPOINTS = 1000
_TURNS = 3


class Prefetch:
    """One run over some paths. Cancelling it leaves what arrived."""

    def __init__(self, root: Directory, blobs: RemoteBlobs, paths: Sequence[bytes]) -> None:
        """Fetch what is below `paths`, which start at `root`."""
        self._root = root
        self._blobs = blobs
        self._paths = paths
        self._files = self._files_found = 0
        self._bytes = self._bytes_found = 0
        self._fetched_bytes = 0
        self._is_all_found = False

    def progress(self) -> dict[str, int]:
        """Return how far it is.

        `files` and `bytes` are here, of `files_found` and `bytes_found` seen so far; `complete` is
        1 if those are all. `fetched_bytes` of them came from the server.
        """
        return {
            "files": self._files,
            "bytes": self._bytes,
            "fetched_bytes": self._fetched_bytes,
            "files_found": self._files_found,
            "bytes_found": self._bytes_found,
            "complete": int(self._is_all_found),
        }

    async def run(self) -> None:
        """Do it.

        Raises:
            NotFound: there is nothing at one of the paths.
            OxenfsError: the cache cannot hold it.
            RemoteUnavailable: the server does not answer; what came before stays.
        """
        failures: list[Exception] = []
        sending, receiving = trio.open_memory_channel[list[CommitFile]](4 * _WORKERS)
        large = trio.CapacityLimiter(_LARGE_AT_ONCE)

        async def work(groups: trio.MemoryReceiveChannel[list[CommitFile]]) -> None:
            try:
                async for group in groups:
                    await self._fetch(group, large)
            except Exception as exc:
                # Raised below, where no nursery wraps it in a group.
                failures.append(exc)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            async with receiving:
                for _ in range(_WORKERS):
                    nursery.start_soon(work, receiving.clone())
            async with sending:
                try:
                    await self._find(sending)
                except OxenfsError as exc:
                    failures.append(exc)
                    nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _find(self, groups: trio.MemorySendChannel[list[CommitFile]]) -> None:
        group: list[CommitFile] = []
        size = 0
        async for file in blobs_below(self._root, self._paths):
            self._files_found += 1
            self._bytes_found += file.place.size
            if file.place.size > SMALL_BYTES_MAX:
                await groups.send([file])
                continue
            group.append(file)
            size += file.place.size
            if len(group) >= _GROUP_FILES or size >= _GROUP_BYTES:
                await groups.send(group)
                group, size = [], 0
        self._is_all_found = True
        if group:
            await groups.send(group)

    async def _fetch(self, group: list[CommitFile], large: trio.CapacityLimiter) -> None:
        if group[0].place.size > SMALL_BYTES_MAX:
            async with large:
                await self._fetch_large(group[0])
            return
        left = group
        for turn in range(_TURNS + 1):
            left = [file for file in left if not self._has(file)]
            if not left:
                break
            if turn == _TURNS:
                raise self._does_not_fit()
            self._fetched_bytes += await self._blobs.fetch_small(
                [(file.blob, file.place.size) for file in left]
            )
        self._files += len(group)
        self._bytes += sum(file.place.size for file in group)

    async def _fetch_large(self, file: CommitFile) -> None:
        blob, place = file.blob, file.place
        before = self._bytes

        def came(size: int) -> None:
            self._bytes += size

        for _ in range(_TURNS):
            self._bytes = before if self._blobs_missing(file) else self._bytes
            self._fetched_bytes += await self._blobs.fetch_all(blob, place, came)
            if not self._blobs_missing(file):
                self._files += 1
                return
        raise self._does_not_fit()

    def _blobs_missing(self, file: CommitFile) -> bool:
        return self._blobs.here.is_missing(file.blob, file.place.size)

    def _has(self, file: CommitFile) -> bool:
        return self._blobs.here.has_small(file.blob, file.place.size)

    @staticmethod
    def _does_not_fit() -> OxenfsError:
        return OxenfsError(
            "the cache does not hold all of it: mount with a larger --cache-size, make room on the "
            "disk, or unpin others"
        )


async def blobs_below(root: Directory, paths: Sequence[bytes]) -> AsyncIterator[CommitFile]:
    """Yield the files at and below `paths`, depth first in the order of listings.

    Raises:
        NotFound: there is nothing at one of the paths.
    """
    for path in paths:
        waiting: list[Node] = [await node_at(root, path)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, CommitFile):
                yield node
                continue
            if not isinstance(node, Directory):
                continue
            listing = await node.listing()
            folders: list[Node] = []
            for row in range(listing.count):
                if row % _ROWS_BETWEEN_CHECKPOINTS == 0:
                    await trio.lowlevel.checkpoint()
                child = node.child(listing, row)
                if isinstance(child, CommitFile):
                    yield child
                elif isinstance(child, Directory):
                    folders.append(child)
            waiting.extend(reversed(folders))


async def node_at(root: Directory, path: bytes) -> Node:
    """Return what is at `path` below `root`.

    Raises:
        NotFound: there is nothing.
        NotADirectory: the path goes on below a file.
    """
    node: Node = root
    for name in filter(None, path.split(b"/")):
        if not isinstance(node, Directory):
            raise NotADirectory(f"{quoted(path)} goes on below a file")
        try:
            node = await lookup(node, name)
        except NotFound as exc:
            raise NotFound(f"no {quoted(path)} in this commit") from exc
    return node
