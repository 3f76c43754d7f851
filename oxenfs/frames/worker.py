"""A decoding child: `python -m oxenfs.frames.worker FD PARENT`, its socket on FD.

It has no other descriptor, no token and no environment; it limits itself before it looks at any
video, and dies with its parent. One thread works through runs of frames; between two frames it
looks whether something more urgent has come.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from oxenfs.frames import wire
from oxenfs.frames.wire import BrokenWire, Head

ADDRESS_BYTES = 4 << 30
CPU_S = 120
"""For one run of frames or one plan; a video that takes longer ends the child."""

_FILES = 16
_VIDEOS = 16
_TURN = 8
_PR_SET_PDEATHSIG = 1


class Channel:
    """The socket to the daemon, blocking."""

    def __init__(self, connection: socket.socket) -> None:
        """Speak over `connection`."""
        self._socket = connection
        self._waiting: deque[tuple[Head, bytes]] = deque()

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send one message."""
        start = wire.pack(head, len(body))
        if len(body) < 65536:
            self._socket.sendall(start + body)
        else:
            self._socket.sendall(start)
            self._socket.sendall(body)

    def pending(self) -> bool:
        """Return whether a message waits to be received."""
        return bool(self._waiting) or bool(select.select([self._socket], [], [], 0)[0])

    def receive(self) -> tuple[Head, bytes]:
        """Return the next message; wait for it."""
        return self._waiting.popleft() if self._waiting else self._next()

    def answer(self) -> tuple[Head, bytes]:
        """Return the answer to `read`; what comes before it waits."""
        while True:
            message = self._next()
            if message[0].get("t") in ("data", "failed"):
                return message
            self._waiting.append(message)

    def _next(self) -> tuple[Head, bytes]:
        head, body = wire.lengths(self._exactly(wire.HEADER.size))
        return wire.parse(self._exactly(head)), self._exactly(body)

    def _exactly(self, size: int) -> bytes:
        if not size:
            return b""
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size:
            received = self._socket.recv_into(view[got:])
            if not received:
                raise BrokenWire("the daemon is gone")
            got += received
        return bytes(data)


