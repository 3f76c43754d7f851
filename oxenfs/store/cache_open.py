"""Opens the disk cache, whatever state its last users left it in.

A file per user of the cache, locked as long as it lives, tells whether somebody was killed. After
that the index is tried in another process first, because a damaged page can kill the process that
looks at it. An index that cannot be used is set aside and a new one is made: everything can be
fetched again. Nothing is ever walked at a start.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from oxenfs.errors import OxenfsError
from oxenfs.kv import Environment, open_environment
from oxenfs.store import cache_rows as rows
from oxenfs.store.cache import Cache
from oxenfs.store.cache_room import LIMIT_BYTES
from oxenfs.store.cache_trouble import DAMAGED
from oxenfs.store.eviction import recover

log = logging.getLogger(__name__)

_INDEX = "index"
_USERS = "users"
_NEW = "new-"
_TRY_S = 20.0
_TRY_ROWS_S = 0.3


def open_cache(cache_dir: Path, limit_bytes: int | None = None) -> Cache:
    """Return the cache of blobs below `cache_dir`; the caller closes it.

    Args:
        cache_dir: made, with mode 0700, if it is not there.
        limit_bytes: the limit from now on, for all who use the folder; None leaves it as it is.

    Raises:
        OxenfsError: it cannot be used at all: no permission, or no disk.
    """
    folder = cache_dir / "blobs"
    try:
        user, unclean = _sign_in(folder)
        if (folder / DAMAGED).exists() or (unclean and not _survives_a_try(folder)):
            os.close(user)
            _set_aside(folder)
            user, _ = _sign_in(folder)
        try:
            env = _open_index(folder)
        except OxenfsError as exc:
            log.warning("%s", exc)
            os.close(user)
            _set_aside(folder)
            user, _ = _sign_in(folder)
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


def _sign_in(folder: Path) -> tuple[int, bool]:
    """Return a locked file of this process's own, and whether a former user was killed."""
    users = folder / _USERS
    # Not `parents=True`: that gives parents the umask's mode.
    for each in (folder.parent, folder, users):
        if not each.is_dir():
            each.mkdir(mode=0o700, parents=each == folder.parent, exist_ok=True)
    unclean = False
    for path in users.iterdir():
        if path.name.startswith(_NEW):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unclean = True
                path.unlink()
            finally:
                os.close(fd)
    name = uuid4().hex
    new = users / f"{_NEW}{name}"
    fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    # Locked before it has its name, or it would look like a dead one's.
    new.rename(users / name)
    return fd, unclean


def _open_index(folder: Path) -> Environment:
    return open_environment(folder / _INDEX, rows.TABLES, durable=False)


def _set_aside(folder: Path) -> None:
    """Move an unusable cache away, and delete its bytes beside the start; the index is kept."""
    aside = folder.with_name(f"{folder.name}.damaged")
    log.warning("the index of the cache %s is damaged; it is set aside as %s", folder, aside)
    old = folder.with_name(f"{folder.name}.old-{uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        aside.rename(old)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    _in_background(lambda: _delete(old, aside / "data"))


def _delete(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _in_background(call: Callable[[], None]) -> None:
    threading.Thread(target=call, daemon=True, name="cache set aside").start()


def _survives_a_try(folder: Path) -> bool:
    """Return whether a process can open the index, read from it and write to it, and live."""
    command = [sys.executable, "-m", "oxenfs.store.cache_open", os.fspath(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode:
        log.warning("the index of the cache does not open (status %d)", done.returncode)
    return done.returncode == 0


def try_index(folder: Path) -> None:
    """Open the index, read from each table for a while, write to it; raise what goes wrong."""
    env = _open_index(folder)
    try:
        until = time.monotonic() + _TRY_ROWS_S
        with env.read() as txn:
            for table in rows.TABLES:
                for turn, _ in enumerate(txn.scan(table)):
                    if turn % 256 == 0 and time.monotonic() > until:
                        break
        with env.write() as txn:
            rows.set_number(txn, "tried", time.time_ns())
    finally:
        env.close()


if __name__ == "__main__":
    try_index(Path(sys.argv[1]))
