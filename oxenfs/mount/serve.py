"""Runs one mount in this process: the main loop, signals, the control socket, the end."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyfuse3
import trio

from oxenfs.errors import MountError, OxenfsError
from oxenfs.model import hash_text
from oxenfs.mount import control, kernel, prompt, tuning
from oxenfs.mount.control import Command, Send
from oxenfs.mount.detach import detach
from oxenfs.mount.mountinfo import Mounted
from oxenfs.mount.registry import Claim
from oxenfs.mount.served import Options, Served, address_of

if TYPE_CHECKING:
    from oxenfs.views.plan import Facts

_log = logging.getLogger(__name__)

STOP_S = 5.0
"""How long tasks may take to end when the mount is to stop; after it the process ends anyway."""

_HEARTBEAT_S = 1.0
_STARTED = time.time()
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# pyfuse3 takes 99 requests at a time by default; more may wait in the background alone. A task
# that waits costs some KB.
_TASKS_MAX = tuning.MAX_BACKGROUND + 64


def serve(
    served: Served,
    claim: Claim,
    options: Options,
    *,
    log: Path,
    on_ready: Callable[[], None],
) -> None:
    """Mount on the claimed folder and serve it until it is unmounted or told to stop. Blocks.

    SIGTERM, SIGINT, SIGHUP and the command `stop` cancel whatever is under way and unmount. An
    exception that is nobody's answer to a request leaves the mount in place, dead, so that
    programs see errors instead of an empty folder.

    Args:
        served: what; closed at the end in any case.
        claim: where; described here when the kernel has the mount.
        options: how.
        log: where this process logs to, for the registry.
        on_ready: called when the kernel's first request is answered and its limits are raised. If
            it raises `BrokenPipeError`, the mount is stopped.

    Raises:
        MountError: it could not be mounted, or the mount ended by an internal error.
    """
    try:
        with _early_signals() as early:
            mounted = kernel.mount(served.operations, claim.dir, address_of(served.facts), options)
            _log.info("mounted %s on %s", mounted.source, mounted.path)
            watchdog = _Watchdog(mounted)
            life = _Life(served, claim, mounted, on_ready, watchdog)
            try:
                claim.describe(mounted.device, **_facts(served.facts, log))
                if served.shown is not None:
                    served.shown.listen(
                        lambda facts: claim.describe(mounted.device, **_facts(facts, log))
                    )
                trio.run(life.run, early)
                if life.failure is not None:
                    raise life.failure
            except BaseException as exc:
                if not life.ready:  # nobody works in it yet
                    kernel.unmount(mounted)
                    raise
                _log.critical("the mount at %s ends", claim.dir, exc_info=True)
                kernel.abandon()
                raise MountError(
                    f"the mount at {claim.dir} ended by an internal error; its log is {log}"
                ) from exc
            else:
                kernel.unmount(mounted)
                _log.info("unmounted %s", mounted.path)
            finally:
                watchdog.done()
    finally:
        served.operations.close()
        served.close()


class _Life:
    """The tasks of a mounted file system.

    Attributes:
        ready: whether requests are answered, or were once.
        failure: what kept it from becoming ready, though the kernel has the mount.
    """

    def __init__(
        self,
        served: Served,
        claim: Claim,
        mounted: Mounted,
        on_ready: Callable[[], None],
        watchdog: _Watchdog,
    ) -> None:
        self._served = served
        self._claim = claim
        self._mounted = mounted
        self._on_ready = on_ready
        self._watchdog = watchdog
        self._scope = trio.CancelScope()
        self.ready = False
        self.failure: OxenfsError | None = None

    async def run(self, early: list[int]) -> None:
        """Serve until unmounted or stopped; `early` are signals that came before this."""
        answered = trio.Event()
        self._served.operations.on_ready = answered.set
        with (
            _heartbeat(),
            control.listening(self._claim.folder) as listener,
            trio.open_signal_receiver(*_STOP_SIGNALS) as signals,
            self._scope,
        ):
            if early:
                self.stop(signal.Signals(early[0]).name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on, signals)
                nursery.start_soon(control.serve, listener, self._commands())
                nursery.start_soon(self._tell_ready, answered)
                self._served.operations.attach(nursery)
                prompt.install()
                try:
                    await pyfuse3.main(max_tasks=_TASKS_MAX)
                finally:
                    self._served.operations.detach()
                _log.info("the kernel has ended the session")
                nursery.cancel_scope.cancel()

    def stop(self, why: str) -> None:
        """Cancel everything and unmount. From the trio loop."""
        _log.info("stopping: %s", why)
        self._watchdog.start()
        self._scope.cancel()

    async def _stop_on(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self.stop(signal.Signals(number).name)

    async def _tell_ready(self, answered: trio.Event) -> None:
        await answered.wait()
        # Only now: the answer to INIT sets the kernel's own limits.
        raise_limits = functools.partial(tuning.raise_limits, self._mounted.device)
        for sentence in await trio.to_thread.run_sync(raise_limits):
            _log.info("%s", sentence)
        if self._served.arrive is not None:
            try:
                await trio.to_thread.run_sync(self._served.arrive)
            except OxenfsError as exc:
                self.failure = exc
                self.stop(str(exc))
                return
        self.ready = True
        try:
            self._on_ready()
        except BrokenPipeError:
            # Killed while it waited for us: nobody knows of this mount, and nobody would undo it.
            self.stop("the command that asked for the mount is gone")

    def _commands(self) -> Mapping[str, Command]:
        async def info(request: Mapping[str, Any], send: Send) -> Any:
            await trio.lowlevel.checkpoint()
            served = self._served
            facts = served.facts if served.shown is None else served.shown.facts
            return {"dir": str(self._claim.dir), "pid": os.getpid(), **_shown(facts)}

        async def stop(request: Mapping[str, Any], send: Send) -> Any:
            await trio.lowlevel.checkpoint()
            self.stop("asked to by the control socket")

        async def release(request: Mapping[str, Any], send: Send) -> Any:
            # After a lazy unmount: the mount point is free for others, though we still serve
            # files that are open.
            await trio.lowlevel.checkpoint()
            _log.info("unmounted lazily; ending when the last open file is closed")
            self._claim.release()

        own = {"info": Command(info), "stop": Command(stop), "release": Command(release)}
        return {**self._served.commands, **own}


class _Watchdog:
    """Ends the process when stopping takes too long: a thread may hang in a dead disk's read."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._timer = threading.Timer(STOP_S, self._give_up)
        self._timer.daemon = True

    def start(self) -> None:
        """Begin to count; twice is no error."""
        if not self._timer.is_alive():
            with contextlib.suppress(RuntimeError):
                self._timer.start()

    def done(self) -> None:
        """Stop counting."""
        self._timer.cancel()

    def _give_up(self) -> None:
        _log.error("tasks do not end in %g s; ending without them", STOP_S)
        with contextlib.suppress(MountError):
            detach(self._mounted.path, lazy=True)
        os._exit(1)


