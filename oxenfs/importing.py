"""A folder as a change set: what `import` commits without a mount.

The walk is lazy: an entry is looked at when the publisher asks for it, in tree order, so memory
holds one folder per level. Files are opened below a descriptor of their folder and without
following links, so nothing outside of the source gets in, whatever is swapped meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from oxenfs.errors import (
    AccessDenied,
    NotADirectory,
    NotFound,
    OxenfsError,
    SourceChanged,
    Unsupported,
    UsageError,
)
from oxenfs.model import (
    DEPTH_MAX,
    Author,
    Change,
    Content,
    Kind,
    MakeDirectory,
    ObjectHash,
    Published,
    Put,
    Remove,
    check_name,
)
from oxenfs.remote.base import Remote, TreePlace
from oxenfs.remote.rows import Row, find_row, rows_of

_NAMED = 10
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a fifo that takes the place of a file would be waited for without end.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

Progress = Callable[[int, int], None]
"""Called with the number of files and bytes read so far."""


def import_tree(
    remote: Remote,
    source: Path,
    branch: str,
    *,
    to: bytes = b"",
    delete: bool = False,
    skip_unsupported: bool = False,
    message: str,
    author: Author,
    progress: Progress | None = None,
) -> Published:
    """Commit the folder `source` to `branch`, below the path `to`.

    Adds and replaces; with `delete` the target becomes equal to the source. A branch that does not
    exist starts at the default branch's head. Blobs that got in before a failure are used again.

    Raises:
        Unsupported: names what Oxen cannot store, before anything is read.
        Conflict: the branch moved meanwhile, and in the same paths.
        NothingToPublish: the branch has all of it already.
        SourceChanged: a file was written to while it was read.
    """
    target = b"/".join(part for part in to.split(b"/") if part not in (b"", b"."))
    for name in target.split(b"/") if target else ():
        check_name(name)
    inside = Path(remote.address)
    if inside.is_absolute() and inside.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"the repository {inside} lies in {source}: import another folder")
    walk = _Walk(source, skip_unsupported, progress)
    if not skip_unsupported:
        walk.refuse_unsupported(target)
    try:
        base = remote.branch(branch).commit
    except NotFound:
        base = remote.default_branch().commit
    known = _Known(remote, base)
    changes = walk.changes(target, known, delete)
    return remote.publish(branch, base, changes, message, author)


class _Known:
    """What the base commit has, folder by folder."""

    def __init__(self, remote: Remote, commit: ObjectHash) -> None:
        self._remote = remote
        self._commit = commit

    def at(self, path: bytes) -> dict[bytes, Row]:
        try:
            row = find_row(self._remote, self._commit, path)
        except (NotFound, NotADirectory):
            return {}
        id = self._remote.root(self._commit) if row is None else row.id
        return {} if row is not None and row.kind != Kind.DIRECTORY else self.of(id, path)

    def of(self, directory: ObjectHash, path: bytes) -> dict[bytes, Row]:
        nodes = self._remote.directory(directory, TreePlace(self._commit, path))
        return {row.name: row for row in rows_of(nodes)}


class _Walk:
    def __init__(self, source: Path, skip_unsupported: bool, progress: Progress | None) -> None:
        self._source = source
        self._skip = skip_unsupported
        self._progress = progress
        self._files = 0
        self._bytes = 0
        self._shown = 0

    def refuse_unsupported(self, target: bytes) -> None:
        """Look at names and types alone, quickly, and raise for all that cannot be stored."""
        found: list[str] = []
        count = 0
        for path, reason in _entries_below(_open_source(self._source), target):
            if reason:
                count += 1
                if len(found) < _NAMED:
                    found.append(f"{os.fsdecode(path)!r} ({reason})")
        if found:
            more = f" and {count - _NAMED} more" if count > _NAMED else ""
            raise Unsupported(
                f"Oxen cannot store {', '.join(found)}{more}; "
                "--skip-unsupported imports everything else"
            )

    def changes(self, target: bytes, known: _Known, delete: bool) -> Iterator[Change]:
        """Yield the change set in tree order."""
        folder = _open_source(self._source)
        yield from self._folder(folder, target, known.at(target), known, delete)

    def _folder(
        self, folder: _Folder, path: bytes, there: dict[bytes, Row], known: _Known, delete: bool
    ) -> Iterator[Change]:
        prefix = path + b"/" if path else b""
        entries = {os.fsencode(entry.name): entry for entry in folder.scan()}
        for name in [name for name in entries if _unsupported(prefix + name, entries[name])]:
            if not self._skip:
                reason = _unsupported(prefix + name, entries[name])
                raise Unsupported(f"Oxen cannot store {os.fsdecode(prefix + name)!r} ({reason})")
            del entries[name]
        if not entries and path and not there:
            yield MakeDirectory(path)
        gone = there.keys() - entries.keys() if delete else set()
        for name in sorted(entries.keys() | gone):
            entry = entries.pop(name, None)
            row = there.get(name)
            where = prefix + name
            if entry is None:
                yield Remove(where)
            elif entry.is_dir(follow_symlinks=False):
                inside = row is not None and row.kind == Kind.DIRECTORY
                below = known.of(row.id, where) if row is not None and inside else {}
                if row is not None and not inside:
                    yield Remove(where)
                yield from self._folder(
                    _Folder(folder, entry.name, where), where, below, known, delete
                )
            else:
                yield self._put(folder, entry, where, row)

    def _put(
        self, folder: _Folder, entry: os.DirEntry[str], path: bytes, row: Row | None
    ) -> Change:
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError as exc:
            raise _cannot_read(path, exc) from exc
        same_size = row is not None and row.kind != Kind.DIRECTORY and row.size == facts.st_size
        known = row.id if row is not None and same_size else None
        name = entry.name

        def open_content() -> BinaryIO:
            try:
                fd = os.open(name, _FILE_FLAGS, dir_fd=folder.fd)
            except OSError as exc:
                raise _cannot_read(path, exc) from exc
            # Cast: what is missing of BinaryIO is what a publisher never calls.
            return cast("BinaryIO", _StableFile(fd, facts, path, self._read))

        self._files += 1
        self._bytes += facts.st_size
        return Put(path, Content(facts.st_size, facts.st_mtime_ns, open_content, known))

    def _read(self, remaining: int) -> None:
        # A large file may be read twice, but what is shown only grows.
        self._shown = max(self._shown, self._bytes - remaining)
        if self._progress is not None:
            self._progress(self._files, self._shown)


class _Folder:
    """An open folder of the source; closed when no content refers to it any more."""

    def __init__(self, parent: _Folder | None, name: str | Path, path: bytes) -> None:
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
            raise _cannot_read(path, exc) from exc

    def scan(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.fd) as entries:
                # A clone of the official client has its own store in the folder: no content.
                return [entry for entry in entries if not self._top or entry.name != ".oxen"]
        except OSError as exc:
            raise _cannot_read(self._path, exc) from exc

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class _StableFile:
    """A file that must be the same at the end of reading as when its folder was listed."""

    def __init__(
        self, fd: int, facts: os.stat_result, path: bytes, progress: Callable[[int], None]
    ) -> None:
        self._fd = fd
        self._facts = facts
        self._path = path
        self._progress = progress
        self._remaining = facts.st_size
        try:
            # First: a folder in its place could not even be opened as a file.
            self._check()
        except BaseException:
            os.close(fd)
            raise

    def read(self, size: int) -> bytes:
        try:
            data = os.read(self._fd, size)
        except OSError as exc:
            raise _cannot_read(self._path, exc) from exc
        self._remaining -= len(data)
        self._progress(max(self._remaining, 0))
        return data

    def close(self) -> None:
        try:
            self._check()
        finally:
            os.close(self._fd)

    def __enter__(self) -> _StableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            os.close(self._fd)

    def _check(self) -> None:
        now = os.fstat(self._fd)
        then = self._facts
        if (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (
            then.st_ino,
            then.st_size,
            then.st_mtime_ns,
            then.st_ctime_ns,
        ) or not stat.S_ISREG(now.st_mode):
            raise SourceChanged(
                f"{os.fsdecode(self._path)!r} changed while it was imported; nothing was "
                "committed; import again when nobody writes to it"
            )


def _open_source(source: Path) -> _Folder:
    try:
        return _Folder(None, source, os.fsencode(source))
    except SourceChanged as exc:
        if isinstance(exc.__cause__, NotADirectoryError):
            raise NotADirectory(f"{source} is not a folder; import takes folders") from exc
        raise NotFound(f"no folder {source}") from exc


def _cannot_read(path: bytes, exc: OSError) -> OxenfsError:
    shown = repr(os.fsdecode(path))
    if isinstance(exc, PermissionError):
        return AccessDenied(f"no permission to read {shown}; nothing was committed")
    if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
        return SourceChanged(
            f"{shown} went away while it was imported; nothing was committed; "
            "import again when nobody changes the folder"
        )
    return OxenfsError(f"cannot read {shown}: {exc.strerror}; nothing was committed")


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
    name = path.rpartition(b"/")[2]
    if entry.is_symlink():
        return "a symlink"
    if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
        return "a special file"
    if entry.is_dir(follow_symlinks=False) and path.count(b"/") >= DEPTH_MAX:
        return f"a folder below {DEPTH_MAX} others"
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
