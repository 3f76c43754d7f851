"""The daemon's end of one decoding child: its process, its socket, the bytes that it asks for."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import trio

import oxenfs
from oxenfs.errors import DecodeError, OxenfsError, VideoError
from oxenfs.frames import wire
from oxenfs.frames.jobs import Bytes, Job, Video
from oxenfs.frames.wire import BrokenWire, Head

log = logging.getLogger(__name__)

_READ_BYTES_MAX = 4 << 20
_SOCKET_BYTES = 4 << 20
_RECEIVE_BYTES = 256 << 10
_JOINED_BYTES = 16 << 10


class Child:
    """One child process.

    Attributes:
        jobs: what it was given and has not ended.
        at: the job it works on, or did; -1 before the first.
        video: the key of that job's video.
        heard: when it sent anything.
        since: when it began or finished anything last; asking for bytes does not count.
    """

    def __init__(self, failures: dict[str, OxenfsError]) -> None:
        """Start it. On the main thread: a child dies with the thread that has made it.

        `failures` gets errors of our own reads, by video.
        """
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        self._failures = failures
        self.jobs: dict[int, Job] = {}
        self.videos: dict[str, Video] = {}
        self.at = -1
        self.video = ""
        self.since = self.heard = trio.current_time()
        self._readers: dict[str, Bytes] = {}
        self._lock = trio.Lock()
        self._got = bytearray()
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

    def is_stuck(self, patience_s: float) -> bool:
        """Return whether it has begun nothing for so long though it has something to do."""
        if not self.jobs or self.at < 0:
            return False
        since = max(self.since, min(job.given for job in self.jobs.values()))
        return trio.current_time() - since > patience_s

    def kill(self) -> None:
        """End it; more than once is no error."""
        if self.process.returncode is None:
            self.process.kill()

    async def give(self, job: Job) -> None:
        """Hand a job to the child; if it is gone, `live` ends and the job moves on."""
        video = job.video
        job.given = trio.current_time()
        head, body = job.message()
        try:
            if video.key not in self.videos:
                self.videos[video.key] = video
            opening = wire.pack({"t": "open", "video": video.key, "size": video.size})
            await self.tell({**head, "id": job.id, "video": video.key}, body, before=opening)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.kill()

    async def tell(self, head: Head, body: bytes = b"", *, before: bytes = b"") -> None:
        """Send one message, and what is already packed before it: a child is woken once."""
        start = before + wire.pack(head, len(body))
        async with self._lock:
            if len(body) <= _JOINED_BYTES:
                await self._stream.send_all(start + body)
            else:
                await self._stream.send_all(start)
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
            if self.at in self.jobs:
                self.video = self.jobs[self.at].video.key
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
            self._failures[video.key] = exc
            await self.tell({"t": "failed", "why": str(exc)})
        except Exception as exc:
            log.exception("reading %s failed; this is a bug in oxenfs", video.label)
            await self.tell({"t": "failed", "why": f"internal error: {type(exc).__name__}"})
        else:
            await self.tell({"t": "data"}, data)

    async def _receive(self) -> tuple[Head, bytes]:
        await self._at_least(wire.HEADER.size)
        head, body = wire.lengths(self._got[: wire.HEADER.size])
        start = wire.HEADER.size + head
        if body > _RECEIVE_BYTES // 4:
            return await self._receive_large(start, body)
        await self._at_least(start + body)
        with memoryview(self._got) as got:
            parsed = wire.parse(got[wire.HEADER.size : start])
            data = bytes(got[start : start + body])
        del self._got[: start + body]
        return parsed, data

    async def _receive_large(self, start: int, body: int) -> tuple[Head, bytes]:
        """Receive a body into its place, such as a row of an array."""
        await self._at_least(start)
        parsed = wire.parse(self._got[wire.HEADER.size : start])
        data = bytearray(body)
        have = min(len(self._got) - start, body)
        data[:have] = self._got[start : start + have]
        del self._got[: start + have]
        with memoryview(data) as view:
            while have < body:
                received = await self._stream.socket.recv_into(view[have:])
                if not received:
                    raise BrokenWire("the child is gone")
                have += received
        return parsed, bytes(data)

    async def _at_least(self, size: int) -> None:
        """Receive until so much is here; mostly a message comes as one."""
        while len(self._got) < size:
            missing = min(size - len(self._got), _SOCKET_BYTES)
            received = await self._stream.socket.recv(max(missing, _RECEIVE_BYTES))
            if not received:
                raise BrokenWire("the child is gone")
            self._got += received


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
