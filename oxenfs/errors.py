"""What can go wrong, as exceptions. No errno here: `oxenfs.mount.errno` has the table.

The text of an exception is one line for a person: what happened and, where there is something to
do about it, what to type. Causes are kept with `raise ... from`.
"""

from __future__ import annotations


class OxenfsError(Exception):
    """Anything that oxenfs reports; the command line prints it in one line and exits with 1."""


class UsageError(OxenfsError):
    """The call itself is wrong: an address that cannot be one, options that exclude each other."""


class Conflict(OxenfsError):
    """Somebody else changed the same thing meanwhile, or the action would hide changes.

    Attributes:
        paths: what is in conflict, as repository paths; empty where it is not about paths.
    """

    def __init__(self, message: str, paths: tuple[bytes, ...] = ()) -> None:
        """Say what is in conflict, and over which paths."""
        super().__init__(message)
        self.paths = paths


class NothingToPublish(OxenfsError):
    """The change set changes nothing."""


class NotFound(OxenfsError):
    """There is no such repository, revision, commit, path, node or blob."""


class NotADirectory(OxenfsError):
    """A path goes on below something that is a file."""


class IsADirectory(OxenfsError):
    """A file is asked for, and the path is a directory."""


class Exists(OxenfsError):
    """Something is to be made where there is something already."""


class NotEmpty(OxenfsError):
    """A folder is to be removed or replaced, and has entries."""


class NotPermitted(OxenfsError):
    """An operation that this kind of file does not have, as a hard link to a folder."""


class InvalidMove(OxenfsError):
    """A folder is to be moved into itself, or a move has flags that exclude each other."""


class UpperFull(OxenfsError):
    """There is no space left for changes on the disk that holds them."""


class DiskError(OxenfsError):
    """The disk that holds changes refuses, for another reason than being full.

    Attributes:
        errno: what it says.
    """

    errno = 5

    def __init__(self, message: str, errno: int) -> None:
        """Say what failed, and how."""
        super().__init__(message)
        self.errno = errno


class ReadOnly(OxenfsError):
    """A write to something that takes none."""


class AccessDenied(OxenfsError):
    """The remote, or the operating system, refuses this user."""


class RemoteUnavailable(OxenfsError):
    """No answer from the remote within the deadline, after our own retries."""


class NoServer(RemoteUnavailable):
    """Nobody is at the address: no such host, or nothing listens there."""


class Busy(RemoteUnavailable):
    """The remote asks to come back later.

    Attributes:
        retry_after_s: when.
    """

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        """Say what is busy, and for how long."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RemoteRefused(OxenfsError):
    """The remote does not take the request, and will not take it again."""


class IntegrityError(OxenfsError):
    """Bytes that do not have the hash they should have; they are never handed on."""


class VideoError(OxenfsError):
    """A file is no video that can be shown, or not in the way that was asked for."""


class DecodeError(OxenfsError):
    """A frame, or the frames of a video, could not be made this time.

    Attributes:
        source: whether the video's bytes did not come; then it says nothing about the video.
    """

    def __init__(self, message: str, *, source: bool = False) -> None:
        """Say what failed."""
        super().__init__(message)
        self.source = source


class DamagedFrame(DecodeError):
    """A frame's own data is damaged, and no other may stand for it."""


class StaleRevision(OxenfsError):
    """The revision of an open file or folder is gone."""


class RenumberedInode(StaleRevision):
    """It has another number now. The kernel looks the name up again, and nobody hears of it."""


class Unsupported(OxenfsError):
    """A thing that Oxen cannot store: a symlink, a device, a name that is not UTF-8."""


class SourceChanged(OxenfsError):
    """A file was written to while it was being read for an import."""


class MountError(OxenfsError):
    """A mount cannot be made, reached or undone."""
