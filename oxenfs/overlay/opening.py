"""Which overlay a mount gets, and on which commit that stands."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from oxenfs import places
from oxenfs.errors import Conflict, NotFound, OxenfsError
from oxenfs.model import Commit, ObjectHash, hash_text
from oxenfs.overlay import home as homes
from oxenfs.overlay.home import Home
from oxenfs.overlay.plan import OverlayPlan
from oxenfs.overlay.publishing import head_of
from oxenfs.overlay.settling import records_of, settle, tidy
from oxenfs.overlay.upper import Upper
from oxenfs.remote.base import Remote
from oxenfs.remote.revision import Revision
from oxenfs.store.records import ListingRecords

_BEHIND_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Opened:
    """An overlay that this process has.

    Attributes:
        base: the commit it stands on.
        behind: how many commits its branch is ahead of that.
        lock: a descriptor.
    """

    home: Home
    upper: Upper
    base: Commit
    behind: int
    lock: int

    def arrive(self, dir: Path, cache_dir: Path) -> None:
        """Let it belong to the mount folder `dir` from now on; raise `OxenfsError`.

        What is kept of its repository is in `cache_dir`.
        """
        self.home.move(dir, None if cache_dir == places.cache_dir() else cache_dir)

    def close(self) -> None:
        """Close it, and let others have it; of one without changes nothing is left."""
        try:
            blank = not self.upper.has_changes()
            self.upper.close()
            if blank:
                with contextlib.suppress(OSError):
                    self.home.remove()
        finally:
            os.close(self.lock)


def open_overlay(
    plan: OverlayPlan, repo: str, remote: Remote, revision: Revision, cache_dir: Path
) -> Opened:
    """Open the overlay of a mount folder, or make one that stands on `revision`.

    One that has changes stays at its own base. One that is to be moved here still belongs to its
    old folder: `Opened.arrive` is the last step of a mount that succeeds.

    Raises:
        Conflict: another process has it, or it has changes on another branch or commit.
        NotFound: there is none to be moved here.
    """
    home = _home_for(plan, repo, remote.key)
    lock = home.lock()
    made = not (home.folder / "journal").exists()
    try:
        with records_of(remote, cache_dir) as records:
            return _opened(home, lock, remote, revision, records)
    except BaseException:
        if made:
            home.remove()
        os.close(lock)
        raise


def _home_for(plan: OverlayPlan, repo: str, key: str) -> Home:
    home = homes.find(plan.moved_from or plan.dir, key)
    if home is None and plan.moved_from is not None:
        raise NotFound(
            f"there are no changes of {repo} that were made at {plan.moved_from}; "
            "oxenfs mounts --pending lists what there is"
        )
    if home is None:
        return homes.make(repo, key, plan.dir)
    there = homes.find(plan.dir, key)
    if there not in (None, home):
        if not there.is_blank:
            raise Conflict(
                f"there is an overlay of {repo} for {plan.dir} already; discard it first"
            )
        with there.locked():
            there.remove()
    return home


def _opened(
    home: Home, lock: int, remote: Remote, revision: Revision, records: ListingRecords
) -> Opened:
    upper = Upper(home.folder, revision.commit.id, revision.branch)
    try:
        settle(upper, remote, records)
        if upper.has_changes() and (upper.base, upper.branch) != (
            revision.commit.id,
            revision.branch,
        ):
            tidy(upper, remote, records)
        if not upper.has_changes():
            upper.reset(revision.commit.id, revision.branch)
        elif not _belongs(upper, revision):
            raise Conflict(_elsewhere(home, upper, revision))
        base = remote.commit(upper.base)
        behind = 0
        if base.id != revision.commit.id:
            behind = count_behind(remote, revision.commit.id, base.id)
    except BaseException:
        upper.close()
        raise
    return Opened(home, upper, base, behind, lock)


def behind_branch(remote: Remote, branch: str, base: ObjectHash) -> int | None:
    """Return how many commits of `branch` are newer than `base`; None if nobody can tell now."""
    try:
        head = head_of(remote, branch)
    except OxenfsError:
        return None
    return 0 if head in (None, base) else count_behind(remote, head, base)


def count_behind(remote: Remote, head: ObjectHash, base: ObjectHash) -> int:
    """Return how many commits of the history of `head` are newer than `base`."""
    count = 0
    with contextlib.suppress(OxenfsError):
        for commit in remote.history(head):
            if commit.id == base or count >= _BEHIND_MAX:
                break
            count += 1
    return max(count, 1)


def _belongs(upper: Upper, revision: Revision) -> bool:
    if revision.branch is None:
        return upper.branch is None and revision.commit.id == upper.base
    return revision.branch == upper.branch


def _elsewhere(home: Home, upper: Upper, revision: Revision) -> str:
    here = upper.branch or hash_text(upper.base)
    wanted = revision.branch or hash_text(revision.commit.id)
    return (
        f"{home.dir} has changes on top of {here}, and not of {wanted}: mount {home.repo}@{here} "
        f"there and commit them, or drop them: oxenfs discard {home.dir}"
    )
