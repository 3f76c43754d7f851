"""Which overlay a command is about: one that is mounted, or one that waits for its mount."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxenfs.errors import UsageError
from oxenfs.overlay.item import Shown, from_columns

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry
    from oxenfs.overlay.home import Home
    from oxenfs.overlay.upper import Upper
    from oxenfs.remote.base import Remote
    from oxenfs.store.records import ListingRecords


@dataclass(frozen=True, slots=True)
class Found:
    """What a command is about.

    Attributes:
        mount: the mount; None if the overlay is not mounted.
        home: the overlay that is not mounted; None if it is, or if there is a mount without one.
        paths: from the root of the repository.
    """

    mount: Entry | None
    home: Home | None
    paths: tuple[bytes, ...] = ()


def find(words: Sequence[str], directory: Path | None, *, unmounted: bool = False) -> Found:
    """Return what `words` (a mount point or not, then paths) are about.

    Args:
        words: the command's arguments.
        directory: what `-C` says.
        unmounted: whether the first word, or `-C`, may be the mount folder of an overlay that is
            not mounted.

    Raises:
        UsageError: no mount, and no overlay either.
    """
    from oxenfs_cli.target import find as find_mount
    from oxenfs_cli.target import path_in_repository

    if unmounted and (home := _waiting(words, directory)) is not None:
        paths = words if directory is not None else words[1:]
        return Found(None, home, tuple(map(path_in_repository, paths)))
    target = find_mount(words, directory)
    assert target.mount is not None
    return Found(target.mount, None, target.paths)


def _waiting(words: Sequence[str], directory: Path | None) -> Home | None:
    """Return the overlay that waits for its mount, or for another after the end of its process."""
    from oxenfs.mount import mountinfo, registry
    from oxenfs.overlay import home as homes

    word = directory if directory is not None else Path(words[0]) if words else Path()
    where = mountinfo.real_path(word)
    mount = registry.find(where)
    if mount is not None and (mount.dir != where or mount.alive or mount.overlay is None):
        return None
    return homes.find(where)


def overlay_mount(words: Sequence[str], directory: Path | None) -> Found:
    """Return the mount with an overlay that `words` are about; raise `UsageError`."""
    from oxenfs.mount import registry

    home = _waiting(words, directory)
    if home is not None and registry.find(home.dir) is None and not home.is_blank:
        raise UsageError(_how_to_mount(home))
    found = find(words, directory)
    if found.mount is not None and found.mount.overlay is None:
        raise UsageError(
            f"{found.mount.dir} is read-only and has no changes; for those mount it with --overlay"
        )
    return found


def _how_to_mount(home: Home) -> str:
    from shlex import quote

    from oxenfs.errors import OxenfsError
    from oxenfs.model import hash_text

    address, more = home.repo, ""
    if home.cache is not None:
        more = f" --cache-dir {quote(str(home.cache))}"
    # Whoever has it open, or a damaged one, leaves only the default branch to be named.
    with contextlib.suppress(OxenfsError), home.opened() as upper:
        address += f"@{upper.branch or hash_text(upper.base)}"
    return (
        f"{home.dir} has changes, but is not mounted; mount it again first: "
        f"oxenfs mount {quote(address)} {quote(str(home.dir))} --overlay{more}"
    )


def changes_of(mount: Entry, *, sizes: bool = True) -> tuple[list[Shown], dict[str, Any]]:
    """Return the changes in a mount as its daemon tells them, and what they are on top of.

    Without `sizes` those of new files may be missing.
    """
    from oxenfs.mount.client import ask

    items: list[Shown] = []

    facts: dict[str, Any] = ask(
        mount,
        "status",
        timeout_s=None,
        on_event=lambda event: items.extend(from_columns(event)),
        sizes=sizes,
    )
    return items, facts


@contextlib.contextmanager
def repository(
    repo: str, cache_dir: Path, *, impatient: bool = False
) -> Iterator[tuple[Remote, ListingRecords]]:
    """Give a repository, which is asked for what is not kept of it, and what is kept.

    With `impatient` a server that is silent for a moment is asked no more.
    """
    from oxenfs.address import parse
    from oxenfs.overlay.settling import records_of
    from oxenfs.remote.base import Elsewhere
    from oxenfs.remote.impatient import SILENCE_S, Impatient
    from oxenfs.remote.open import open_remote
    from oxenfs.store.remembered import Remembering

    address = parse(repo)
    opened = open_remote(address, timeout_s=SILENCE_S) if impatient else open_remote(address)
    try:
        with records_of(opened, cache_dir) as records:
            remote: Remote = Impatient(opened) if impatient else opened
            elsewhere = isinstance(opened, Elsewhere)
            yield Remembering(remote, records) if elsewhere else opened, records
    finally:
        opened.close()


def cache_of(mount: Entry) -> Path:
    """Return where the trees of a mount are kept; the usual place where that is not known."""
    from oxenfs import places
    from oxenfs.overlay import home as homes

    home = None if mount.overlay is None else homes.at(Path(mount.overlay))
    return places.cache_dir() if home is None else home.cache_dir


def unmounted_changes(
    upper: Upper, remote: Remote, records: ListingRecords, *, sizes: bool
) -> list[Shown]:
    """Return the changes of an overlay that is not mounted.

    Without `sizes` those of new files may be missing.
    """
    from oxenfs.errors import RemoteUnavailable
    from oxenfs.overlay.item import shown
    from oxenfs.overlay.settling import settle, status_unmounted

    # Of a commit that was interrupted nobody knows then; the changes are what it is about.
    with contextlib.suppress(RemoteUnavailable):
        settle(upper, remote, records)
    return [shown(item) for item in status_unmounted(upper, remote, records, sizes=sizes)]
