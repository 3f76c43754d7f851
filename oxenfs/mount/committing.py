"""Commits an overlay while programs go on writing to it, and moves the mount to the new commit."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import trio

from oxenfs.errors import Conflict, NotFound, OxenfsError, UsageError
from oxenfs.model import Author, ObjectHash, Published, hash_text
from oxenfs.mount.changes import find_changes
from oxenfs.mount.control import Send
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Usage
from oxenfs.mount.writing import WritingOperations
from oxenfs.overlay.changeset import ChangeSet, Left, read_ignored
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.index import Prepared, Snapshot
from oxenfs.overlay.item import Item
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import IGNORE_FILE
from oxenfs.overlay.lower import LowerTree
from oxenfs.overlay.nodes import Nid
from oxenfs.overlay.opening import count_behind
from oxenfs.overlay.publishing import (
    Intent,
    Progress,
    find_published,
    forget_staged,
    head_of,
    is_certain,
    publish,
    refuse_leftovers,
    unpack_intent,
)
from oxenfs.overlay.rebase import Outcome, Rebase
from oxenfs.overlay.status import Status
from oxenfs.overlay.upper import CONFLICTS, PUBLISHING
from oxenfs.remote.revision import Revision
from oxenfs.store.records import ListingRecords
from oxenfs.views.overlay import Overlay
from oxenfs.views.stack import Stack

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 0.2
_COLLECT_EVERY_S = 5.0


class Committed(NamedTuple):
    """What a commit did, and what it left."""

    published: Published
    left: Left


class Committer:
    """Compares, commits and moves one overlay. Used from its trio loop; one thing at a time."""

    def __init__(self, stack: Stack, overlay: Overlay, operations: WritingOperations) -> None:
        """Serve `overlay`, whose mount is `operations` and shows `stack`."""
        self._stack = stack
        self._overlay = overlay
        self._upper = overlay.upper
        self._operations = operations
        self.mover = Mover(stack, operations)
        self._turn = trio.Lock()
        self._records = ListingRecords(stack.remote.key, stack.cache_dir)

    # --- what has changed

    async def status(self, *, sizes: bool = True) -> list[Item]:
        """Return the changes; without `sizes` those of new files may be missing."""
        async with self._turn:
            with await self._frozen(freeze=False) as snapshot:
                items: list[Item] = await self._in_thread(
                    partial(self._status, snapshot, sizes=sizes)
                )
                return items

    def _status(self, snapshot: Snapshot, *, sizes: bool = True) -> tuple[list[Item], Contents]:
        layer = Layer(snapshot, self._upper.files)
        lower = self._lower(self._upper.base)
        contents = Contents(layer, lower)
        ignored = read_ignored(layer, lower, contents, IGNORE_FILE)
        return Status(layer, lower, contents, ignored, sizes=sizes).items(), contents

    async def _in_thread(self, work: Callable[..., tuple[Any, Contents]], *args: Any) -> Any:
        result, contents = await trio.to_thread.run_sync(work, *args)
        with contextlib.suppress(OxenfsError):
            self._upper.keep_hashes(contents.hashes)
        return result

    # --- committing

    async def commit(
        self, message: str, author: Author, branch: str | None, send: Send, *, skip: bool
    ) -> Committed:
        """Publish the changes, and move the mount to the commit.

        Cancelled, it stops at the next file; once the remote was asked to commit, it goes on to
        the end all the same.

        Raises:
            NothingToPublish: there is nothing, or only what is left out.
            Conflict: others changed the same paths.
            Unsupported: names what cannot be stored, unless `skip`.
        """
        target = branch or self._upper.branch
        if target is None:
            raise UsageError("the overlay stands on a commit, not on a branch; name one with -b")
        if branch is not None and branch != self._upper.branch:
            head = await trio.to_thread.run_sync(head_of, self._stack.remote, branch)
            if head is not None:
                raise Conflict(f"there is a branch {branch!r} already; choose another name")
        async with self._turn:
            await self._settle()
            self._refuse_conflicts(target)
            progress = Progress()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_progress, progress, send)
                with trio.CancelScope(shield=True):
                    try:
                        done = await self._commit(message, author, target, progress, skip=skip)
                    except OxenfsError as exc:
                        failure: OxenfsError | None = exc
                    else:
                        failure = None
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
            return done

    async def _commit(
        self, message: str, author: Author, target: str, progress: Progress, *, skip: bool
    ) -> Committed:
        remote = self._stack.remote
        with await self._frozen(freeze=True) as snapshot:
            try:
                layer = Layer(snapshot, self._upper.files)
                survey = partial(self._survey, layer, skip=skip)
                changes, contents = await trio.to_thread.run_sync(survey)
                progress.total = changes.total
                head = await trio.to_thread.run_sync(head_of, remote, target)
                name = f"overlay-{secrets.token_hex(12)}"
                base = self._upper.base
                intent = Intent(target, head, base, message, author.name, author.email, name)
                self._upper.set_meta(PUBLISHING, intent.pack())
                await trio.to_thread.run_sync(self._upper.sync)
                try:
                    published = await trio.to_thread.run_sync(
                        publish, remote, intent, changes.set, progress
                    )
                except BaseException as exc:
                    if is_certain(exc):
                        self._upper.set_meta(PUBLISHING, None)
                    raise
                with contextlib.suppress(OxenfsError):
                    self._upper.keep_hashes(contents.hashes)
                done = partial(forget_staged, remote, intent)
                try:
                    await self._arrive(published.commit, target, layer.path)
                except OxenfsError as exc:
                    raise OxenfsError(
                        f"committed as {hash_text(published.commit)}, but the mount could not move "
                        f"to it ({exc}); the next commit, or mount, finishes that"
                    ) from exc
                await trio.to_thread.run_sync(done)
            finally:
                self._upper.thaw()
        await trio.to_thread.run_sync(self._upper.collect)
        return Committed(published, changes.set.left)

    def _survey(self, layer: Layer, *, skip: bool) -> tuple[_Survey, Contents]:
        lower = self._lower(self._upper.base)
        contents = Contents(layer, lower)
        ignored = read_ignored(layer, lower, contents, IGNORE_FILE)
        changes = ChangeSet(layer, lower, contents, ignored)
        total = changes.survey()
        refuse_leftovers(changes.left, total, skip=skip)
        return _Survey(changes, total), contents

    async def _settle(self) -> None:
        """Finish a commit that a crash, or a lost answer, has left open."""
        packed = self._upper.meta(PUBLISHING)
        if packed is None:
            return
        intent = unpack_intent(packed)
        found = await trio.to_thread.run_sync(find_published, self._stack.remote, intent)
        if found is None:
            self._upper.set_meta(PUBLISHING, None)
            return
        log.info("commit %s happened after all", hash_text(found))
        await self._arrive(found, intent.branch, lambda nid: None)

    def _refuse_conflicts(self, target: str) -> None:
        packed = self._upper.meta(CONFLICTS[1])
        if packed and target == self._upper.branch:
            paths = tuple(packed.split(b"\0"))
            named = ", ".join(path.decode("utf-8", "backslashreplace") for path in paths[:5])
            raise Conflict(
                f"changed here and by others: {named}; oxenfs pull --keep mine|theirs PATH decides",
                paths,
            )

    async def _tell_progress(self, progress: Progress, send: Send) -> None:
        try:
            while True:
                await trio.sleep(_TOLD_EVERY_S)
                await send(
                    {
                        "stage": progress.stage,
                        "total": progress.total,
                        "files": progress.files,
                        "bytes": progress.bytes,
                    }
                )
        finally:
            # Cancelled from outside: at the next file it stops. At the end it does not matter.
            progress.stop.set()

    # --- dropping, pulling, checking out

    async def restore(self, paths: list[bytes]) -> dict[str, Any]:
        """Drop the changes of `paths` and of all below; `b""` is everything.

        Raises:
            NotFound: one of them has no changes.
        """
        async with self._turn:
            await self._settle()
            with await self._frozen(freeze=False) as snapshot:
                items: list[Item] = await self._in_thread(self._status, snapshot)
            wanted = _within(paths)
            hit = [i for i in items if wanted(i.path) or (i.old is not None and wanted(i.old))]
            for path in paths:
                one = _within([path])
                if path and not any(one(i.path) or one(i.old or b"\0") for i in hit):
                    raise NotFound(f"{os.fsdecode(path)!r} has no changes")
            # A rename is undone at both its ends.
            more = [p for i in hit if i.op == "R" for p in (i.path, i.old or b"")]
            facts = self.mover.shown.facts
            revision = Revision(facts.commit, self._upper.branch)
            given_up = _within(paths + more)
            await self.move(revision, facts.revision, given_up=given_up)
            await trio.to_thread.run_sync(self._upper.collect)
            return {"restored": len(hit)}

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
                how = {"keep_mine": decided} if keep == "mine" else {}
                with await self._frozen(freeze=False) as snapshot:
                    found = await trio.to_thread.run_sync(
                        self._conflicts, snapshot, revision.commit.id
                    )
                left = [path for path in found if not decided(path)]
                if left:
                    shown = ", ".join(os.fsdecode(path) for path in left[:5])
                    mine, theirs = hash_text(self._upper.base), hash_text(revision.commit.id)
                    raise Conflict(
                        f"changed here (on {mine[:10]}) and by others (at {theirs[:10]}): {shown}"
                        + (f" and {len(left) - 5} more" if len(left) > 5 else "")
                        + "; oxenfs pull --keep mine|theirs PATH decides",
                        tuple(left),
                    )
                if keep == "theirs":
                    how["given_up"] = _within([path for path in found if decided(path)])
                await self.move(revision, before.revision, **how)
                await trio.to_thread.run_sync(self._upper.collect)
            after = self.mover.shown.facts
            return {
                "before": hash_text(before.commit.id),
                "commit": hash_text(after.commit.id),
                "branch": after.branch,
                "revision": after.revision,
            }

    def _conflicts(self, snapshot: Snapshot, commit: ObjectHash) -> list[bytes]:
        layer = Layer(snapshot, self._upper.files)
        old, new = self._lower(self._upper.base), self._lower(commit)
        contents = Contents(layer, old)
        ignored = read_ignored(layer, old, contents, IGNORE_FILE)
        known = self._upper.meta(CONFLICTS[1])
        found = set(known.split(b"\0")) if known else set()
        found.update(ChangeSet(layer, old, contents, ignored).conflicts(new))
        return sorted(found)

    async def checkout(self, rev: str | None, new_branch: str | None) -> dict[str, Any]:
        """Move to another revision; with changes only where they stay what they are.

        Raises:
            Conflict: it would hide changes.
        """
        items = await self.status()
        before = self.mover.shown.facts
        stack = self._stack
        if rev is None:
            revision = Revision(before.commit, before.branch)
        else:
            revision = await trio.to_thread.run_sync(stack.resolve, rev)
        if items and revision.commit.id != before.commit.id:
            raise Conflict(
                f"{len(items)} changes here are on top of {hash_text(before.commit.id)[:10]}; "
                "commit or discard them first"
            )
        typed = rev
        if new_branch is not None:
            make = partial(stack.make_branch, new_branch, revision.commit)
            await trio.to_thread.run_sync(make)
            revision, typed = Revision(revision.commit, new_branch), new_branch
        async with self._turn:
            await self.move(revision, typed)
        after = self.mover.shown.facts
        return {
            "before": hash_text(before.commit.id),
            "commit": hash_text(after.commit.id),
            "branch": after.branch,
            "revision": after.revision,
        }

    async def facts(self) -> dict[str, Any]:
        """Return what the changes are on top of, and how far the branch is ahead of that."""
        facts = self.mover.shown.facts
        behind = 0
        if self._upper.branch is not None:
            work = partial(self._behind, self._upper.branch, facts.commit.id)
            behind = await trio.to_thread.run_sync(work)
        return {
            "repo": facts.repo,
            "branch": self._upper.branch,
            "commit": hash_text(facts.commit.id),
            "behind": behind,
        }

    def _behind(self, branch: str, base: ObjectHash) -> int:
        try:
            head = head_of(self._stack.remote, branch)
        except OxenfsError:
            return 0
        if head is None or head == base:
            return 0
        return count_behind(self._stack.remote, head, base)

    async def collect_garbage(self) -> None:
        """Remove bytes that nothing refers to, every now and then, for ever."""
        while True:
            await trio.sleep(_COLLECT_EVERY_S)
            try:
                await trio.to_thread.run_sync(self._upper.collect)
            except OxenfsError as exc:
                log.warning("%s", exc)

    # --- moving

    async def _arrive(
        self,
        commit: ObjectHash,
        branch: str,
        path_then: Callable[[Nid], bytes | None],
    ) -> None:
        """Stand on `commit`, which was made of this overlay; its parent is others' work."""
        made = await trio.to_thread.run_sync(self._stack.remote.commit, commit)
        revision, others = Revision(made, branch), made.parents[0] if made.parents else None
        facts = self.mover.shown.facts
        typed = facts.revision if branch == facts.branch else branch
        await self.move(revision, typed, others=others, path_then=path_then)

    async def move(self, revision: Revision, typed: str | None, **how: Any) -> None:
        """Put the overlay on another commit; see `Rebase` for `how`.

        Raises:
            OxenfsError: the new tree could not be had, or there is no space; nothing has changed.
        """
        view = await trio.to_thread.run_sync(self._stack.at, revision, typed)
        await self._stack.learn(self.mover.shown.facts.commit, view)
        operations = self._operations
        async with operations.gate.closed():
            prepared, outcome = await self._rebased(revision, how)
            try:
                changes = await find_changes(operations.inodes, view.root)
            except BaseException:
                prepared.drop()
                raise
            names = [(operations.nodes.inode(nid), name) for nid, name in outcome.names]
            # No await from here to the notices: from one moment to the next all is the new tree's.
            self._upper.adopt(prepared, outcome.dropped, outcome.garbage)
            operations.inodes.move(view.root, changes.directories, changes.hidden)
            self._overlay.move(view.root)
            pages = operations.nodes.move(outcome.dropped, outcome.returned | outcome.revived)
            operations.usage = Usage(view.facts.size_bytes, view.facts.files)
            self.mover.shown.change(view.facts)
        await self.mover.tell(changes.names + names, changes.touched)
        await trio.to_thread.run_sync(self.mover.kernel.forget_pages, pages)

    async def _rebased(self, revision: Revision, how: dict[str, Any]) -> tuple[Prepared, Outcome]:
        while True:
            self._upper.index.flush()
            held, own = self._upper.held(), self._operations.nodes.lower_numbers()
            work = partial(self._rebase, revision, how, held, own)
            prepared, outcome = await trio.to_thread.run_sync(work)
            if not outcome.incomplete:
                return prepared, outcome
            prepared.drop()
            for nid in outcome.incomplete:
                file = await self._overlay.open(nid)
                try:
                    await file.complete()
                finally:
                    file.close()

    def _rebase(
        self,
        revision: Revision,
        how: dict[str, Any],
        held: frozenset[Nid],
        own: frozenset[Nid],
    ) -> tuple[Prepared, Outcome]:
        with self._upper.index.snapshot() as snapshot:
            layer = Layer(snapshot, self._upper.files)
            old, new = self._lower(self._upper.base), self._lower(revision.commit.id)
            others = how.pop("others", None)
            rebase = Rebase(
                layer,
                old,
                new,
                Contents(layer, old),
                others=None if others is None else self._lower(others),
                held=held,
                numbered=own.__contains__,
                **how,
            )
            if others is not None:
                how["others"] = others
            prepared = self._upper.prepare(rebase.records(revision.branch))
            return prepared, rebase.outcome

    # --- inside

    async def _frozen(self, *, freeze: bool) -> contextlib.AbstractContextManager[Snapshot]:
        """Return the state of one moment; with `freeze` bytes stay as they are until `thaw`."""
        async with self._operations.gate.closed():
            self._upper.index.flush()
            if freeze:
                self._upper.freeze()
            return self._upper.index.open_snapshot()

    def _lower(self, commit: ObjectHash) -> LowerTree:
        return LowerTree(self._stack.remote, self._records, commit)


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


class _Survey(NamedTuple):
    set: ChangeSet
    total: int
