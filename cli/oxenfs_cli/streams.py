"""The standard streams of a command: what cannot be written ends it, in one line, whoever prints.

An `OSError` of a `print` looks like any other; one of a file or a socket must not be taken for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO, cast


class OutputError(Exception):
    """The output takes no more; `__cause__` says why. Not an `OSError`: nobody takes it for one."""

    @property
    def reader_is_gone(self) -> bool:
        """Whether whoever read it has gone, which is no failure of theirs or ours."""
        return isinstance(self.__cause__, BrokenPipeError)

    @property
    def reason(self) -> str:
        """Why, in the system's words."""
        cause = self.__cause__
        return (cause.strerror if isinstance(cause, OSError) else None) or "it is closed"


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise `OutputError` for what goes wrong with writing."""
    try:
        yield
    except OSError as exc:
        raise OutputError from exc


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Let `sys.stdout` raise `OutputError`, also where it is closed; and let all be open."""
    before = sys.stdout, sys.stderr
    # A repository's file would be opened as descriptor 1 or 2, and get what others print.
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if cast("TextIO | None", sys.stderr) is None:
        # Python prints to stdout what is for a stderr that is None.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stdout = cast("TextIO", _Output(sys.stdout))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def let_go() -> None:
    """Write what is left of the output nowhere: the flush at exit must not complain again."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output:
    """A text stream, or none, whose errors are `OutputError`."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        if stream is not None:
            self.encoding = stream.encoding

    @property
    def buffer(self) -> BinaryIO:
        """The stream below; whoever writes to it uses `told`."""
        if self._stream is None:
            raise OutputError
        return self._stream.buffer

    def write(self, text: str) -> int:
        """Write text; raise `OutputError`."""
        if self._stream is None:
            raise OutputError
        with told():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write what waits; raise `OutputError`."""
        if self._stream is not None:
            with told():
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
