"""The daemon's end of the decoding children: starts, feeds, watches and ends them.

A child is given runs of frames and sends files back; it reads videos through us, by ranges. One
that stays on one video leaves others waiting behind it: those move to another child, a new one if
need be. One that dies takes nothing with it: what it was to do is given to another, twice at most.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

import oxenfs
from oxenfs.errors import DecodeError, OxenfsError, VideoError
from oxenfs.frames import wire
from oxenfs.frames.wire import BrokenWire, Buffer, Head

log = logging.getLogger(__name__)

CHILDREN = 2
CHILDREN_MAX = 6
_PATIENCE_S = 2.0
_SILENCE_S = 90.0
_WATCH_S = 0.25
_IDLE_S = 20.0
_ATTEMPTS = 3
_READ_BYTES_MAX = 4 << 20
_SOCKET_BYTES = 4 << 20
_NEAR = 32


class Bytes(Protocol):
    """An open video. `oxenfs.views.base.Reader` is one."""

    async def read(self, offset: int, size: int) -> Buffer:
        """Return the bytes from `offset` on; the buffer may be reused after the next await."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video as the view knows it.

    Attributes:
        key: the same for the same bytes, in every mount and for ever.
        size: in bytes.
        open: opens it for reading.
        label: for messages.
    """

    key: str
    size: int
    open: Callable[[], Awaitable[Bytes]] = field(compare=False)
    label: str = field(compare=False, default="")


class Job:
    """Something for a child to do, and what comes of it. Methods are called on the trio loop.

    Attributes:
        video: what it is about.
        urgent: somebody waits for it.
        awaited: the frames that somebody waits for.
        place: the frame it is about, -1 for all.
        child: who has it; None between two.
    """

    def __init__(self, video: Video, *, urgent: bool, place: int = -1) -> None:
        """Describe the job; `Pool.give` starts it."""
        self.id = 0
        self.video = video
        self.urgent = urgent
        self.awaited = {place} if urgent else set()
        self.place = place
        self.child: Child | None = None
        self.attempts = 0

    def message(self) -> tuple[Head, bytes]:
        """Return what the child is told, less the id and the video."""
        raise NotImplementedError

    def take(self, head: Head, body: bytes) -> None:
        """Take a message about this job."""
        raise NotImplementedError

    def fail(self, exc: Exception) -> None:
        """The job is over, without a result."""
        raise NotImplementedError

    def end(self) -> None:
        """The job is over."""


class Child:
    """One child process.

    Attributes:
        jobs: what it was given and has not ended.
        at: the job it works on.
        heard: when it sent anything.
        since: when it began or finished anything last; asking for bytes does not count.
    """

    def __init__(self, pool: Pool) -> None:
        """Start it. On the main thread: a child dies with the thread that has made it."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        self._pool = pool
        self.jobs: dict[int, Job] = {}
        self.videos: dict[str, Video] = {}
        self.at = -1
        self.since = self.heard = trio.current_time()
        self._readers: dict[str, Bytes] = {}
        self._lock = trio.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "oxenfs.frames.worker",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
            )
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    @property
    def urgent(self) -> int:
        """How many jobs somebody waits for."""
        return sum(job.urgent for job in self.jobs.values())

    async def live(self) -> None:
        """Take what the child sends until it ends or is cancelled; then it is gone."""
        try:
            while True:
                await self._take(*await self._receive())
        except (BrokenWire, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception:
            # Whatever a child sends, it may end itself only.
            log.exception("a decoding process sends what it should not; it is ended")
        finally:
            self.kill()
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            with trio.CancelScope(shield=True):
                await self._stream.aclose()
                await trio.to_thread.run_sync(self.process.wait)

    def kill(self) -> None:
        """End it; more than once is no error."""
        if self.process.returncode is None:
            self.process.kill()

    async def give(self, job: Job) -> None:
        """Hand a job to the child; if it is gone, `live` ends and the job moves on."""
        video = job.video
        head, body = job.message()
        try:
            if video.key not in self.videos:
                self.videos[video.key] = video
            await self.tell({"t": "open", "video": video.key, "size": video.size})
            await self.tell({**head, "id": job.id, "video": video.key}, body)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.kill()

    async def tell(self, head: Head, body: bytes = b"") -> None:
        """Send one message."""
        async with self._lock:
            await self._stream.send_all(wire.pack(head, len(body)))
            if body:
                await self._stream.send_all(body)

    async def _take(self, head: Head, body: bytes) -> None:
        self.heard = trio.current_time()
        kind = head.get("t")
        if kind == "read":
            await self._read(head)
            self.heard = trio.current_time()
            return
        self.since = self.heard
        if kind == "begun":
            self.at = int(head.get("id", -1))
            return
        job = self.jobs.get(head.get("id", -1))
        if job is None:
            return
        if kind in ("planned", "made", "missing"):
            job.take(head, body)
        if kind == "refused":
            del self.jobs[job.id]
            job.fail(_refusal(job.video, head))
        elif kind in ("planned", "ended"):
            del self.jobs[job.id]
            job.end()

    async def _read(self, head: Head) -> None:
        offset, size = head.get("offset"), head.get("size")
        video = self.videos.get(str(head.get("video")))
        if (
            video is None
            or not isinstance(offset, int)
            or not isinstance(size, int)
            or not 0 <= offset <= offset + size <= video.size
            or size > _READ_BYTES_MAX
        ):
            raise BrokenWire("a child asks for what it may not have")
        try:
            reader = self._readers.get(video.key)
            if reader is None:
                reader = self._readers[video.key] = await video.open()
            # A copy: the reader may reuse its buffer at the next await.
            data = bytes(await reader.read(offset, size))
        except OxenfsError as exc:
            self._pool.failures[video.key] = exc
            await self.tell({"t": "failed", "why": str(exc)})
        except Exception as exc:
            log.exception("reading %s failed; this is a bug in oxenfs", video.label)
            await self.tell({"t": "failed", "why": f"internal error: {type(exc).__name__}"})
        else:
            await self.tell({"t": "data"}, data)

    async def _receive(self) -> tuple[Head, bytes]:
        head, body = wire.lengths(await self._exactly(wire.HEADER.size))
        return wire.parse(await self._exactly(head)), bytes(await self._exactly(body))

    async def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size:
            received = await self._stream.socket.recv_into(view[got:])
            if not received:
                raise BrokenWire("the child is gone")
            got += received
        return data


class Pool:
    """The children of a mount. Used from one trio loop, inside `running`.

    Attributes:
        failures: the last error of our own reads, by video: to be raised as it was.
    """

    def __init__(self, children: int = CHILDREN) -> None:
        """Use up to `children` of them, more only where some are stuck."""
        self._base = children
        self._children: list[Child] = []
        self._ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._started = trio.Event()
        self.failures: dict[str, OxenfsError] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let jobs be given inside; at the end all children are killed."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._started.set()
            nursery.start_soon(self._watch)
            try:
                yield
            finally:
                self._nursery = None
                self._started = trio.Event()
                nursery.cancel_scope.cancel()

    def prepare(self) -> None:
        """Start a child ahead of the first job, as it takes a fifth of a second."""
        if self._nursery is not None and not self._children:
            self._start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the children."""
        return [child.process.pid for child in self._children]

    async def give(self, job: Job) -> None:
        """Let a child do `job`; returns when it knows."""
        await self._started.wait()
        await self._assign(job)

    async def urge(self, job: Job, frame: int) -> None:
        """Let a job come next: somebody waits for one of its frames now."""
        if frame in job.awaited:
            return
        job.awaited.add(frame)
        job.urgent = True
        if job.child is not None and job.id in job.child.jobs:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await job.child.tell({"t": "urge", "id": job.id, "frame": frame})

    async def _assign(self, job: Job) -> None:
        job.attempts += 1
        await self._hand(job, self._choose(job))

    async def _hand(self, job: Job, child: Child) -> None:
        # A number of its own each time: what an earlier child says about it counts no more.
        job.id = next(self._ids)
        job.child = child
        child.jobs[job.id] = job
        await child.give(job)

    def _choose(self, job: Job, but: Child | None = None) -> Child:
        """Return who is to do a job: somebody free, who knows the video if possible."""
        others = [child for child in self._children if child is not but]
        if but is None and job.urgent:
            for child in others:
                if any(_neighbours(job, other) for other in child.jobs.values()):
                    return child  # on the way to that one, or just behind it

        def burden(child: Child) -> tuple[int, bool, int]:
            return (child.urgent, job.video.key not in child.videos, len(child.jobs))

        best = min(others, key=burden, default=None)
        if best is not None and best.urgent == 0 and (job.urgent or not best.jobs):
            return best
        if best is not None and not job.urgent and job.video.key in best.videos:
            return best
        if len(self._children) < self._base or best is None:
            return self._start()
        return best

    def _start(self) -> Child:
        if self._nursery is None:
            raise DecodeError("the mount is ending")
        try:
            child = Child(self)
        except OSError as exc:
            raise DecodeError(f"no process to decode in: {exc.strerror}") from exc
        self._children.append(child)
        self._nursery.start_soon(self._live, child)
        return child

    async def _live(self, child: Child) -> None:
        try:
            await child.live()
        finally:
            self._children.remove(child)
            left = list(child.jobs.values())
            child.jobs.clear()
            for job in left:
                job.child = None
                if self._nursery is None:
                    job.fail(DecodeError("the mount is ending"))
        code = child.process.returncode
        if left:
            log.warning("a decoding process ended (%s) over %s", code, left[0].video.label)
        for job in left:
            # The one it worked on is under suspicion; those that only waited are not.
            if job.id != child.at:
                job.attempts -= 1
            if job.attempts >= _ATTEMPTS:
                job.fail(DecodeError(f"decoding ends its process ({_cause(code)})"))
                continue
            try:
                await self._assign(job)
            except OxenfsError as exc:
                job.fail(exc)

    async def _watch(self) -> None:
        """Move jobs away from who is stuck, end who is silent, let go of who is not needed."""
        while True:
            await trio.sleep(_WATCH_S)
            now = trio.current_time()
            for child in list(self._children):
                if child.jobs and now - child.heard > _SILENCE_S:
                    log.warning("a decoding process is silent for %g s; ending it", _SILENCE_S)
                    child.kill()
                elif child.at in child.jobs and now - child.since > _PATIENCE_S:
                    for job in [j for j in child.jobs.values() if j.urgent and j.id != child.at]:
                        if job.id in child.jobs and child.at in child.jobs:
                            with contextlib.suppress(OxenfsError):
                                await self._move(job, child)
            idle = [c for c in self._children if not c.jobs and now - c.heard > _IDLE_S]
            for child in idle[: max(len(self._children) - self._base, 0)]:
                child.kill()

    async def _move(self, job: Job, stuck: Child) -> None:
        if stuck.jobs[stuck.at].video.key == job.video.key:
            return  # it waits for its own video
        other = self._choose(job, but=stuck)
        if other.urgent and len(self._children) < CHILDREN_MAX:
            other = self._start()
        dropped = job.id
        del stuck.jobs[dropped]
        await self._hand(job, other)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stuck.tell({"t": "drop", "id": dropped})


def _neighbours(job: Job, other: Job) -> bool:
    return (
        other.urgent
        and job.video.key == other.video.key
        and min(job.place, other.place) >= 0
        and abs(job.place - other.place) <= _NEAR
    )


def _environment() -> dict[str, str]:
    """Return all that a child knows of ours: where Python's modules are."""
    ours = str(Path(oxenfs.__file__).parents[1])
    paths = [ours, *(path for path in sys.path if path and path != ours)]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "LC_ALL": "C.UTF-8",
        "PYTHONNOUSERSITE": "1",
        # Pictures of closed decoders go back to the system: glibc would keep half of them.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": str(256 << 10),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 20),
    }


def _refusal(video: Video, head: Head) -> Exception:
    why = str(head.get("why", ""))[:1000]
    if head.get("source"):
        return DecodeError(why, source=True)
    return DecodeError(why) if head.get("ours") else VideoError(why)


def _cause(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"status {code}"
