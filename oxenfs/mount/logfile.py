"""The log of one mount: where it is, how it is written."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from oxenfs import places
from oxenfs.mount.registry import mount_id

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FILE_BYTES, _FILES = 5 * 1024 * 1024, 3
_KEPT_S = 31 * 24 * 3600.0

_log = logging.getLogger("oxenfs")
_crash_log: int | None = None


class _Private(RotatingFileHandler):
    """Makes its files 0600, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        made = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return open(made, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123


class _OneLine(logging.Formatter):
    """What a person at the terminal wants to know; tracebacks are in the file."""

    def format(self, record: logging.LogRecord) -> str:
        return f"oxenfs: {record.getMessage()}"


def path_of(mountpoint: Path) -> Path:
    """Return where the mount at `mountpoint` (without symlinks) logs to; the folder exists then.

    Logs of other mount points to which nothing was written for a month are removed.
    """
    folder = places.state_dir() / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    oldest = time.time() - _KEPT_S
    for other in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if other.stat().st_mtime < oldest:
                other.unlink()
    return folder / f"{mount_id(mountpoint)}.log"


def start(path: Path, *, also_stderr: bool = False) -> None:
    """Send all logging of this process to `path` (0600, rotated), warnings also to stderr if asked.

    Exceptions that nobody catches are logged, in threads too, and a crash below Python (a bus
    error of a mapped file) writes its traceback there.
    """
    handler = _Private(
        path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    if also_stderr:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.WARNING)
        terminal.setFormatter(_OneLine())
        root.addHandler(terminal)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    # A descriptor of its own: the handler's is closed when the file rotates, and its number may
    # then be a database's.
    global _crash_log
    _crash_log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    faulthandler.enable(_crash_log, all_threads=True)


def tail(path: Path, lines: int = 3) -> str:
    """Return the last lines of the log in one line; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return " | ".join(line for line in text.splitlines()[-lines:] if line)


def _uncaught(
    kind: type[BaseException], exc: BaseException, traceback: TracebackType | None
) -> None:
    _log.critical("uncaught exception", exc_info=(kind, exc, traceback))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    exc = args.exc_value if args.exc_value is not None else args.exc_type()
    _log.error("uncaught exception in a thread", exc_info=(args.exc_type, exc, args.exc_traceback))
