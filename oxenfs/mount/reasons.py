"""What programs are told of a failure: an errno, and why, in `user.oxenfs.error`."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import pyfuse3

from oxenfs.errors import OxenfsError, RenumberedInode
from oxenfs.mount.blocks import Inode
from oxenfs.mount.errno import errno_of
from oxenfs.mount.inodes import Inodes

log = logging.getLogger(__name__)

ERROR_XATTR = "user.oxenfs.error"
_KEPT = 1000


class Reasons:
    """Why something failed last, by inode. Used from one trio loop."""

    def __init__(self, inodes: Inodes) -> None:
        """Know nothing yet of `inodes`."""
        self._inodes = inodes
        self._last: OrderedDict[Inode, str] = OrderedDict()

    def last(self, inode: Inode) -> bytes | None:
        """Return why the inode failed last; None if it never did."""
        reason = self._last.get(inode)
        return None if reason is None else reason.encode()

    async def error(self, inode: Inode) -> bytes | None:
        """Return what went wrong last, or what a node knows to be wrong with itself."""
        last = self.last(inode)
        if last is not None:
            # Without the tree: that may be what is damaged.
            return last
        with contextlib.suppress(OxenfsError):
            return (await (await self._inodes.node(inode)).xattrs()).get(ERROR_XATTR)
        return None

    async def note(self, inode: Inode, exc: Exception) -> None:
        """Keep the reason for `user.oxenfs.error`, and log it unless it is the last one again."""
        reason = str(exc)
        if self._last.get(inode) != reason:
            try:
                path = os.fsdecode(await self._inodes.path(inode))
            except Exception:
                # Nothing may leave a handler; a name in a message is not worth the mount.
                path = f"inode {inode}"
            log.error("cannot read %r: %s", path, reason)
        self._last[inode] = reason
        self._last.move_to_end(inode)
        if len(self._last) > _KEPT:
            self._last.popitem(last=False)


class Reasoned(Protocol):
    """Handlers of the kernel's requests. `Operations` is one."""

    reasons: Reasons


P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O", bound=Reasoned)  # noqa: E741


def guarded(
    handler: Callable[Concatenate[O, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[O, P], Coroutine[Any, Any, R]]:
    """Turn whatever a handler raises into an errno for the one program that asked."""

    @functools.wraps(handler)
    async def wrapped(self: O, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as exc:
            code = errno_of(exc)
            if code is None:
                log.exception("%s failed; this is a bug in oxenfs", handler.__name__)
                code = errno.EIO
            elif code in (errno.EIO, errno.ESTALE) and not isinstance(exc, RenumberedInode):
                # The first argument of every handler that gets here is an inode.
                await self.reasons.note(cast("Inode", args[0]), exc)
            raise pyfuse3.FUSEError(code) from None

    return wrapped
