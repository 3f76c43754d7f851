"""The listing of a video's frame files."""

from __future__ import annotations

import pytest

from oxenfs.frames import plans
from oxenfs.frames.jobs import Bytes, Video
from oxenfs.frames.spec import parse
from oxenfs.model import Kind
from oxenfs.store.columns import Listing, columns_alike
from oxenfs.views.framing import FrameListing


async def never() -> Bytes:
    raise AssertionError("the video is opened")


def listing(count: int) -> FrameListing:
    spec = parse("fps=5,size=8x8")
    names = sorted(b"%06d.jpg" % number for number in range(1, count + 1))
    plan = plans.estimated(Video("v", 1, never), spec, count, 5, exact=False)
    return FrameListing(columns_alike(names, Kind.IMAGE, 77), plan)


@pytest.mark.parametrize("count", [0, 1, 3, 1000, 1_000_002])
def test_a_listing_finds_its_files_and_no_others(count: int) -> None:
    found = listing(count)
    for row in {0, 1, count // 2, count - 2, count - 1} & set(range(count)):
        assert found.find(found.name(row)) == row
    others = [
        b"",
        b"x",
        b"1.jpg",
        b"000000.jpg",
        b"000001.png",
        b"-00001.jpg",
        b"%06d.jpg" % (count + 1),
    ]
    assert [found.find(name) for name in others] == [-1] * len(others)


def test_columns_of_entries_that_are_alike() -> None:
    found = Listing(columns_alike([b"a", b"bcd"], Kind.IMAGE, 77))
    assert found.names_between(0, 2) == [b"a", b"bcd"]
    assert found.mtimes.tolist() == [77, 77]
    assert found.sizes.tolist() == [0, 0]
    assert found.kinds.tolist() == [Kind.IMAGE] * 2
    assert found.all_files
    assert not found.all_directories
    assert found.find(b"a") == -1
