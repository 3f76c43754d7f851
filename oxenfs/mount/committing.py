"""Commits an overlay while programs go on writing to it, and moves the mount to the new commit."""

from __future__ import annotations

import contextlib
import secrets
from functools import partial
from typing import NamedTuple

import trio

from oxenfs.errors import Conflict, OxenfsError, UsageError
from oxenfs.model import Author, ObjectHash, Published, hash_text
from oxenfs.mount.control import Send
from oxenfs.mount.pulling import Puller, conflict_of
from oxenfs.overlay.changeset import ChangeSet, Left, read_ignored
from oxenfs.overlay.contents import Contents
from oxenfs.overlay.layer import Layer
from oxenfs.overlay.leftovers import IGNORE_FILE
from oxenfs.overlay.publishing import (
    Intent,
    Progress,
    forget_staged,
    head_of,
    is_certain,
    publish,
    refuse_leftovers,
)
from oxenfs.overlay.standing import CONFLICTS, PUBLISHING

_TOLD_EVERY_S = 0.2


class Committed(NamedTuple):
    """What a commit did, and what it left."""

    published: Published
    left: Left


class Committer(Puller):
    """Commits an overlay, besides all that a `Puller` does."""

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
                await trio.to_thread.run_sync(self._refuse_changed, changes.set, head)
                name = f"overlay-{secrets.token_hex(12)}"
                base = self._upper.base
                who, folders = (author.name, author.email), [*changes.set.folders.items()]
                frozen = self._upper.frozen_below
                intent = Intent(target, head, base, message, *who, name, frozen, folders)
                self._upper.set_meta(PUBLISHING, intent.pack())
                await trio.to_thread.run_sync(self._upper.sync)
                try:
                    published = await trio.to_thread.run_sync(
                        publish, remote, intent, changes.set, progress
                    )
                except BaseException as exc:
                    if is_certain(exc):
                        self._upper.set_meta(PUBLISHING, None)
                    if isinstance(exc, Conflict) and exc.paths:
                        raise conflict_of(base, head, exc.paths) from exc
                    raise
                with contextlib.suppress(OxenfsError):
                    self._upper.keep_hashes(contents.hashes)
                done = partial(forget_staged, remote, intent)
                try:
                    await self._arrive(published.commit, target, intent.placed)
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

    def _refuse_changed(self, changes: ChangeSet, head: ObjectHash | None) -> None:
        """Raise `Conflict` if others changed the same paths since the overlay's base.

        A server finds that too, but not by the base as it was: an oxen-server 0.65.2 forgets what a
        folder had once another one was made anew in its place.
        """
        base = self._upper.base
        if head is not None and head != base:
            found = sorted(set(changes.conflicts(self._lower(head), hiding=False)))
            if found:
                raise conflict_of(base, head, found)

    def _refuse_conflicts(self, target: str) -> None:
        packed = self._upper.meta(CONFLICTS[1])
        if packed and target == self._upper.branch:
            raise conflict_of(self._upper.base, None, packed.split(b"\0"))

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


class _Survey(NamedTuple):
    set: ChangeSet
    total: int
