"""Under which keys things are kept that were made of videos.

Keys have the video's own, what becomes of its frames, the frame's number, and the versions of the
codec library and of our format; specs that show the same picture share it.
"""

from __future__ import annotations

import functools

from oxenfs.frames.jobs import Video
from oxenfs.frames.plans import Plan

FORMAT_VERSION = 4


@functools.cache
def version() -> str:
    """Return what pictures depend on beside the video: the codec library's version and ours."""
    import importlib.metadata  # takes longer than everything else here, and not every mount asks

    try:
        return f"{FORMAT_VERSION}/{importlib.metadata.version('av')}"
    except importlib.metadata.PackageNotFoundError:
        return f"{FORMAT_VERSION}/none"


class Keys:
    """The keys of one remote's videos."""

    def __init__(self, scope: str) -> None:
        """Begin all keys with `scope` (the remote's key).

        Nothing is shared between remotes: one could otherwise plant pictures for another.
        """
        self._scope = scope

    def index(self, video: Video) -> bytes:
        """Return the key of a video's frame index."""
        return self._key(video, "index")

    def plan(self, video: Video, spec: str) -> bytes:
        """Return the key of the plan that the SPEC makes of the video."""
        return self._key(video, "plan", spec)

    def sizes(self, plan: Plan) -> bytes:
        """Return the key of the sizes of a plan's files, of the next time that they are kept."""
        return self._key(plan.video, "sizes", plan.spec.text, str(plan.saved))

    def frame(self, plan: Plan, frame: int, rows: bool) -> bytes:
        """Return the key of a frame as a file of a plan, or as a row of an array."""
        prefix = plan.prefixes.get(rows)
        if prefix is None:
            pictures = plan.spec.pictures
            text = pictures.as_rows().text if rows else pictures.text
            held = "held" if rows or plan.spec.holds else "own"
            prefix = plan.prefixes[rows] = self._key(plan.video, text, held, "")
        return b"%b%d" % (prefix, frame)

    def _key(self, video: Video, *parts: str) -> bytes:
        return "\0".join(("frames", version(), self._scope, video.key, *parts)).encode()
