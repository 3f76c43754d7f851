"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from oxenfs.address import Address, Hosted
from oxenfs.errors import NotFound, OxenfsError
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.base import BlobFiles, BlobSource, Elsewhere, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.remote.revision import resolve
from oxenfs.remote.wire import DirectoryPayload, decode_node
from oxenfs.store.cache import Cache
from oxenfs.store.cache_open import open_cache
from oxenfs.store.counters import Counters
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.records import ListingRecords
from oxenfs.store.remembered import Offline, Remembering, age_text
from oxenfs.store.remote_blobs import RemoteBlobs
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import CommitDirectory, Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder

log = logging.getLogger(__name__)

_WARM_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees are kept between mounts.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
        cache_bytes: the limit of the cache of blobs; None leaves it as it was, or 20 GiB.
        verify_full: serve no byte of a large blob before all of it was checked.
        offline: ask no server, show what is in the cache.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    cache_bytes: int | None = None
    verify_full: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mount shows, for people and for `.oxenfs/info.json`.

    Attributes:
        repo: the repository as a user would type it, without revision.
        revision: as typed; None for the default branch.
        branch: None when a commit is mounted.
        size_bytes, files: of the whole commit.
        note: a sentence for whoever mounts, None if there is nothing to say.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Where the bytes of a mount come from, for commands about them.

    Attributes:
        committed: the root of the commit, without what is put around it.
        blobs: None for a local repository: everything is on this disk.
        cache: of blobs and derived objects; None if there is no place for one.
        source: the server, for numbers of requests; None if none is asked.
    """

    committed: CommitDirectory
    blobs: RemoteBlobs | None
    cache: Cache | None
    counters: Counters
    source: BlobSource | None


@dataclass(frozen=True, slots=True)
class Stack:
    """A root directory, and what it takes to let go of it.

    Attributes:
        background: runs while the mount is served, and may end before; cancelled at its end.
        data: where its bytes come from.
    """

    root: Directory
    facts: Facts
    close: Callable[[], None]
    background: Callable[[], Awaitable[None]]
    data: Data


def build(plan: Plan) -> Stack:
    """Open the repository, resolve the revision and return its root. Blocks.

    Raises:
        NotFound: no such repository or revision; the text names near ones.
    """
    with ExitStack() as opened:
        stack = _build(plan, opened)
        closing = opened.pop_all()
    return replace(stack, close=closing.close)


def _build(plan: Plan, opened: ExitStack) -> Stack:
    remote = _remote(plan, opened)
    revision = resolve(remote, plan.address.rev)
    commit = revision.commit
    root_id = remote.root(commit.id)
    metadata = Metadata(remote, plan.cache_dir)
    opened.callback(metadata.close)
    size, files = metadata.known_usage(root_id) or _usage(remote, commit, root_id)
    metadata.remember_usage(root_id, size, files)
    facts = Facts(
        plan.address.repo,
        plan.address.rev,
        revision.branch,
        commit,
        size_bytes=size,
        files=files,
        note=_note(remote, revision.branch),
    )
    cache = _cache(plan, opened)
    counters = Counters()
    source = remote.source if isinstance(remote, Elsewhere) else None
    direct: DirectBlobs | None = None
    fetched: RemoteBlobs | None = None
    if isinstance(remote, BlobFiles):
        direct = DirectBlobs(remote)
    else:
        fetched = RemoteBlobs(
            source,
            _host(plan.address),
            cache,
            breaker=getattr(remote, "breaker", None),
            counters=counters,
            timeout_s=plan.timeout_s,
            verify_full=plan.verify_full,
        )
    blobs = direct or fetched
    assert blobs is not None
    opened.callback(blobs.close)
    committed = root_of(Tree(commit, metadata, blobs), root_id)
    root = WithFolder(committed, FOLDER, info_folder(_info(facts), commit.timestamp_ns))

    task = Task(
        plan.address.repo,
        hash_text(commit.id),
        str(plan.cache_dir),
        insecure=plan.insecure,
        timeout_s=plan.timeout_s,
    )

    async def background() -> None:
        # What a program does first after mounting goes before.
        await trio.sleep(_WARM_AFTER_S)
        if not plan.offline and not metadata.is_complete(commit.id):
            done = await warm_in_child(task)
            counters.requests += done.requests
            counters.bytes_remote += done.received_bytes

    data = Data(committed, fetched, cache, counters, source)
    return Stack(root, facts, lambda: None, background, data)


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


def _note(remote: Remote, branch: str | None) -> str | None:
    if not isinstance(remote, Offline):
        return None
    seen = None if branch is None else remote.seen(branch)
    if seen is None:
        return "offline: no server is asked"
    age = age_text(time.time() - seen.when_s)
    return f"offline: {seen.branch.name} is shown as it was seen {age} ago"


def _usage(remote: Remote, commit: Commit, root: ObjectHash) -> tuple[int, int]:
    node = remote.directory(root, TreePlace(commit.id, b"")).directory
    payload = decode_node(node).payload
    if not isinstance(payload, DirectoryPayload):
        raise NotFound(f"commit {hash_text(commit.id)} has no root directory")
    return payload.size, sum(payload.counts.values())


def _info(facts: Facts) -> dict[str, object]:
    commit = facts.commit
    return {
        "repo": facts.repo,
        "branch": facts.branch,
        "commit": hash_text(commit.id),
        "author": commit.author.name,
        "email": commit.author.email,
        "date": date_text(commit.timestamp_ns),
        "message": commit.message,
    }
