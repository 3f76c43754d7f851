"""LMDB's errors, and those of its files, as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import lmdb

from oxenfs.errors import AccessDenied, IntegrityError, OxenfsError

# What LMDB says when its pages make no sense; which of them depends on where it notices.
_DAMAGE = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.ProblemError,
)


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Translate what goes wrong while the environment in `path` is opened."""
    try:
        with translated(path):
            yield
    except PermissionError as exc:
        raise AccessDenied(f"no permission for the index in {path} ({exc})") from exc
    except (IsADirectoryError, NotADirectoryError) as exc:
        raise IntegrityError(f"the index in {path} is none: {exc.strerror}") from exc
    except OSError as exc:
        raise OxenfsError(f"the index in {path} cannot be opened: {exc.strerror}") from exc


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate what LMDB raises inside, about the environment in `path`."""
    try:
        yield
    except lmdb.Error as exc:
        raise translate(exc, path) from exc


def translate(exc: lmdb.Error, path: Path) -> OxenfsError:
    """Return what is raised for an error of LMDB, about the environment in `path`."""
    if isinstance(exc, lmdb.VersionMismatchError):
        return IntegrityError(f"the index in {path} was made by another version ({exc})")
    if isinstance(exc, _DAMAGE):
        return IntegrityError(f"the index in {path} is damaged ({exc})")
    if isinstance(exc, lmdb.ReadonlyError):
        return AccessDenied(f"the index in {path} is on a read-only disk")
    if isinstance(exc, lmdb.LockError):
        return AccessDenied(f"no permission for the index in {path} ({exc})")
    # A full disk shows here as "Input/output error" or ENOSPC, without an errno.
    return OxenfsError(f"the index in {path}: {exc}; is the disk full?")
