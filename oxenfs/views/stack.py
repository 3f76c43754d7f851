"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from oxenfs.address import Address
from oxenfs.errors import NotFound
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.overlay.opening import Opened, OverlayPlan, open_overlay
from oxenfs.remote.base import BlobFiles, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.remote.revision import Revision, resolve
from oxenfs.remote.wire import DirectoryPayload, decode_node
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.fetched import FetchedBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder
from oxenfs.views.overlay import Overlaid, Overlay

_WARM_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees are kept between mounts.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
        overlay: where changes go; None for a read-only mount.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    overlay: OverlayPlan | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mount shows, for people and for `.oxenfs/info.json`.

    Attributes:
        repo: the repository as a user would type it, without revision.
        revision: as typed; None for the default branch.
        branch: None when a commit is mounted.
        size_bytes, files: of the whole commit.
        overlay: where changes are; None without.
        behind: how many commits an overlay's base is behind its branch.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int
    overlay: Path | None = None
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """A root directory, and what it takes to let go of it.

    Attributes:
        overlay: what takes changes; None in a read-only mount. Whoever serves it closes it.
        background: runs while the mount is served, and may end before; cancelled at its end.
    """

    root: Directory
    facts: Facts
    close: Callable[[], None]
    background: Callable[[], Awaitable[None]]
    overlay: Overlaid | None = None


def build(plan: Plan) -> Stack:
    """Open the repository, resolve the revision and return its root. Blocks.

    Raises:
        NotFound: no such repository or revision; the text names near ones.
    """
    remote = open_remote(plan.address, insecure=plan.insecure, timeout_s=plan.timeout_s)
    try:
        return _build(plan, remote)
    except BaseException:
        remote.close()
        raise


def _build(plan: Plan, remote: Remote) -> Stack:
    revision = resolve(remote, plan.address.rev)
    if plan.overlay is None:
        return _built(plan, remote, revision, None)
    opened = open_overlay(plan.overlay, plan.address.repo, remote, revision)
    try:
        return _built(plan, remote, revision, opened)
    except BaseException:
        opened.close()
        raise


def _built(plan: Plan, remote: Remote, revision: Revision, opened: Opened | None) -> Stack:
    commit = revision.commit if opened is None else opened.base
    root_id = remote.root(commit.id)
    size, files = _usage(remote, commit, root_id)
    facts = Facts(
        plan.address.repo, plan.address.rev, revision.branch, commit, size_bytes=size, files=files
    )
    if opened is not None:
        facts = replace(facts, overlay=opened.home.folder, behind=opened.behind)
    metadata = Metadata(remote, plan.cache_dir)
    blobs = DirectBlobs(remote) if isinstance(remote, BlobFiles) else FetchedBlobs(remote)

    def root_at(commit: Commit) -> Directory:
        tree = root_of(Tree(commit, metadata, blobs), remote.root(commit.id))
        told = _info(replace(facts, commit=commit))
        return WithFolder(tree, FOLDER, info_folder(told, commit.timestamp_ns))

    root = root_at(commit)
    task = Task(
        plan.address.repo,
        hash_text(commit.id),
        str(plan.cache_dir),
        insecure=plan.insecure,
        timeout_s=plan.timeout_s,
    )

    def close() -> None:
        blobs.close()
        metadata.close()
        remote.close()

    async def background() -> None:
        # What a program does first after mounting goes before.
        await trio.sleep(_WARM_AFTER_S)
        if not metadata.is_complete(commit.id):
            await warm_in_child(task)

    overlaid = None
    if opened is not None:
        overlay = Overlay(opened.upper, root, os.getuid(), os.getgid())
        overlaid = Overlaid(overlay, opened, remote, plan.cache_dir, root_at)
    return Stack(root, facts, close, background, overlaid)


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
