"""Which repository, and which paths in it, a command is about.

The first argument is a mount only if it *is* a mount point of ours, and there is no `-C DIR`;
otherwise that or the current folder decides. Paths are relative to the current folder where that
lies in the mount, else to the mount's root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oxenfs.errors import UsageError

if TYPE_CHECKING:
    # Heavier than what most commands need: imported where used.
    from oxenfs.address import Address
    from oxenfs.mount.registry import Entry
    from oxenfs.remote.base import Remote
    from oxenfs.remote.revision import Revision


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about.

    Attributes:
        address: the repository, at the commit that is mounted or the revision asked for.
        mount: the mount it was found by; None if it was given as an address.
        paths: in the repository, from its root; `b""` is the root.
    """

    address: Address
    mount: Entry | None
    paths: tuple[bytes, ...] = ()

    def open(self, *, insecure: bool = False) -> tuple[Remote, Revision]:
        """Open the repository and resolve the revision; the caller closes the remote."""
        from oxenfs.remote.open import open_remote
        from oxenfs.remote.revision import resolve

        remote = open_remote(self.address, insecure=insecure)
        try:
            return remote, resolve(remote, self.address.rev)
        except BaseException:
            remote.close()
            raise


def find(words: Sequence[str], directory: Path | None, *, address: bool = False) -> Target:
    """Return what `words` (a mount point or not, then paths) are about.

    Args:
        words: the command's arguments.
        directory: what `-C` says.
        address: whether the first word may also be an address. Inside a mount it is one if it
            is a URL, or an absolute path that leads out of the mount; elsewhere always.

    Raises:
        UsageError: no mount, and no address either.
    """
    # With -C all words are paths: in the mount, `.` is its root and not a second DIR.
    mount = mount_point(words[0]) if words and directory is None else None
    if mount is not None:
        return Target(mount_address(mount), mount, _paths(mount, words[1:]))
    mount = mount_around(directory)
    if mount is not None and not (address and words and _leads_out(words[0], mount)):
        return Target(mount_address(mount), mount, _paths(mount, words))
    if address and words:
        from oxenfs.address import parse

        return Target(parse(words[0]), None, tuple(path_in_repository(w) for w in words[1:]))
    where = f"{directory} does" if directory is not None else "the current folder does"
    ways = "name one, or an address of a repository" if address else "name one, or use -C DIR"
    raise UsageError(f"{where} not lie in a mount of oxenfs; {ways} (oxenfs mounts lists mounts)")


def refuse_both(words: Sequence[str], directory: Path | None) -> None:
    """Raise `UsageError` if a command that takes no paths has `-C` and words too."""
    if words and directory is not None:
        raise UsageError(f"both -C {directory} and {words[0]} are given; leave one")


def mount_point(word: str) -> Entry | None:
    """Return the mount whose mount point is exactly `word`, None if it is none of ours."""
    from oxenfs.mount import mountinfo, registry

    if "://" in word:
        return None
    found = registry.find(word)
    return found if found is not None and found.dir == mountinfo.real_path(word) else None


def mount_around(directory: Path | None) -> Entry | None:
    """Return the mount that `directory` (None: the current folder) lies in, None if in none."""
    from oxenfs.mount import registry

    return registry.find(directory if directory is not None else Path())


def mount_address(mount: Entry) -> Address:
    """Return the address of what `mount` shows: its commit, whatever its branch is at by now."""
    from dataclasses import replace

    from oxenfs.address import parse

    return replace(parse(mount.repo), rev=mount.commit or mount.revision)


def path_in_repository(word: str) -> bytes:
    """Return a path from the root of a repository; raise `UsageError` if it leads out of it."""
    return _joined((), word)


def _paths(mount: Entry, words: Sequence[str]) -> tuple[bytes, ...]:
    from oxenfs.mount import mountinfo

    if not words:
        return ()
    here = mountinfo.real_path(Path())
    inside = here.parts[len(mount.dir.parts) :] if here.is_relative_to(mount.dir) else ()
    paths: list[bytes] = []
    for word in words:
        if word.startswith("/"):
            # As completion in a shell writes it: the path of the mounted file.
            whole = mountinfo.real_path(word)
            if not whole.is_relative_to(mount.dir):
                raise UsageError(f"{word} does not lie in the mount at {mount.dir}")
            paths.append(_joined((), str(whole.relative_to(mount.dir))))
        else:
            paths.append(_joined(inside, word))
    return tuple(paths)


def _joined(start: Sequence[str], word: str) -> bytes:
    import os

    parts = list(start)
    for part in word.split("/"):
        if part == "..":
            if not parts:
                raise UsageError(f"{word} leads out of the repository")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return os.fsencode("/".join(parts))


def _leads_out(word: str, mount: Entry) -> bool:
    from oxenfs.mount import mountinfo

    if "://" in word:
        return True
    if not word.startswith("/"):
        return False
    return not mountinfo.real_path(word).is_relative_to(mount.dir)
