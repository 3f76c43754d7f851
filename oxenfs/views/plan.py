"""What a mount is to show, and what it shows: values that commands make and print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oxenfs.address import Address
from oxenfs.model import Commit
from oxenfs.overlay.plan import OverlayPlan


@dataclass(frozen=True, slots=True)
class Plan:
    """What a mount is to show.

    Attributes:
        cache_dir: where trees and blobs are kept between mounts.
        insecure, timeout_s: how to speak to a server, see `oxenfs.remote.open`.
        revisions: all branches and commits side by side; the address then has no revision.
        frames: a SPEC whose frames are the root, instead of the tree itself.
        cache_bytes: the limit of the cache of blobs; None leaves it as it was, or 20 GiB.
        verify_full: serve no byte of a large blob before all of it was checked.
        offline: ask no server, show what is in the cache.
        overlay: where changes go; None for a read-only mount.
    """

    address: Address
    cache_dir: Path
    insecure: bool = False
    timeout_s: float = 30.0
    revisions: bool = False
    frames: str | None = None
    cache_bytes: int | None = None
    verify_full: bool = False
    offline: bool = False
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
        note: a sentence for whoever mounts, None if there is nothing to say.
    """

    repo: str
    revision: str | None
    branch: str | None
    commit: Commit
    size_bytes: int
    files: int
    note: str | None = None
    overlay: Path | None = None
