"""Exceptions on their way from a daemon to the command that asked: as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oxenfs import errors
from oxenfs.errors import Conflict, MountError, OxenfsError


def to_json(exc: BaseException) -> dict[str, Any]:
    """Return what is needed to raise `exc` again elsewhere.

    An exception that is not ours keeps its type's name in the text: whoever reads it looks for
    it in the log.
    """
    if not isinstance(exc, OxenfsError):
        return {"type": "MountError", "message": f"internal error: {type(exc).__name__}: {exc}"}
    failure: dict[str, Any] = {"type": type(exc).__name__, "message": str(exc)}
    if isinstance(exc, Conflict):
        failure["paths"] = [path.decode("utf-8", "surrogateescape") for path in exc.paths]
    return failure


def from_json(failure: Mapping[str, Any]) -> OxenfsError:
    """Return the exception that `to_json` was given; a type not known here is a `MountError`."""
    message = str(failure.get("message", "failed without a reason"))
    kind = getattr(errors, str(failure.get("type")), MountError)
    if not (isinstance(kind, type) and issubclass(kind, OxenfsError)):
        kind = MountError
    if issubclass(kind, Conflict):
        paths = tuple(str(p).encode("utf-8", "surrogateescape") for p in failure.get("paths", ()))
        return kind(message, paths)
    return kind(message)
