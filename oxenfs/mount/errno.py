"""From our exceptions to errno: one table."""

from __future__ import annotations

import errno

from oxenfs.errors import (
    AccessDenied,
    DecodeError,
    DiskError,
    Exists,
    IntegrityError,
    InvalidMove,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    OxenfsError,
    ReadOnly,
    RemoteUnavailable,
    StaleRevision,
    Unsupported,
    UpperFull,
    VideoError,
)
from oxenfs.mount.handles import UnknownHandle

ERRNO: dict[type[BaseException], int] = {
    NotFound: errno.ENOENT,
    NotADirectory: errno.ENOTDIR,
    IsADirectory: errno.EISDIR,
    Exists: errno.EEXIST,
    NotEmpty: errno.ENOTEMPTY,
    NotPermitted: errno.EPERM,
    InvalidMove: errno.EINVAL,
    UpperFull: errno.ENOSPC,
    # Programs can tell a read-only mount from missing rights.
    ReadOnly: errno.EROFS,
    AccessDenied: errno.EACCES,
    # After our own retries and deadline. EAGAIN would surprise readers of plain files.
    RemoteUnavailable: errno.EIO,
    # Wrong bytes are never returned.
    IntegrityError: errno.EIO,
    # A frame file is there, its picture cannot be made.
    VideoError: errno.EIO,
    DecodeError: errno.EIO,
    StaleRevision: errno.ESTALE,
    Unsupported: errno.ENOTSUP,
    UnknownHandle: errno.EBADF,
    # Whatever else of ours: a database on a full disk, for one.
    OxenfsError: errno.EIO,
}


def errno_of(exc: BaseException) -> int | None:
    """Return the errno for an exception; None for one that is not ours, which is our bug."""
    if isinstance(exc, DiskError):
        return exc.errno
    for cls in type(exc).__mro__:
        if cls in ERRNO:
            return ERRNO[cls]
    return None
