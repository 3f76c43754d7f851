"""A plan: the files that a SPEC makes of a video, without their contents."""

from __future__ import annotations

import bisect
import json
import struct
import sys
import zlib
from array import array
from dataclasses import dataclass, field

from oxenfs.errors import IntegrityError
from oxenfs.frames.jobs import Video
from oxenfs.frames.spec import Spec

_HEADER = struct.Struct("<III")
UNKNOWN_BYTES = 16 << 20
"""The size that a file is said to have where not even its width is known."""


@dataclass(slots=True, eq=False)
class Plan:
    """The files of one video by one SPEC.

    Attributes:
        picks: uint32, the source frame of each file; `select.MISSING` where a list has none.
        width, height: of the pictures.
        sizes: uint64, what each file is said to have, in bytes.
        exact: one byte per file, 1 where that is its real size.
        dirty: how many sizes were learnt since they were kept last.
        saved: how often they were kept.
        prefixes: what the keys of its files begin with, and (True) those of its rows.
    """

    video: Video
    spec: Spec
    picks: array[int]
    width: int
    height: int
    sizes: array[int]
    exact: bytearray
    dirty: int = 0
    saved: int = 0
    prefixes: dict[bool, bytes] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self.picks)

    @property
    def complete(self) -> bool:
        """Whether all sizes are known."""
        return 0 not in self.exact

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame in the array."""
        return self.width * self.height * 3

    def learn(self, frame: int, size: int) -> None:
        """Note the real size of all files that show `frame`."""
        picks = self.picks
        if self.spec.select == "words":
            numbers = [at for at, pick in enumerate(picks) if pick == frame]
        else:
            # Numbers do not go down.
            numbers = list(
                range(bisect.bisect_left(picks, frame), bisect.bisect_right(picks, frame))
            )
        for at in numbers:
            if not self.exact[at]:
                self.sizes[at] = size
                self.exact[at] = 1
                self.dirty += 1


def estimated(video: Video, spec: Spec, count: int, each: int, *, exact: bool) -> Plan:
    """Return a plan whose files all have the same size, or the same bound."""
    return Plan(
        video,
        spec,
        array("I"),
        0,
        0,
        array("Q", [each]) * count,
        bytearray([exact]) * count,
    )


def make(video: Video, spec: Spec, facts: dict[str, int], picks: array[int]) -> Plan:
    """Return the plan that a child has worked out."""
    plan = estimated(video, spec, len(picks), facts["bytes"], exact=bool(facts["exact"]))
    plan.picks = picks
    plan.width, plan.height = facts["width"], facts["height"]
    return plan


def by_name(video: Video, spec: Spec) -> Plan:
    """Return what can be said of a list of words without looking at the video."""
    size = spec.pictures.size
    each = UNKNOWN_BYTES
    if size is not None and min(size) > 0:
        each = size[0] * size[1] * (8 if spec.pictures.format == "png" else 3) * 102 // 100 + 2048
    return estimated(video, spec, len(spec.words), each, exact=False)


def dump(facts: dict[str, int], picks: array[int]) -> bytes:
    """Return a plan as bytes to keep."""
    text = json.dumps(facts).encode()
    body = text + zlib.compress(_little(picks), 1)
    return _HEADER.pack(len(text), len(picks), zlib.crc32(body)) + body


def load(data: bytes) -> tuple[dict[str, int], array[int]]:
    """Return what `dump` was given; raise `IntegrityError` for other bytes."""
    try:
        length, count, checksum = _HEADER.unpack_from(data)
        body = memoryview(data)[_HEADER.size :]
        if zlib.crc32(body) != checksum:
            raise ValueError("wrong checksum")
        facts = json.loads(bytes(body[:length]))
        picks = picks_of(zlib.decompress(body[length:]))
        if len(picks) != count:
            raise ValueError("not all of it")
        return facts, picks
    except (ValueError, struct.error, zlib.error) as exc:
        raise IntegrityError(f"a plan that cannot be read: {exc}") from exc


def dump_sizes(plan: Plan) -> bytes:
    """Return the sizes that are known, 0 for the others."""
    known = array("Q", (s if e else 0 for s, e in zip(plan.sizes, plan.exact, strict=True)))
    packed = zlib.compress(_little(known), 1)
    return zlib.crc32(packed).to_bytes(4, "little") + packed


def load_sizes(plan: Plan, data: bytes) -> None:
    """Take sizes that were kept; those that do not fit are passed over."""
    packed = data[4:]
    if zlib.crc32(packed).to_bytes(4, "little") != data[:4]:
        return
    known: array[int] = array("Q")
    known.frombytes(zlib.decompress(packed))
    if sys.byteorder == "big":
        known.byteswap()
    if len(known) == plan.count:
        for at, size in enumerate(known):
            if size:
                plan.sizes[at], plan.exact[at] = size, 1


def picks_of(data: bytes) -> array[int]:
    """Return the picks in little-endian bytes."""
    picks: array[int] = array("I")
    picks.frombytes(data)
    if sys.byteorder == "big":
        picks.byteswap()
    return picks


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()
