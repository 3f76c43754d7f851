"""A walk through a folder in tree order, lazily: memory holds one folder per level.

Files are opened below a descriptor of their folder and without following links, so nothing outside
of the source gets in, whatever is swapped meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from oxenfs.errors import NotADirectory, NotFound, SourceChanged, Unsupported
from oxenfs.model import DEPTH_MAX, check_name
from oxenfs.names import quoted
from oxenfs.source.stable import Facts, StableFile, cannot_read, facts_of, read_whole

WHOLE_BYTES_MAX = 1 << 20
"""Files up to this size come with their bytes, larger ones are opened by whoever wants them."""

_NAMED = 10
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Enter(NamedTuple):
    """A folder begins; everything up to its `Leave` is in it."""

    name: bytes


class Leave(NamedTuple):
    """The folder that was entered last ends."""


class Found(NamedTuple):
    """A file.

    Attributes:
        data: all of it; None for a large one.
    """

    name: bytes
    facts: Facts
    data: bytes | None


Step = Enter | Found | Leave
"""One step of a walk. In each folder entries come sorted by name; the top has a `Leave` as well."""


def walk(source: Path, target: bytes, *, skip_unsupported: bool) -> Generator[Step]:
    """Yield everything in `source`.

    Args:
        source: a folder; the path itself may be a link.
        target: where it will be in the repository; paths in messages start with it.
        skip_unsupported: leave out what Oxen cannot store, instead of raising.

    Raises:
        Unsupported: something that Oxen cannot store.
        SourceChanged: something is not what it was when its folder was listed.
        AccessDenied: something may not be read.
    """
    yield from _walk(_open_source(source), target, skip_unsupported)


def refuse_unsupported(source: Path, target: bytes) -> int:
    """Look at names and types alone, quickly; return the number of entries.

    Raises:
        Unsupported: names the first of all that cannot be stored.
    """
    found: list[str] = []
    refused = count = 0
    for path, reason in _entries_below(_open_source(source), target):
        count += 1
        if reason:
            refused += 1
            if len(found) < _NAMED:
                found.append(f"{quoted(path)} ({reason})")
    if found:
        more = f" and {refused - _NAMED} more" if refused > _NAMED else ""
        raise Unsupported(
            f"Oxen cannot store {', '.join(found)}{more}; "
            "--skip-unsupported imports everything else"
        )
    return count


class Opener:
    """Opens files of a source by their path in it, for those that come without their bytes."""

    def __init__(self, source: Path) -> None:
        """Open files below `source`."""
        self._top = _open_source(source)

    def open(
        self, inside: bytes, path: bytes, facts: Facts, progress: Callable[[int], None]
    ) -> StableFile:
        """Open the file at `inside` (from the source); `path` names it in messages."""
        *folders, name = inside.split(b"/")
        at = self._top
        for folder in folders:
            at = _Folder(at, folder, path)
        return StableFile(at.fd, name, path, facts, progress)


class _Folder:
    """An open folder of the source; closed when nothing refers to it any more."""

    def __init__(self, parent: _Folder | None, name: str | bytes | Path, path: bytes) -> None:
        self.fd = -1
        self._top = parent is None
        self._path = path
        try:
            if parent is None:
                # The source itself may be named by a link.
                self.fd = os.open(name, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
            else:
                self.fd = os.open(name, _FOLDER_FLAGS, dir_fd=parent.fd)
        except OSError as exc:
            raise cannot_read(path, exc) from exc

    def scan(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.fd) as entries:
                # A clone of the official client has its own store in the folder: no content.
                return [entry for entry in entries if not self._top or entry.name != ".oxen"]
        except OSError as exc:
            raise cannot_read(self._path, exc) from exc

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _walk(folder: _Folder, path: bytes, skip: bool) -> Iterator[Step]:
    prefix = path + b"/" if path else b""
    entries = {os.fsencode(entry.name): entry for entry in folder.scan()}
    for name in sorted(entries):
        entry = entries.pop(name)
        where = prefix + name
        if reason := _unsupported(where, entry):
            if not skip:
                raise Unsupported(f"Oxen cannot store {quoted(where)} ({reason})")
        elif entry.is_dir(follow_symlinks=False):
            yield Enter(name)
            yield from _walk(_Folder(folder, entry.name, where), where, skip)
        else:
            try:
                facts = facts_of(entry.stat(follow_symlinks=False))
            except OSError as exc:
                raise cannot_read(where, exc) from exc
            whole = facts.size <= WHOLE_BYTES_MAX
            yield Found(name, facts, read_whole(folder.fd, name, where, facts) if whole else None)
    yield Leave()


def _open_source(source: Path) -> _Folder:
    try:
        return _Folder(None, source, os.fsencode(source))
    except SourceChanged as exc:
        if isinstance(exc.__cause__, NotADirectoryError):
            raise NotADirectory(f"{source} is not a folder; import takes folders") from exc
        raise NotFound(f"no folder {source}") from exc


def _entries_below(folder: _Folder, path: bytes) -> Iterator[tuple[bytes, str | None]]:
    """Yield each path below `folder`, and what is unsupported about it."""
    prefix = path + b"/" if path else b""
    for entry in folder.scan():
        where = prefix + os.fsencode(entry.name)
        reason = _unsupported(where, entry)
        yield where, reason
        if reason is None and entry.is_dir(follow_symlinks=False):
            yield from _entries_below(_Folder(folder, entry.name, where), where)


def _unsupported(path: bytes, entry: os.DirEntry[str]) -> str | None:
    if not entry.is_file(follow_symlinks=False):
        if entry.is_symlink():
            return "a symlink"
        if not entry.is_dir(follow_symlinks=False):
            return "a special file"
        if path.count(b"/") >= DEPTH_MAX:
            return f"a folder below {DEPTH_MAX} others"
    name = path.rpartition(b"/")[2]
    try:
        check_name(name)
    except Unsupported:
        return "a name that is not UTF-8" if _not_utf8(name) else "a name that Oxen refuses"
    return None


def _not_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return False
