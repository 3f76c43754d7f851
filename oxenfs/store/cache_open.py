"""Opens the disk cache, whatever state its last users left it in.

A file per user of the cache, locked as long as it lives, tells whether somebody was killed. After
that, or when somebody else changed a database, it is tried in another process first
(`oxenfs.store.cache_trial`). One that cannot be used is set aside and a new one is made: everything
can be fetched again. Nothing is ever walked at a start.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from pathlib import Path
from uuid import uuid4

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, open_environment
from oxenfs.store import cache_rows as rows
from oxenfs.store.cache import Cache
from oxenfs.store.cache_folder import BLOBS, INDEX, TREE, USERS, set_aside
from oxenfs.store.cache_room import LIMIT_BYTES
from oxenfs.store.cache_trial import broken, changed, note_left
from oxenfs.store.cache_trouble import DAMAGED
from oxenfs.store.eviction import recover

log = logging.getLogger(__name__)

_NEW = "new-"


def open_cache(cache_dir: Path, limit_bytes: int | None = None) -> Cache:
    """Return the cache of blobs below `cache_dir`; the caller closes it.

    Args:
        cache_dir: made, with mode 0700, if it is not there.
        limit_bytes: the limit from now on, for all who use the folder; None leaves it as it is.

    Raises:
        OxenfsError: it cannot be used at all: no permission, or no disk.
    """
    folder = cache_dir / BLOBS
    try:
        user = _sign_in(folder, try_first=True)
        if (folder / DAMAGED).exists():
            user = _replace(folder, user)
        try:
            env = _open_index(folder)
        except OxenfsError as exc:
            log.warning("%s", exc)
            user = _replace(folder, user)
            env = _open_index(folder)
    except OSError as exc:
        raise OxenfsError(f"cannot use the cache folder {folder}: {exc.strerror}") from exc
    before, now = _set_limit(env, limit_bytes)
    cache = _Signed(folder, env, user, now)
    if now < before:
        with contextlib.suppress(OxenfsError):
            cache.room.shrink()
    return cache


class _Signed(Cache):
    """A cache whose user is known to others."""

    def __init__(self, folder: Path, env: Environment, user: int, limit_bytes: int) -> None:
        super().__init__(folder, env, limit_bytes)
        self._user = user
        self._cleaner = threading.Thread(target=self._clean_up, daemon=True, name="cache clean-up")
        self._cleaner.start()

    def close(self) -> None:
        """Close everything, and say that it was done in order."""
        if self._user < 0:
            return
        self._cleaner.join()
        super().close()
        user, self._user = self._user, -1
        with contextlib.suppress(OSError):
            Path(f"/proc/self/fd/{user}").readlink().unlink()
            if not any(_former(self.folder / USERS)):
                note_left(self.folder.parent)
        os.close(user)

    def _clean_up(self) -> None:
        # Beside the start: it need not wait for it.
        try:
            self.env.forget_dead_readers()
            recover(self.env, self.segments)
            self.room.shrink()
        except (OxenfsError, OSError) as exc:
            log.warning("the cache in %s is not cleaned up: %s", self.folder, exc)


def _set_limit(env: Environment, limit_bytes: int | None) -> tuple[int, int]:
    """Set the limit; return what it was before, 0 if there was none, and is now."""
    try:
        with env.read() as txn:
            before = (
                rows.number(txn, rows.LIMIT) if txn.has("totals", rows.LIMIT.encode()) else None
            )
        wanted = limit_bytes if limit_bytes is not None else before
        if wanted is None:
            wanted = LIMIT_BYTES
        if wanted != before:
            with env.write() as txn:
                rows.set_number(txn, rows.LIMIT, wanted)
    except OxenfsError as exc:
        log.warning("the limit of the cache is not set: %s", exc)
        return 0, limit_bytes or 0
    return before or 0, wanted


def _sign_in(folder: Path, *, try_first: bool = False) -> int:
    """Return a locked file of this process's own.

    Args:
        folder: that of the blobs.
        try_first: whether to try databases that may be damaged, and set them aside if they are.
    """
    users = folder / USERS
    # Not `parents=True`: that gives parents the umask's mode.
    for each in (folder.parent, folder, users):
        if not each.is_dir():
            each.mkdir(mode=0o700, parents=each == folder.parent, exist_ok=True)
    dead, living = _former(users)
    if try_first and (dead or not living):
        names = (BLOBS, TREE) if dead else changed(folder.parent)
        found = broken(folder.parent, names, values=dead)
        for name in found:
            set_aside(folder.parent / name)
        if BLOBS in found:
            return _sign_in(folder)
    name = uuid4().hex
    new = users / f"{_NEW}{name}"
    fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    # Locked before it has its name, or it would look like a dead one's.
    new.rename(users / name)
    return fd


def _former(users: Path) -> tuple[bool, bool]:
    """Return whether a user was killed, who is forgotten with that, and whether one lives."""
    dead = living = False
    for path in users.iterdir():
        if path.name.startswith(_NEW):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dead = True
                path.unlink()
            except BlockingIOError:
                living = True
            finally:
                os.close(fd)
    return dead, living


def _replace(folder: Path, user: int) -> int:
    """Set a cache aside and sign in to a new one."""
    os.close(user)
    set_aside(folder)
    return _sign_in(folder)


def _open_index(folder: Path) -> Environment:
    return open_environment(folder / INDEX, rows.TABLES, durable=False)
