"""Starts a mount in the background, or in the foreground, and says how it went.

The fork comes before trio and pyfuse3 are imported: threads and event loops do not survive one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from oxenfs import failures
from oxenfs.errors import MountError, OxenfsError
from oxenfs.model import hash_text
from oxenfs.mount import logfile, mountinfo, mountpoint, registry
from oxenfs.mount.served import Build, Options
from oxenfs.mount.spare import Spare, leave_home, take

_log = logging.getLogger(__name__)

_REPORT_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Started:
    """A mount that answers.

    Attributes:
        dir: the mount point, absolute and without symlinks.
        repo: the repository, without revision.
        revision: as typed; None for the default branch.
        branch: None if a commit is mounted.
        commit: its id.
        pid: of the process that serves it.
        log: where that process logs to.
        note: a sentence for whoever mounts, None if there is nothing to say.
    """

    dir: str
    repo: str
    revision: str | None
    branch: str | None
    commit: str
    pid: int
    log: str
    note: str | None = None


def start(path: str | os.PathLike[str], build: Build, options: Options) -> Started:
    """Mount on `path` in a new background process, and return when a listing of it is answered.

    The process is a session of its own, with its standard streams at /dev/null and no descriptor
    of ours. Call this in a process without threads.

    Args:
        path: the mount point.
        build: opens what is to be served; called in the new process, whose current folder is `/`.
        options: how to mount.

    Raises:
        OxenfsError: what kept it from mounting, of the type it had in the new process; nothing is
            left mounted or running.

    Interrupted (Ctrl-C), the new process is ended too.
    """
    where = mountinfo.real_path(path)
    log = logfile.path_of(where)
    spare = _ordered(where, build, options, log) or _forked(where, build, options, log)
    child, reading = _Child(spare.pid), spare.report
    try:
        report = _receive(reading)
        if report is None:
            raise MountError(_obituary(child.wait(), log))
        if "error" in report:
            child.wait()
            raise failures.from_json(report["error"])
        _list(where)
    except BaseException:
        child.end()
        raise
    finally:
        os.close(reading)
    return Started(**report["ready"])


def run(
    path: str | os.PathLike[str],
    build: Build,
    options: Options,
    on_ready: Callable[[Started], None],
) -> None:
    """Mount on `path` in this process, and return when it is unmounted.

    Ctrl-C, SIGTERM and SIGHUP unmount. `on_ready` is called when requests are answered.

    Raises:
        OxenfsError: what kept it from mounting, or ended the mount.
    """
    where = mountinfo.real_path(path)
    log = logfile.path_of(where)
    logfile.start(log, also_stderr=True)
    _serve(where, build, options, log, on_ready)


def _serve(
    where: Path,
    build: Build,
    options: Options,
    log: Path,
    on_ready: Callable[[Started], None],
) -> None:
    with registry.claim(where) as claim:
        mountpoint.prepare(where)
        from oxenfs.mount.serve import serve  # trio and pyfuse3: not before the fork

        served = build()
        facts = served.facts
        started = Started(
            dir=str(where),
            repo=facts.repo,
            revision=facts.revision,
            branch=facts.branch,
            commit=hash_text(facts.commit.id),
            pid=os.getpid(),
            log=str(log),
            note=facts.note,
        )
        serve(served, claim, options, log=log, on_ready=lambda: on_ready(started))


def _ordered(where: Path, build: Build, options: Options, log: Path) -> Spare | None:
    """Give the order to the process that waits; None if there is none any more."""
    spare = take()
    if spare is None:
        return None
    try:
        spare.order((where, build, options, log))
    except OSError:
        os.close(spare.report)
        return None
    return spare


def _forked(where: Path, build: Build, options: Options, log: Path) -> Spare:
    """Start a process that has its order already."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            leave_home({writing})
            live(where, build, options, log, writing)
        finally:
            # Never reached but by an error: the caller's clean-up is not ours to do.
            os._exit(1)
    os.close(writing)
    return Spare(pid, -1, reading)


class _Child:
    """The new process, as long as nobody has asked for its exit status its pid is its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for its end; return the exit code, or the negative signal."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def end(self) -> None:
        """Make it end, unless it has."""
        if self._status is None:
            os.kill(self._pid, signal.SIGTERM)
            self.wait()


class _Report:
    """The one message of the new process to the one that waits for it."""

    def __init__(self, pipe: int) -> None:
        self.pipe: int | None = pipe

    def send(self, message: dict[str, Any]) -> None:
        """Send `message` if it is the first; nobody listens for a second, it is in the log.

        Raises:
            BrokenPipeError: nobody listens for the first one either.
        """
        if self.pipe is None:
            return
        pipe, self.pipe = self.pipe, None
        try:
            os.write(pipe, json.dumps(message).encode() + b"\n")
        finally:
            os.close(pipe)


def live(where: Path, build: Build, options: Options, log: Path, pipe: int) -> NoReturn:
    """Be the background process, and end it: the caller's clean-up is not ours to do.

    Args:
        where: the mount point.
        build: opens what is to be served.
        options: how to mount.
        log: where to log to.
        pipe: takes the one message of how it went.
    """
    status = 1
    report = _Report(pipe)
    try:
        logfile.start(log)
        _serve(where, build, options, log, lambda ready: report.send({"ready": asdict(ready)}))
        status = 0
    except BaseException as exc:
        if isinstance(exc, OxenfsError):
            _log.error("%s", exc)
        else:
            _log.critical("internal error", exc_info=True)
        with contextlib.suppress(BrokenPipeError):
            report.send({"error": failures.to_json(exc)})
    finally:
        logging.shutdown()
        os._exit(status)


def _receive(reading: int) -> dict[str, Any] | None:
    """Return what the daemon reports; None if it ended without a word."""
    received = b""
    while b"\n" not in received and len(received) < _REPORT_BYTES_MAX:
        part = os.read(reading, 65536)
        if not part:
            return None
        received += part
    report: dict[str, Any] = json.loads(received.partition(b"\n")[0])
    return report


def _obituary(code: int, log: Path) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    last = logfile.tail(log)
    return f"the mount's process {how}; its log {log} ends: {last or '(empty)'}"


def _list(where: Path) -> None:
    """Read the first entry of the mount's root: a real request, which `stat` would not be."""
    try:
        with os.scandir(where) as listing:
            next(listing, None)
    except OSError as exc:
        raise MountError(f"mounted, but listing {where} fails: {exc.strerror}") from exc
