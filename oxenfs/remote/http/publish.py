"""A change set becomes a commit on a server: through a workspace, so nobody's commit is lost.

The server itself tells conflicts only for what changes after the workspace was made; what changed
between the base and that moment is compared here, path by path.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from oxenfs.errors import NotFound, NothingToPublish, OxenfsError, UsageError
from oxenfs.model import Author, Change, ObjectHash, Published
from oxenfs.remote.changes import check_branch_name, checked, refuse_conflicts
from oxenfs.remote.cursor import TreeCursor
from oxenfs.remote.http.staging import Stage
from oxenfs.remote.http.transport import Transport
from oxenfs.remote.http.workspace import PerhapsPublished, Workspace, branch_path
from oxenfs.remote.retry import Retrying

if TYPE_CHECKING:
    from oxenfs.remote.http.remote import HttpRemote

log = logging.getLogger(__name__)


class HttpPublisher:
    """Publishes to one repository."""

    def __init__(
        self, remote: HttpRemote, transport: Transport, sleep: Callable[[float], None]
    ) -> None:
        """Publish through `transport`; `remote` reads what is there; `sleep` waits."""
        self._asked = remote
        self._remote = Retrying(remote, sleep=sleep)
        self._transport = transport
        self._sleep = sleep

    def publish(
        self,
        branch: str,
        base: ObjectHash,
        changes: Iterable[Change],
        message: str,
        author: Author,
        name: str | None = None,
    ) -> Published:
        """See `oxenfs.remote.base.Remote.publish`, with a `name` `Staging.publish_as`.

        Raises:
            PerhapsPublished: the answer to the commit got lost; nothing is cleared away then.
        """
        check_branch_name(branch)
        _check_text(message, author)
        # A base that is not there is told before anything is made or read.
        base_root = self._remote.root(base)
        made = self._make_branch(branch, base)
        workspace: Workspace | None = None
        try:
            workspace = Workspace(self._transport, branch, self._sleep, name)
            before = TreeCursor(self._remote.directory, base, base_root)
            stage = self._stage(workspace, base, before, changes)
            refuse_conflicts(branch, stage.conflicts)
            if not stage.files:
                raise NothingToPublish(f"branch {branch} has all of this already")
            try:
                commit = workspace.commit(branch, message, author, stage.files)
            except KeyboardInterrupt as exc:
                raise PerhapsPublished(
                    f"interrupted during the commit, which may have happened: look at the log of "
                    f"branch {branch}"
                ) from exc
        except PerhapsPublished:
            raise
        except BaseException:
            self._clear(workspace, branch if made else None, base)
            raise
        self._clear(workspace if name is None else None, None, base)
        return Published(commit, branch, stage.files, stage.sent_files, stage.sent_bytes)

    def _stage(
        self,
        workspace: Workspace,
        base: ObjectHash,
        before: TreeCursor,
        changes: Iterable[Change],
    ) -> Stage:
        now = before
        if workspace.base != base:
            root = self._remote.root(workspace.base)
            now = TreeCursor(self._remote.directory, workspace.base, root)
        with Stage(workspace, now, before, exact=self._transport.is_oxenfs) as stage:
            for change in checked(changes):
                stage.add(change)
        return stage

    def _make_branch(self, branch: str, base: ObjectHash) -> bool:
        """Let there be the branch; return whether it was made here."""
        with contextlib.suppress(NotFound):
            self._remote.branch(branch)
            return False
        try:
            self._asked.make_branch(branch, base)
        except OxenfsError:
            # Perhaps somebody else was quicker: servers have no answer of its own for that.
            with contextlib.suppress(NotFound):
                self._remote.branch(branch)
                return False
            raise
        return True

    def _clear(self, workspace: Workspace | None, branch: str | None, base: ObjectHash) -> None:
        """Remove the workspace and, unless it moved, `branch`. What fails is left lying."""
        if workspace is not None:
            try:
                workspace.delete()
            except OxenfsError as exc:
                log.warning("the workspace %s is left on the server: %s", workspace.name, exc)
        if branch is None:
            return
        try:
            if self._remote.branch(branch).commit == base:
                self._transport.json("DELETE", f"/branches/{branch_path(branch)}")
        except OxenfsError as exc:
            log.warning("the new branch %s is left on the server: %s", branch, exc)


def _check_text(message: str, author: Author) -> None:
    for text in (message, author.name, author.email):
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise UsageError(f"not UTF-8, and Oxen stores nothing else: {text!r}") from exc