class Worker:
    """What a child does with its messages."""

    def __init__(self, channel: Channel) -> None:
        """Work for whoever is at the other end of `channel`."""
        # Here, not above: limits come before the codec library.
        from oxenfs.frames import videos
        from oxenfs.frames.container import BadVideo
        from oxenfs.frames.source import SourceFailed

        self._videos_module = videos
        self._bad, self._failed = BadVideo, SourceFailed
        self._channel = channel
        self._videos: OrderedDict[str, Any] = OrderedDict()
        self._decoders = videos.Decoders()
        self._pipelines = videos.Pipelines()
        self._runs: list[Any] = []
        self._at = -1

    def work(self) -> None:
        """Work until the daemon goes away."""
        turn = 0
        while True:
            while not self._runs or self._channel.pending():
                self._take(*self._channel.receive())
            run = self._choose()
            _allow_cpu()
            self._step(run)
            turn += 1
            if turn >= _TURN and len(self._runs) > 1:
                turn = 0
                if run in self._runs:
                    self._runs.remove(run)
                    self._runs.append(run)

    def _choose(self) -> Any:
        """Return whom to do something for: who waits, in order; then the others.

        Of those who wait for the same video, the one whose frame is nearest to a decoder.
        """
        first = min(self._runs, key=_rank)
        if _rank(first):
            return first
        same = [run for run in self._runs if run.name == first.name and not _rank(run)]
        if len(same) == 1:
            return first
        return min(same, key=lambda run: self._decoders.cost(run.name, run.video, run.next))

    def _take(self, head: Head, body: bytes) -> None:
        kind = head["t"]
        if kind == "open":
            self._open(head["video"], head["size"])
        elif kind == "plan":
            _allow_cpu()
            self._plan(head, body)
        elif kind == "run":
            self._start(head)
        elif kind == "urge":
            for run in self._runs:
                if run.id == head["id"]:
                    run.awaited.add(head["frame"])
        elif kind == "drop":
            self._runs = [run for run in self._runs if run.id != head["id"]]
            self._channel.send({"t": "ended", "id": head["id"]})

    def _open(self, name: str, size: int) -> None:
        from oxenfs.frames.source import Source

        if name not in self._videos:

            def fetch(offset: int, length: int) -> bytes:
                return self._fetch(name, offset, length)

            self._videos[name] = self._videos_module.Video(Source(fetch, size), self._pipelines)
            while len(self._videos) > _VIDEOS:
                busy = {run.name for run in self._runs} | {name}
                idle = [other for other in self._videos if other not in busy]
                if not idle:
                    break
                del self._videos[idle[0]]
                self._decoders.forget(idle[0])
        self._videos.move_to_end(name)

    def _fetch(self, name: str, offset: int, length: int) -> bytes:
        self._channel.send({"t": "read", "video": name, "offset": offset, "size": length})
        head, body = self._channel.answer()
        if head["t"] == "failed":
            raise self._failed(head["why"])
        if len(body) != length:
            raise self._failed("the video ends before its size")
        return body

    def _plan(self, head: Head, body: bytes) -> None:
        from oxenfs.frames.spec import parse

        job = head["id"]
        try:
            self._begin(job)
            video = self._videos[head["video"]]
            facts, index, picks = self._videos_module.plan(video, parse(head["spec"]), body or None)
        except Exception as exc:
            if not isinstance(exc, self._bad | self._failed | BrokenWire | ConnectionError):
                # A bug of ours or of the library, and the same one at every try: a folder that
                # says so is better than one that cannot be read.
                exc = self._bad(f"internal error: {type(exc).__name__}: {exc}")
            self._refuse(job, head["video"], exc)
        else:
            self._decoders.adopt(head["video"], video)
            body = picks.tobytes() + index
            self._channel.send({"t": "planned", "id": job, **facts, "index": len(index)}, body)
            first = head.get("first", -1)
            if 0 <= first < len(picks) and not self._runs:
                # It will be asked for as soon as the plan has gone its way: be there by then.
                self._decoders.approach(head["video"], video, picks[first])

    def _start(self, head: Head) -> None:
        from oxenfs.frames.spec import parse

        spec = parse(head["spec"])
        pictures = spec.pictures.as_rows() if head["rows"] else spec.pictures
        order = self._videos_module.Order(
            spec,
            pictures,
            head["frames"],
            spec.holds or head["rows"],
            head["files"],
            head["jumps"],
        )
        name = head["video"]
        video = self._videos[name]
        run = self._videos_module.Run(head["id"], name, video, order, head["awaited"])
        self._runs.append(run)
        self._end(run)

    def _begin(self, id: int) -> None:
        if id != self._at:
            self._at = id
            self._channel.send({"t": "begun", "id": id})

    def _step(self, run: Any) -> None:
        """Make one frame of a run; before that, others that passed by if there are too many."""
        most = self._videos_module.PASSING_BYTES
        held = sum(run.passed_bytes for run in self._runs)
        if held > most - most // 4 and run.next is not None:
            # They were taken as they are worth it. Half of the room is for this run.
            while held > most // 2:
                full = next(run for run in self._runs if run.passed_bytes)
                self._make(full, full.make_passed)
                held = sum(run.passed_bytes for run in self._runs)
        room = most - held
        if run.next is None:
            self._make(run, run.make_passed)
            return
        for other in [other for other in self._runs if other.name == run.name]:
            if other is not run:
                other.give(run)
                self._end(other)
        self._make(run, lambda: run.make(self._decoders, max(room, 0)))

    def _make(self, run: Any, make: Callable[[], tuple[int, bytes | None]]) -> None:
        self._begin(run.id)
        try:
            frame, data = make()
        except Exception as exc:
            if isinstance(exc, BrokenWire | BrokenPipeError | ConnectionError):
                raise
            self._decoders.forget(run.name)
            self._finish(run)
            self._refuse(run.id, run.name, exc)
            return
        if data is None:
            self._channel.send({"t": "missing", "id": run.id, "frame": frame})
        else:
            self._channel.send({"t": "made", "id": run.id, "frame": frame}, data)
        for other in [other for other in self._runs if other.name == run.name]:
            if other is not run:
                other.spare(run, frame)
                self._end(other)
        self._end(run)

    def _end(self, run: Any) -> None:
        if run.done:
            self._finish(run)
            self._channel.send({"t": "ended", "id": run.id})

    def _finish(self, run: Any) -> None:
        if run in self._runs:
            self._runs.remove(run)

    def _refuse(self, id: int, name: str, exc: Exception) -> None:
        if isinstance(exc, BrokenWire | ConnectionError):
            raise exc
        try:
            if name in self._videos:
                # Whatever came of it: the reason is that bytes did not come.
                self._videos[name].source.check()
        except self._failed as failed:
            exc = failed
        ours = not isinstance(exc, self._bad)
        source = isinstance(exc, self._failed)
        why = str(exc) if source or not ours else f"{type(exc).__name__}: {exc}"
        self._channel.send({"t": "refused", "id": id, "why": why, "ours": ours, "source": source})


def _rank(run: Any) -> int:
    """Return how soon a run's turn is: somebody waits, somebody will, or it passed by."""
    return 2 if run.next is None else 0 if run.awaited else 1


_allowed = 0


def _allow_cpu() -> None:
    """Let what comes next take `CPU_S`. Called for each frame; the kernel is told once a second."""
    global _allowed
    soft = int(time.process_time()) + CPU_S + 1
    if soft != _allowed:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        _allowed = soft


def _limit(parent: int) -> None:
    """Leave this process only what decoding takes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it went before it could take us along
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> None:
    """Work for the daemon until it goes away."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _limit(int(sys.argv[2]))
    connection = socket.socket(fileno=int(sys.argv[1]))
    channel = Channel(connection)
    try:
        worker = Worker(channel)
        gc.freeze()  # what was imported stays
        channel.send({"t": "ready"})
        worker.work()
    except (BrokenWire, ConnectionError):
        return


if __name__ == "__main__":
    main()
