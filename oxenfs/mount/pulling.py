"""What has changed in an overlay, and what is to become of it but for a commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

from oxenfs.errors import Conflict, NotFound, OxenfsError, RemoteUnavailable, UsageError
from oxenfs.model import ObjectHash, hash_text
from oxenfs.mount.rebasing import Rebaser
from oxenfs.names import printable, quoted
from oxenfs.overlay.changeset import ChangeSet, read_ignored
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.index import Snapshot
from oxenfs.overlay.item import Item
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import IGNORE_FILE
from oxenfs.overlay.opening import behind_branch
from oxenfs.overlay.standing import CONFLICTS
from oxenfs.overlay.status import find_items
from oxenfs.remote.base import Remote
from oxenfs.remote.revision import Revision
from oxenfs.views.plan import Facts

# More would fill a terminal; all of them are in the error itself.
_CONFLICTS_SHOWN = 50


class Puller(Rebaser):
    """Compares an overlay, drops changes, pulls and checks out."""

    async def status(self, remote: Remote | None = None, *, sizes: bool = True) -> list[Item]:
        """Return the changes; without `sizes` those of new files may be missing.

        `remote`: whom to ask for what is not kept; None for the mount's own.
        """
        async with self._turn:
            with await self._frozen() as snapshot:
                items: list[Item] = await self._in_thread(
                    partial(self._status, snapshot, remote, sizes=sizes)
                )
                return items

    def _status(
        self, snapshot: Snapshot, remote: Remote | None = None, *, sizes: bool = True
    ) -> tuple[list[Item], Contents]:
        layer = Layer(snapshot, self._upper.files)
        lower = self._lower(self._upper.base, remote)
        contents = Contents(layer, lower)
        return find_items(layer, lower, contents, sizes=sizes), contents

    async def _in_thread(self, work: Callable[..., tuple[Any, Contents]], *args: Any) -> Any:
        result, contents = await trio.to_thread.run_sync(work, *args)
        with contextlib.suppress(OxenfsError):
            self._upper.keep_hashes(contents.hashes)
        return result

    async def restore(self, paths: list[bytes]) -> dict[str, Any]:
        """Drop the changes of `paths` and of all below; `b""` is everything.

        Raises:
            NotFound: one of them has no changes.
        """
        if b"" in paths:
            return await self._discard()
        async with self._turn:
            await self._settle()
            with await self._frozen() as snapshot:
                items: list[Item] = await self._in_thread(self._status, snapshot)
            wanted = _within(paths)
            hit = [i for i in items if wanted(i.path) or (i.old is not None and wanted(i.old))]
            for path in paths:
                one = _within([path])
                if not any(one(i.path) or one(i.old or b"\0") for i in hit):
                    raise NotFound(f"{quoted(path)} has no changes")
            # A rename is undone at both its ends.
            more = [p for i in hit if i.op == "R" for p in (i.path, i.old or b"")]
            facts = self.mover.shown.facts
            revision = Revision(facts.commit, self._upper.branch)
            given_up = _within(paths + more)
            await self.move(revision, facts.revision, given_up=given_up)
            await trio.to_thread.run_sync(self._upper.collect)
            return {"restored": len(hit)}

    async def _discard(self) -> dict[str, Any]:
        """Drop all changes, whether or not the server answers."""
        async with self._turn:
            # Of a commit that was interrupted nobody knows then; a pull shows it, if it happened.
            with contextlib.suppress(RemoteUnavailable):
                await self._settle()
            count: int | None = None
            with contextlib.suppress(RemoteUnavailable), await self._frozen() as snapshot:
                remote = self._stack.supply.impatient()
                count = len(await self._in_thread(self._status, snapshot, remote))
            facts = self.mover.shown.facts
            await self.move(Revision(facts.commit, self._upper.branch), facts.revision, empty=True)
            await trio.to_thread.run_sync(self._upper.collect)
            return {"restored": count}

    async def pull(self, keep: str | None, paths: list[bytes]) -> dict[str, Any]:
        """Stand on where the branch is now, with the changes on top.

        Args:
            keep: `mine` or `theirs`: whose version of `paths` counts where both changed something.
            paths: empty for all.

        Raises:
            Conflict: both changed the same paths, and nothing says which are to count.
        """
        async with self._turn:
            await self._settle()
            before = self.mover.shown.facts
            branch = self._upper.branch
            if branch is None:
                raise UsageError("the overlay stands on a commit, which never moves")
            revision = await trio.to_thread.run_sync(self._stack.head, branch)
            known = self._upper.meta(CONFLICTS[1])
            if revision.commit.id != self._upper.base or known:
                decided = _within(paths or [b""]) if keep else _nothing
                how: dict[str, Any] = {"keep_mine": decided} if keep == "mine" else {}
                with await self._frozen() as snapshot:
                    found = await trio.to_thread.run_sync(
                        self._conflicts, snapshot, revision.commit.id
                    )
                left = [path for path in found if not decided(path)]
                if left:
                    raise conflict_of(self._upper.base, revision.commit.id, left)
                if keep == "theirs":
                    how = await self._theirs(found)
                await self.move(revision, before.revision, **how)
                await trio.to_thread.run_sync(self._upper.collect)
            return self._moved(before)

    def _moved(self, before: Facts) -> dict[str, Any]:
        after = self.mover.shown.facts
        return {
            "before": hash_text(before.commit.id),
            "commit": hash_text(after.commit.id),
            "branch": after.branch,
            "revision": after.revision,
        }

    async def _theirs(self, paths: list[bytes]) -> dict[str, Any]:
        """Return how to move if theirs is wanted of `paths`.

        A folder that was renamed here and has some of them where it was, or where it is, becomes
        the overlay's own: what others have there would be in two places otherwise, or hidden.
        """
        with await self._frozen() as snapshot:
            items: list[Item] = await self._in_thread(self._status, snapshot)
        wanted = _within(paths)
        undone, detached = [], []
        for item in items:
            if item.op != "R" or item.old is None:
                continue
            old, ends = _within([item.old]), _within([item.old, item.path])
            if wanted(item.path):
                # A rename is undone at both its ends, unless something else is there by now.
                if not any(i.op != "D" and old(i.path) for i in items):
                    undone.append(item.old)
            elif item.size is None and (wanted(item.old) or any(map(ends, paths))):
                detached.append(item.old)
        return {"given_up": _within(paths + undone), "detach": frozenset(detached)}

    def _conflicts(self, snapshot: Snapshot, commit: ObjectHash) -> list[bytes]:
        layer = Layer(snapshot, self._upper.files)
        old, new = self._lower(self._upper.base), self._lower(commit)
        contents = Contents(layer, old)
        ignored = read_ignored(layer, old, contents, IGNORE_FILE)
        known = self._upper.meta(CONFLICTS[1])
        found = set(known.split(b"\0")) if known else set()
        found.update(ChangeSet(layer, old, contents, ignored).conflicts(new, hiding=True))
        return sorted(found)

    async def checkout(self, rev: str | None, new_branch: str | None) -> dict[str, Any]:
        """Move to another revision; with changes only where they stay what they are.

        Raises:
            Conflict: it would hide changes.
        """
        items = [item for item in await self.status() if not item.ignored]
        before = self.mover.shown.facts
        stack = self._stack
        if rev is None:
            revision = Revision(before.commit, before.branch)
        else:
            revision = await trio.to_thread.run_sync(stack.resolve, rev)
        if items and revision.commit.id != before.commit.id:
            count = "1 change here is" if len(items) == 1 else f"{len(items)} changes here are"
            raise Conflict(
                f"{count} on top of {hash_text(before.commit.id)[:10]}; "
                "commit or discard them first"
            )
        typed = rev
        if new_branch is not None:
            make = partial(stack.make_branch, new_branch, revision.commit)
            await trio.to_thread.run_sync(make)
            revision, typed = Revision(revision.commit, new_branch), new_branch
        async with self._turn:
            await self.move(revision, typed)
        return self._moved(before)

    async def facts(self, remote: Remote) -> dict[str, Any]:
        """Return what the changes are on top of, and how far the branch is ahead of that.

        `remote` is asked for it; None if it does not tell.
        """
        facts = self.mover.shown.facts
        behind: int | None = 0
        if self._upper.branch is not None:
            work = partial(behind_branch, remote, self._upper.branch, facts.commit.id)
            behind = await trio.to_thread.run_sync(work)
        return {
            "repo": facts.repo,
            "branch": self._upper.branch,
            "commit": hash_text(facts.commit.id),
            "behind": behind,
        }


def _nothing(path: bytes) -> bool:
    return False


def _within(paths: list[bytes]) -> Callable[[bytes], bool]:
    """Return whether a path is one of `paths` or below one."""
    wanted = set(paths)

    def within(path: bytes) -> bool:
        if b"" in wanted or path in wanted:
            return True
        at = path.rfind(b"/")
        while at > 0:
            if path[:at] in wanted:
                return True
            at = path.rfind(b"/", 0, at)
        return False

    return within


def conflict_of(base: ObjectHash, head: ObjectHash | None, paths: Sequence[bytes]) -> Conflict:
    """Return what says that `paths` are changed here, on `base`, and by others, at `head`."""
    shown = ", ".join(map(printable, paths[:_CONFLICTS_SHOWN]))
    theirs = "" if head is None else f" (at {hash_text(head)[:10]})"
    more = len(paths) - _CONFLICTS_SHOWN
    return Conflict(
        f"changed here (on {hash_text(base)[:10]}) and by others{theirs}: {shown}"
        + (f" and {more} more" if more > 0 else "")
        + "; oxenfs pull --keep mine|theirs PATH decides",
        tuple(paths),
    )
