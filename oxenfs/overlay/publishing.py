"""A commit of a layer, as far as it happens in a thread: what to publish, and whether it happened.

What is about to be published is in the journal before the remote hears of it. After a crash that
record says what to look for: a commit with that message and author, newer than the branch was.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgpack

from oxenfs.errors import (
    Conflict,
    NotFound,
    NothingToPublish,
    OxenfsError,
    RemoteUnavailable,
    Unsupported,
)
from oxenfs.model import Author, Change, Commit, ObjectHash, Published, Put, hash_text
from oxenfs.names import quoted
from oxenfs.overlay.changeset import ChangeSet, Left
from oxenfs.overlay.nodes import Nid
from oxenfs.overlay.placed import Placed
from oxenfs.remote.base import Remote, Staging

_NAMED = 10
_LOOKED_AT = 10_000


class Intent(NamedTuple):
    """What is about to be published.

    Attributes:
        head: where the branch was; None if there was none.
        base: what the layer stood on.
        place: a name of this publish alone, for what it leaves at the remote meanwhile.
        frozen: nodes of the layer from here on are not in it.
        folders: number and path of the layer's folders that are.
    """

    branch: str
    head: ObjectHash | None
    base: ObjectHash
    message: str
    name: str
    email: str
    place: str
    frozen: Nid = 0
    folders: Sequence[tuple[Nid, bytes]] = ()

    @property
    def placed(self) -> Placed:
        """Where the folders are that are in it."""
        return Placed(self.frozen, self.folders)

    def pack(self) -> bytes:
        """Return it as bytes."""
        head = None if self.head is None else hash_text(self.head)
        packed: bytes = msgpack.packb(self._replace(head=head, base=hash_text(self.base)))  # type: ignore[arg-type]
        return packed


def unpack_intent(packed: bytes) -> Intent:
    """Return the intent of `Intent.pack`."""
    intent = Intent(*msgpack.unpackb(packed))
    head = None if intent.head is None else ObjectHash(int(str(intent.head), 16))
    return intent._replace(head=head, base=ObjectHash(int(str(intent.base), 16)))


class Interrupted(OxenfsError):
    """Somebody stopped it; nothing was committed."""


class Progress:
    """How far a commit is. Written by its thread, read by others."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.stage = "looking"
        self.total = 0
        self.files = 0
        self.bytes = 0
        self.stop = threading.Event()


def refuse_leftovers(left: Left, count: int, *, skip: bool) -> None:
    """Raise unless there is something to publish, and nothing in the way of it.

    Raises:
        Unsupported: names what Oxen cannot store.
        NothingToPublish: there is nothing, or only what is left out.
    """
    if left.unsupported and not skip:
        named = ", ".join(f"{quoted(path)} ({why})" for path, why in left.unsupported[:_NAMED])
        more = len(left.unsupported) - _NAMED
        raise Unsupported(
            f"Oxen cannot store {named}{f' and {more} more' if more > 0 else ''}; "
            "--skip-unsupported leaves them in the overlay and commits the rest"
        )
    if not count:
        count = len(left.unsupported) + len(left.ignored)
        only = f"nothing to commit but what stays here ({count})" if count else "no changes"
        raise NothingToPublish(only)


def publish(remote: Remote, intent: Intent, changes: ChangeSet, progress: Progress) -> Published:
    """Publish `changes`; see `Remote.publish`.

    Raises:
        Interrupted: `progress.stop` was set before the end.
    """
    progress.stage = "sending"

    def counted() -> Iterator[Change]:
        for change in changes.changes():
            if progress.stop.is_set():
                raise Interrupted("stopped; nothing was committed")
            progress.files += 1
            if isinstance(change, Put):
                progress.bytes += change.content.size
            yield change
        progress.stage = "committing"

    author = Author(intent.name, intent.email)
    staging = staging_of(remote)
    if staging is not None:
        return staging.publish_as(
            intent.place, intent.branch, intent.base, counted(), intent.message, author
        )
    return remote.publish(intent.branch, intent.base, counted(), intent.message, author)


def staging_of(remote: Remote) -> Staging | None:
    """Return the part of a remote that stages under names; None if it has none."""
    found: object = remote
    while found is not None and not isinstance(found, Staging):
        found = getattr(found, "inner", None)
    return found


def forget_staged(remote: Remote, intent: Intent) -> None:
    """Remove what a publish has left at the remote; what fails is left lying."""
    staging = staging_of(remote)
    if staging is not None:
        with contextlib.suppress(OxenfsError):
            staging.unstage(intent.place)


def head_of(remote: Remote, branch: str) -> ObjectHash | None:
    """Return where a branch is, None if there is none."""
    try:
        return remote.branch(branch).commit
    except NotFound:
        return None


def find_published(remote: Remote, intent: Intent) -> ObjectHash | None:
    """Return the commit that `intent` has become, None if it has become none.

    Raises:
        RemoteUnavailable: it cannot be told.
    """
    staging = staging_of(remote)
    if staging is not None:
        stands_on = staging.staged_on(intent.place)
        moved = stands_on is not None and stands_on not in (intent.head, intent.base)
        if moved and stands_on is not None and _is_of(remote.commit(stands_on), intent):
            return stands_on
        # From now on a request that is still on its way finds nothing to commit.
        staging.unstage(intent.place)
    head = head_of(remote, intent.branch)
    if head is None or head == intent.head:
        return None
    stop = {intent.head, intent.base}
    for number, commit in enumerate(remote.history(head)):
        if commit.id in stop and commit.id == (intent.head or intent.base):
            return None
        if _is_of(commit, intent):
            return commit.id
        if number > _LOOKED_AT:
            break
    return None


def _is_of(commit: Commit, intent: Intent) -> bool:
    return (commit.message, commit.author) == (
        intent.message,
        Author(intent.name, intent.email),
    )


def is_certain(exc: BaseException) -> bool:
    """Return whether a publish that ended like this has not happened."""
    if isinstance(exc, RemoteUnavailable):
        # Of a commit whose answer got lost, nobody knows.
        return type(exc).__name__ != "PerhapsPublished"
    return isinstance(exc, Conflict | OxenfsError)
