"""Where a mount's trees and bytes come from: the remote, what is kept of it, and who counts."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress

from oxenfs.address import Address, Hosted
from oxenfs.errors import OxenfsError
from oxenfs.frames.disk import DiskKept
from oxenfs.frames.service import Frames
from oxenfs.remote.base import BlobFiles, Elsewhere, Remote
from oxenfs.remote.impatient import SILENCE_S, Impatient
from oxenfs.remote.open import open_remote
from oxenfs.store.cache import Cache
from oxenfs.store.cache_open import open_cache
from oxenfs.store.counters import Counters
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.records import ListingRecords
from oxenfs.store.remembered import Offline, Remembering
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.views.plan import Plan

log = logging.getLogger(__name__)


class Supply:
    """Everything below the views of one mount.

    Attributes:
        remote: the repository. Its calls block.
        metadata: its trees.
        cache: of blobs and derived objects; None if there is no place for one.
        fetched: its blobs if they come from a server; None for a local repository, whose blobs
            are on this disk already.
        blobs: its blobs, wherever they are.
        frames: of its videos; they work while `frames.running()`.
        source: the server, for numbers of requests; None if none is asked.
    """

    def __init__(self, plan: Plan) -> None:
        """Open what `plan` names. Blocks.

        Raises:
            OxenfsError: no such repository, or no access to it.
        """
        with ExitStack() as opened:
            # Before the listings are opened: it sees to it that they can be.
            self.cache = _cache(plan, opened)
            self.remote = _remote(plan, opened)
            self.metadata = Metadata(self.remote, plan.cache_dir)
            opened.callback(self.metadata.close)
            self.counters = Counters()
            self.source = self.remote.source if isinstance(self.remote, Elsewhere) else None
            self.fetched: RemoteBlobs | None = None
            self.blobs: DirectBlobs | RemoteBlobs
            if isinstance(self.remote, BlobFiles):
                self.blobs = DirectBlobs(self.remote)
            else:
                self.blobs = self.fetched = RemoteBlobs(
                    self.source,
                    _host(plan.address),
                    self.cache,
                    breaker=getattr(self.remote, "breaker", None),
                    counters=self.counters,
                    timeout_s=plan.timeout_s,
                    verify_full=plan.verify_full,
                )
            opened.callback(self.blobs.close)
            kept = None if self.cache is None else DiskKept(self.cache)
            self.frames = Frames(self.remote.key, kept, counters=self.counters)
            self._plan = plan
            self._quick: Remote | None = None
            self._opened = opened.pop_all()

    def impatient(self) -> Remote:
        """Return the repository for one command that answers from what is known.

        It asks a server that is silent for a moment no more, and raises `RemoteUnavailable`.
        """
        if not isinstance(self.remote, Remembering):
            return self.remote
        if self._quick is None:
            plan = self._plan
            quick = open_remote(plan.address, insecure=plan.insecure, timeout_s=SILENCE_S)
            self._opened.callback(quick.close)
            self._quick = quick
        return self.remote.asking(Impatient(self._quick))

    def make_room(self) -> None:
        """Keep the cache's limit after many listings came, which count for it. Blocks."""
        if self.cache is not None:
            with suppress(OxenfsError):
                self.cache.room.shrink()

    def close(self) -> None:
        """Let go of everything."""
        self._opened.close()


def _remote(plan: Plan, opened: ExitStack) -> Remote:
    if plan.address.path is not None:
        remote = open_remote(plan.address)
        opened.callback(remote.close)
        return remote
    key = f"http:{plan.address.repo}"
    records = ListingRecords(key, plan.cache_dir)
    opened.callback(records.close)
    if plan.offline:
        return Offline(key, plan.address.repo, records)
    remote = open_remote(plan.address, insecure=plan.insecure, timeout_s=plan.timeout_s)
    opened.callback(remote.close)
    return Remembering(remote, records)


def _host(address: Address) -> str:
    hosted = address.repository
    return f"{hosted.scheme}://{hosted.host}" if isinstance(hosted, Hosted) else str(hosted)


def _cache(plan: Plan, opened: ExitStack) -> Cache | None:
    try:
        cache = open_cache(plan.cache_dir, plan.cache_bytes)
    except OxenfsError as exc:
        log.warning("nothing is cached on disk: %s", exc)
        return None
    opened.callback(cache.close)
    return cache
