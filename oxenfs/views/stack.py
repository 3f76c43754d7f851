"""Builds the root directory of a mount; the one place that knows in which order views wrap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from oxenfs.address import Address
from oxenfs.errors import NotFound
from oxenfs.frames.service import Frames
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.remote.base import BlobFiles, Remote, TreePlace
from oxenfs.remote.open import open_remote
from oxenfs.remote.revision import resolve
from oxenfs.remote.wire import DirectoryPayload, decode_node
from oxenfs.store.direct import DirectBlobs
from oxenfs.store.fetched import FetchedBlobs
from oxenfs.store.metadata import Metadata
from oxenfs.store.warm import Task, warm_in_child
from oxenfs.views.base import Directory
from oxenfs.views.commit import Tree, date_text, root_of
from oxenfs.views.facts import FOLDER, WithFolder, info_folder
from oxenfs.views.frames import FOLDER as FRAMES
from oxenfs.views.frames import FramesFolder

_WARM_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees are kept between mounts.
        frames: a SPEC whose frames are the root, instead of the tree itself.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    frames: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mount shows, for people and for `.oxenfs/info.json`.

    Attributes:
        repo: the repository as a user would type it, without revision.
        revision: as typed; None for the default branch.
        branch: None when a commit is mounted.
        size_bytes, files: of the whole commit.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Stack:
    """A root directory, and what it takes to let go of it.

    Attributes:
        frames: the folder of all SPECs, which works while `background` runs.
        background: runs while the mount is served, and may end before; cancelled at its end.
    """

    root: Directory
    facts: Facts
    close: Callable[[], None]
    background: Callable[[], Awaitable[None]]
    frames: FramesFolder


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
    commit = revision.commit
    root_id = remote.root(commit.id)
    size, files = _usage(remote, commit, root_id)
    facts = Facts(
        plan.address.repo, plan.address.rev, revision.branch, commit, size_bytes=size, files=files
    )
    metadata = Metadata(remote, plan.cache_dir)
    blobs = DirectBlobs(remote) if isinstance(remote, BlobFiles) else FetchedBlobs(remote)
    tree = root_of(Tree(commit, metadata, blobs), root_id)
    frames = Frames(remote.key)
    folder = FramesFolder(frames, tree)
    root: Directory
    if plan.frames is not None:
        root = folder.mirror(plan.frames)
    else:
        root = WithFolder(tree, FRAMES, folder)
    root = WithFolder(root, FOLDER, info_folder(_info(facts), commit.timestamp_ns))

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
        async with frames.running():
            if plan.frames is not None:
                frames.prepare()
            # What a program does first after mounting goes before.
            await trio.sleep(_WARM_AFTER_S)
            if not metadata.is_complete(commit.id):
                await warm_in_child(task)
            await trio.sleep_forever()

    return Stack(root, facts, close, background, folder)


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
