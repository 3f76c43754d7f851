"""Where overlays are: one folder for each (repository, mount folder), below the data folder.

In it: `info.json` (whose it is), `lock` (flock, held by the one process that uses it), and what
`oxenfs.overlay.upper` keeps.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oxenfs import places
from oxenfs.errors import Conflict, IntegrityError, NotFound, OxenfsError
from oxenfs.model import ObjectHash

if TYPE_CHECKING:
    # Most commands only look whether there is an overlay.
    from oxenfs.overlay.upper import Upper


@dataclass(frozen=True, slots=True)
class Home:
    """An overlay's folder.

    Attributes:
        folder: where it is.
        repo: the repository's address, without revision.
        key: the repository's key; see `oxenfs.remote.base.Remote`.
        dir: the mount folder.
        cache: the cache folder of the last mount (`--cache-dir`); None for the usual one.
    """

    folder: Path
    repo: str
    key: str
    dir: Path
    cache: Path | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Have the overlay alone.

        Raises:
            Conflict: another process has it.
        """
        fd = self.lock()
        try:
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Upper]:
        """Have the overlay alone, and open.

        Raises:
            Conflict: another process has it.
        """
        from oxenfs.overlay.upper import Upper

        with self.locked():
            upper = Upper(self.folder, ObjectHash(0), None)
            try:
                yield upper
            finally:
                upper.close()

    def lock(self) -> int:
        """Return a descriptor that keeps the overlay from others until it is closed.

        Raises:
            Conflict: another process has it.
            NotFound: another process has removed it.
        """
        path = self.folder / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as exc:
            raise self._removed() from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it may have removed it since it was opened here.
            if not path.exists() or not os.path.samestat(os.fstat(fd), path.stat()):
                raise self._removed()
        except BlockingIOError as exc:
            os.close(fd)
            raise Conflict(
                f"another process has the overlay of {self.repo} at {self.dir} open; "
                "unmount it first"
            ) from exc
        except BaseException:
            os.close(fd)
            raise
        return fd

    @property
    def is_locked(self) -> bool:
        """Whether a process has the overlay, or has just removed it."""
        try:
            os.close(self.lock())
        except (Conflict, NotFound):
            return True
        return False

    @property
    def is_blank(self) -> bool:
        """Whether there are no changes in it, and no process has it that may make some."""
        try:
            with self.opened() as upper:
                return not upper.has_changes()
        except OxenfsError:
            return False

    def _removed(self) -> NotFound:
        return NotFound(f"the overlay of {self.repo} at {self.dir} was just removed; try again")

    @property
    def cache_dir(self) -> Path:
        """Where what is kept of its repository is; the usual place if that is gone."""
        here = self.cache is not None and self.cache.is_dir()
        return self.cache if here and self.cache is not None else places.cache_dir()

    def move(self, dir: Path, cache: Path | None) -> None:
        """Let the overlay belong to the mount folder `dir` from now on. Only with the lock.

        Args:
            dir: the folder.
            cache: see the attribute.

        Raises:
            OxenfsError: that cannot be written; it belongs to its old one.
        """
        if (dir, cache) == (self.dir, self.cache):
            return
        try:
            _write(replace(self, dir=dir, cache=cache))
        except OSError as exc:
            raise OxenfsError(f"cannot write to {self.folder}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Remove the overlay with all changes in it. Only with the lock."""
        # In one step: half of an overlay must never be taken for one.
        trash = self.folder.with_name(f"{self.folder.name}.removed")
        shutil.rmtree(trash, ignore_errors=True)
        self.folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def every() -> list[Home]:
    """Return the overlays of this user, sorted by mount folder."""
    found = []
    for folder in _top().iterdir():
        with contextlib.suppress(NotFound):
            found.append(_read(folder))
    return sorted(found, key=lambda home: home.dir)


def find(dir: Path, key: str | None = None) -> Home | None:
    """Return the overlay of the mount folder `dir`, and of the repository with that key.

    Without a key: the one that has changes, if there are several.

    Raises:
        OxenfsError: several have changes, of different repositories.
    """
    found = [home for home in every() if home.dir == dir and key in (None, home.key)]
    if len(found) > 1:
        found = [home for home in found if not home.is_blank] or found[:1]
    if len(found) > 1:
        raise OxenfsError(
            f"there are overlays of several repositories at {dir}: "
            + ", ".join(home.repo for home in found)
            + "; mount the one you mean"
        )
    return found[0] if found else None


def at(folder: Path) -> Home | None:
    """Return the overlay whose folder is `folder`, None if there is none."""
    return next((home for home in every() if home.folder == folder), None)


def make(repo: str, key: str, dir: Path) -> Home:
    """Make an overlay's folder."""
    folder = _top() / secrets.token_hex(8)
    try:
        folder.mkdir(mode=0o700)
        home = Home(folder, repo, key, dir)
        _write(home)
    except OSError as exc:
        raise OxenfsError(f"cannot make an overlay in {folder}: {exc.strerror}") from exc
    return home


def _top() -> Path:
    top = places.data_dir() / "overlays"
    top.mkdir(mode=0o700, exist_ok=True)
    return top


def _write(home: Home) -> None:
    cache = None if home.cache is None else str(home.cache)
    told = {"repo": home.repo, "key": home.key, "dir": str(home.dir), "cache": cache}
    part = home.folder / "info.json.part"
    with part.open("w") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(home.folder / "info.json")


def _read(folder: Path) -> Home:
    if folder.suffix:
        raise NotFound(f"{folder} is being removed")
    try:
        told: dict[str, Any] = json.loads((folder / "info.json").read_text())
        cache = None if told.get("cache") is None else Path(told["cache"])
        return Home(folder, told["repo"], told["key"], Path(told["dir"]), cache)
    except FileNotFoundError as exc:
        raise NotFound(f"no overlay in {folder}") from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"{folder / 'info.json'} cannot be read: {exc}") from exc
