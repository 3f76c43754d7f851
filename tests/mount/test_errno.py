"""From exceptions to errno, row by row."""

from __future__ import annotations

import errno
import inspect

import pytest

from oxenfs import errors
from oxenfs.errors import OxenfsError
from oxenfs.mount.errno import ERRNO, errno_of
from oxenfs.mount.handles import UnknownHandle
from oxenfs.remote.revision import AmbiguousRevision

TABLE = {
    errors.NotFound: errno.ENOENT,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.Exists: errno.EEXIST,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.NotPermitted: errno.EPERM,
    errors.InvalidMove: errno.EINVAL,
    errors.UpperFull: errno.ENOSPC,
    errors.ReadOnly: errno.EROFS,
    errors.AccessDenied: errno.EACCES,
    errors.RemoteUnavailable: errno.EIO,
    errors.IntegrityError: errno.EIO,
    errors.VideoError: errno.EIO,
    errors.DecodeError: errno.EIO,
    errors.StaleRevision: errno.ESTALE,
    errors.Unsupported: errno.ENOTSUP,
    UnknownHandle: errno.EBADF,
    OxenfsError: errno.EIO,
}


@pytest.mark.parametrize(("cls", "code"), TABLE.items())
def test_an_exception_has_its_errno(cls: type[OxenfsError], code: int) -> None:
    assert errno_of(cls("why")) == code


def test_every_row_is_tested() -> None:
    assert ERRNO == TABLE


def test_a_subclass_has_the_errno_of_its_class() -> None:
    assert errno_of(AmbiguousRevision("several")) == errno.ENOENT


def test_everything_of_ours_has_an_errno() -> None:
    ours = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    assert len(ours) > 10
    for cls in ours:
        assert issubclass(cls, OxenfsError)
        # Without its arguments, which differ: the class alone decides.
        assert errno_of(cls.__new__(cls)) is not None


@pytest.mark.parametrize("exc", [ValueError(), KeyError(), OSError(errno.ENOSPC, "full")])
def test_what_is_not_ours_has_none(exc: Exception) -> None:
    assert errno_of(exc) is None


def test_what_the_disk_of_changes_says_is_handed_on() -> None:
    assert errno_of(errors.DiskError("too large", errno.EFBIG)) == errno.EFBIG
