"""Puts an overlay on another commit while programs go on using it."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any

import trio

from oxenfs.errors import OxenfsError
from oxenfs.model import ObjectHash, hash_text
from oxenfs.mount.blocks import Inode
from oxenfs.mount.changes import Changes, find_changes
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Usage
from oxenfs.mount.writing import WritingOperations
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.emptying import Emptying
from oxenfs.overlay.index import Prepared, Snapshot
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.lower import LowerTree
from oxenfs.overlay.nodes import Nid
from oxenfs.overlay.outcome import Outcome
from oxenfs.overlay.placed import Placed
from oxenfs.overlay.publishing import find_published, unpack_intent
from oxenfs.overlay.rebase import Rebase
from oxenfs.overlay.standing import PUBLISHING
from oxenfs.remote.base import Remote
from oxenfs.remote.revision import Revision
from oxenfs.store.columns import Listing
from oxenfs.store.records import ListingRecords
from oxenfs.views.overlay import Overlay
from oxenfs.views.stack import Stack

log = logging.getLogger(__name__)

_COLLECT_EVERY_S = 5.0


class Rebaser:
    """Moves one overlay from commit to commit. Used from its trio loop; one thing at a time."""

    def __init__(self, stack: Stack, overlay: Overlay, operations: WritingOperations) -> None:
        """Serve `overlay`, whose mount is `operations` and shows `stack`."""
        self._stack = stack
        self._overlay = overlay
        self._upper = overlay.upper
        self._operations = operations
        self.mover = Mover(stack, operations)
        self._turn = trio.Lock()
        self._records = ListingRecords(stack.remote.key, stack.cache_dir)

    async def _arrive(
        self,
        commit: ObjectHash,
        branch: str,
        placed: Placed,
    ) -> None:
        """Stand on `commit`, which was made of this overlay; its parent is others' work."""
        made = await trio.to_thread.run_sync(self._stack.remote.commit, commit)
        revision, others = Revision(made, branch), made.parents[0] if made.parents else None
        facts = self.mover.shown.facts
        typed = facts.revision if branch == facts.branch else branch
        await self.move(revision, typed, others=others, placed=placed)

    async def move(self, revision: Revision, typed: str | None, **how: Any) -> None:
        """Put the overlay on another commit; see `Rebase` for `how`, or `empty=True`: `Emptying`.

        Raises:
            OxenfsError: the new tree could not be had, or there is no space; nothing has changed.
        """
        view = await trio.to_thread.run_sync(self._stack.at, revision, typed)
        shown = self.mover.shown.facts.commit
        if view.facts.commit.id != shown.id:
            await self._stack.learn(shown, view)
        operations = self._operations
        async with operations.gate.closed():
            prepared, outcome = await self._rebased(revision, how)
            try:
                turned = [(nid, await self._listing(origin)) for nid, origin in outcome.turned]
                await self._keep_open(outcome)
                changes = await find_changes(operations.inodes, view.root)
            except BaseException:
                prepared.drop()
                raise
            # No await from here to the notices: from one moment to the next all is the new tree's.
            names, touched = self._notices(changes, outcome, turned)
            self._upper.adopt(prepared, outcome.dropped, outcome.garbage)
            operations.inodes.move(view.root, changes.directories, changes.hidden)
            self._overlay.move(view.root)
            kept = outcome.returned | outcome.revived
            pages = operations.nodes.move(outcome.dropped, kept, dict(turned))
            operations.usage = Usage(view.facts.size_bytes, view.facts.files)
            self.mover.shown.change(view.facts)
        await self.mover.tell(names, touched)
        await trio.to_thread.run_sync(self.mover.kernel.forget_pages, pages)

    async def _keep_open(self, outcome: Outcome) -> None:
        """Let open files be what they are, whatever comes to be seen in their places."""
        for nid in outcome.dropped & self._upper.held():
            file = self._overlay.opened(nid)
            if file is not None:
                await file.keep_below()
        left = [origin for _, origin in outcome.turned]
        operations = self._operations
        operations.linked(await operations.nodes.renumber(outcome.revealed, left))

    def _notices(
        self, changes: Changes, outcome: Outcome, turned: list[tuple[Nid, Listing]]
    ) -> tuple[list[tuple[Inode, bytes]], list[Inode]]:
        """Return which names and attributes the kernel must ask for again."""
        nodes = self._operations.nodes
        above = nodes.above()
        names = [(nodes.inode(nid), name) for nid, name in outcome.names]
        names += changes.names
        # A folder of the overlay's own number shows what is in the lower one by that.
        names += [(above[inode], name) for inode, name in changes.names if inode in above]
        for nid, listing in turned:
            if nodes.is_looked_through(nid):
                inode = nodes.inode(nid)
                names += [(inode, name) for name in listing.names_between(0, listing.count)]
        touched = [above[inode] for inode in changes.touched if inode in above]
        touched += [nodes.inode(nid) for nid in outcome.touched]
        return names, changes.touched + touched

    async def _listing(self, origin: bytes) -> Listing:
        return await (await self._overlay.lower_directory(origin)).listing()

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
                if self._upper.node(nid).is_directory:
                    await self._operations.nodes.promote_all(nid)
                    continue
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
            work: Emptying | Rebase
            if how.get("empty"):
                numbered = own.__contains__
                work = Emptying(layer, self._upper.base, held=held, numbered=numbered)
            else:
                work = self._rebase_of(layer, revision, how, held, own)
            prepared = self._upper.prepare(work.records(revision.branch))
            return prepared, work.outcome

    def _rebase_of(
        self,
        layer: Layer,
        revision: Revision,
        how: dict[str, Any],
        held: frozenset[Nid],
        own: frozenset[Nid],
    ) -> Rebase:
        old, new = self._lower(self._upper.base), self._lower(revision.commit.id)
        others = how.get("others")
        return Rebase(
            layer,
            old,
            new,
            Contents(layer, old),
            held=held,
            numbered=own.__contains__,
            **{**how, "others": None if others is None else self._lower(others)},
        )

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
        await self._arrive(found, intent.branch, intent.placed)

    async def collect_garbage(self) -> None:
        """Remove bytes that nothing refers to, every now and then, for ever."""
        while True:
            await trio.sleep(_COLLECT_EVERY_S)
            try:
                await trio.to_thread.run_sync(self._upper.collect)
            except OxenfsError as exc:
                log.warning("%s", exc)

    # --- inside

    async def _frozen(self, *, freeze: bool = False) -> contextlib.AbstractContextManager[Snapshot]:
        """Return the state of one moment; with `freeze` bytes stay as they are until `thaw`."""
        async with self._operations.gate.closed():
            self._upper.index.flush()
            if freeze:
                self._upper.freeze()
            return self._upper.index.open_snapshot()

    def _lower(self, commit: ObjectHash, remote: Remote | None = None) -> LowerTree:
        return LowerTree(remote or self._stack.remote, self._records, commit)
