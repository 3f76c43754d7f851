"""Commands of the control socket about frames: list them, learn their sizes, build indexes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from oxenfs.errors import DecodeError, NotFound, UsageError, VideoError
from oxenfs.frames.select import MISSING
from oxenfs.mount.control import Command, Send
from oxenfs.views.frames import FramesFolder
from oxenfs.views.framing import FrameListing, VideoFolder

_ROWS_AT_ONCE = 500


def frame_commands(folder: Callable[[], FramesFolder]) -> Mapping[str, Command]:
    """Return the commands `frames` and `index` for the videos of what `folder` returns then.

    `frames` takes `spec`, `paths` and `fill` (make every frame, so that its size is known), and
    sends `{"video", "rows": [[file, frame, pts, size or null], ...]}` and `{"video", "why"}`.
    `index` takes `paths` and sends `{"video", "frames"}` or `{"video", "why"}`. Both return how
    many videos there were. Of several paths one that is no video, or not there, is told as `why`.
    """

    async def frames(request: Mapping[str, Any], send: Send) -> int:
        spec, paths = _text(request, "spec"), _paths(request)
        fill = bool(request.get("fill"))

        async def tell(video: VideoFolder, name: str) -> None:
            listing = await video.planned()
            await _send_rows(video, listing, name, send, fill=fill)

        return await _each(folder(), spec, paths, send, tell)

    async def index(request: Mapping[str, Any], send: Send) -> int:
        async def tell(video: VideoFolder, name: str) -> None:
            found = await video.framing.frames.index(video.video)
            await send({"video": name, "frames": found.count})

        return await _each(folder(), "all", _paths(request), send, tell)

    return {"frames": Command(frames, deadline_s=inf), "index": Command(index, deadline_s=inf)}


async def _each(
    folder: FramesFolder,
    spec: str,
    paths: list[bytes],
    send: Send,
    tell: Callable[[VideoFolder, str], Any],
) -> int:
    folder.mirror(spec)  # what is no SPEC is so for all paths
    count = 0
    for path in paths:
        try:
            async for video in folder.videos(spec, path):
                count += 1
                name = os.fsdecode(video.path)
                try:
                    await tell(video, name)
                except (VideoError, DecodeError) as exc:
                    await send({"video": name, "why": str(exc)})
        except NotFound as exc:
            if len(paths) == 1:
                raise
            await send({"video": os.fsdecode(path), "why": str(exc)})
    return count


async def _send_rows(
    video: VideoFolder, listing: FrameListing, name: str, send: Send, *, fill: bool
) -> None:
    plan, exact = listing.plan, listing.exact
    frames = video.framing.frames
    index = await frames.index(video.video)
    rows: list[list[object]] = []
    for row in range(listing.count):
        number = listing.number(row)
        frame = plan.picks[number]
        if fill and exact is not None and not exact[number]:
            try:
                await frames.picture(plan, number)
            except (VideoError, DecodeError) as exc:
                await send({"video": name, "why": f"{listing.name(row).decode()}: {exc}"})
        size = plan.sizes[number] if exact is None or exact[number] else None
        missing = frame == MISSING
        shown = None if missing else frame
        pts = None if missing else float(index.time(frame))
        rows.append([listing.name(row).decode(), shown, pts, size])
        if len(rows) == _ROWS_AT_ONCE:
            await send({"video": name, "rows": rows})
            rows = []
    if rows:
        await send({"video": name, "rows": rows})


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text")
    return value


def _paths(request: Mapping[str, Any]) -> list[bytes]:
    paths = request.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UsageError("paths must be a list of text")
    return [os.fsencode(path) for path in paths]
