"""A whole clip as a NumPy file: uint8[frames, height, width, 3], decoded where it is read.

Format: NEP 1, version 1.0; byte-equal to `numpy.save`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from oxenfs.errors import DamagedFrame, DecodeError, VideoError
from oxenfs.frames.plans import Plan
from oxenfs.frames.select import MISSING
from oxenfs.frames.service import Frames
from oxenfs.views.base import Attributes, File, Reader
from oxenfs.views.framing import ERROR_XATTR, VideoFolder

log = logging.getLogger(__name__)

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNED = 64
# numpy leaves room for a longer number of rows: 21 digits.
_GROWTH_DIGITS = 21


def header(frames: int, height: int, width: int) -> bytes:
    """Return what goes before the pixels, a multiple of 64 bytes."""
    text = (
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({frames}, {height}, {width}, 3), }}"
    )
    text += " " * max(_GROWTH_DIGITS - len(str(frames)), 0)
    length = len(_MAGIC) + 2 + len(text) + 1
    text += " " * (-length % _ALIGNED) + "\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text.encode()


class ArrayFile(File):
    """The array of a video's frames."""

    __slots__ = ("_folder",)

    def __init__(self, folder: VideoFolder) -> None:
        """Show the frames of `folder` as an array."""
        self._folder = folder

    @property
    def key(self) -> tuple[object, ...]:
        """The folder's, and that it is the array."""
        return ("array", self._folder.key)

    async def stat(self) -> Attributes:
        """Return the attributes, exact; of what cannot be made an empty file that is not kept."""
        mtime = self._folder.mtime_ns
        try:
            plan = await self._plan()
        except (VideoError, DecodeError):
            return Attributes(directory=False, size=0, mtime_ns=mtime, valid_for=0.0)
        size = len(_header(plan)) + plan.count * plan.row_bytes
        return Attributes(directory=False, size=size, mtime_ns=mtime)

    async def xattrs(self) -> Mapping[str, bytes]:
        """Return which video it is of."""
        folder = self._folder
        found = {"user.oxen.video": folder.path}
        own = await folder.file.xattrs()
        if "user.oxen.hash" in own:
            found["user.oxen.hash"] = own["user.oxen.hash"]
        try:
            await self._plan()
        except (VideoError, DecodeError) as exc:
            found[ERROR_XATTR] = str(exc).encode()
        return found

    async def open(self) -> Reader:
        """Return a reader; raises `VideoError` where there is no array."""
        return _ArrayReader(self._folder.framing.frames, await self._plan(), self._folder.path)

    async def _plan(self) -> Plan:
        plan = (await self._folder.planned()).plan
        if MISSING in plan.picks:
            raise VideoError("the video, or its segment, does not have all frames of the list")
        return plan


class _ArrayReader:
    """Reads an array; only the frames that are touched are decoded."""

    def __init__(self, frames: Frames, plan: Plan, path: bytes) -> None:
        self._frames = frames
        self._plan = plan
        self._path = path
        self._header = _header(plan)
        self._size = len(self._header) + plan.count * plan.row_bytes
        # What the kernel asks for next is mostly in the same frame.
        self._row = -1
        self._data = b""

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return the bytes from `offset` on."""
        end = min(offset + size, self._size)
        begin, each = len(self._header), self._plan.row_bytes
        parts: list[bytes | memoryview] = []
        if offset < begin:
            parts.append(self._header[offset:end])
            offset = begin
        while offset < end:
            row, at = divmod(offset - begin, each)
            upto = min(each, at + end - offset)
            last = (end - 1 - begin) // each
            parts.append(memoryview(await self._frame(row, last))[at:upto])
            offset += upto - at
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the last frame."""
        self._data = b""
        self._row = -1

    async def _frame(self, row: int, last: int) -> bytes:
        if row != self._row:
            try:
                data = await self._frames.row(self._plan, row, last)
            except DamagedFrame as exc:
                # Neither it nor any before it can be decoded.
                log.warning("zeros for frame %d of %r: %s", row, self._path.decode(), exc)
                data = bytes(self._plan.row_bytes)
            self._row, self._data = row, data
        return self._data


def _header(plan: Plan) -> bytes:
    return header(plan.count, plan.height, plan.width)