@contextlib.contextmanager
def _heartbeat() -> Iterator[None]:
    """Let a signal come once a second while the mount is served.

    pyfuse3 reads requests from a descriptor that blocks. A request that is withdrawn after `poll`
    has seen it (its reader was killed) would hold the loop, and all other readers, until the next
    one comes; a signal ends that read, and pyfuse3 goes on.
    """
    old = signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    signal.setitimer(signal.ITIMER_REAL, _HEARTBEAT_S, _HEARTBEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@contextlib.contextmanager
def _early_signals() -> Iterator[list[int]]:
    """Collect stop signals that come while trio does not listen: between mounting and the loop.

    Their default would end the process and leave a dead mount.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _frame: came.append(received))
        for number in _STOP_SIGNALS
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown(facts: Facts) -> dict[str, Any]:
    return {
        "repo": facts.repo,
        "revision": facts.revision,
        "branch": facts.branch,
        "commit": hash_text(facts.commit.id),
    }


def _facts(facts: Facts, log: Path) -> dict[str, Any]:
    overlay = None if facts.overlay is None else str(facts.overlay)
    base = None if overlay is None else hash_text(facts.commit.id)
    more = {"base": base, "overlay": overlay, "log": str(log), "started": _STARTED}
    return {**_shown(facts), **more}
