"""Frames in a mount that moves."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from in_trio import in_trio
from repositories import commit, make_repository

from oxenfs.address import Address
from oxenfs.mount.moving import Mover
from oxenfs.mount.operations import Operations, Usage
from oxenfs.samples import CLIPS, make_samples
from oxenfs.views import stack
from oxenfs.views.plan import Plan

from .calling import code_of, find
from .test_moving import Notes


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return [(folder / clip.name).read_bytes() for clip in CLIPS[:2]]


@pytest.fixture
def place(tmp_path: Path, clips: list[bytes]) -> Iterator[tuple[Mover, Operations]]:
    files = {b"d/changing.mp4": clips[0], b"d/still.mp4": clips[0], b"d/gone.mp4": clips[1]}
    remote = make_repository(tmp_path / "repository", files)
    built = stack.build(Plan(Address(tmp_path / "repository"), tmp_path / "cache"))
    handlers = Operations(built.root, Usage(0, 0))
    mover = Mover(built, handlers)
    mover.kernel = Notes(handlers)
    commit(remote, {b"d/changing.mp4": clips[1]}, remove=[b"d/gone.mp4"])
    yield mover, handlers
    handlers.close()
    built.close()
    remote.close()


async def content(handlers: Operations, path: bytes) -> bytes:
    opened = await handlers.open(await find(handlers, path), 0)
    found = bytes(await handlers.read(int(opened.fh), 0, 1 << 20))
    await handlers.release(int(opened.fh))
    return found


@in_trio
async def test_frames_of_a_video_that_changed_are_those_of_the_new_one(
    place: tuple[Mover, Operations],
) -> None:
    mover, handlers = place
    top = b".frames/first+middle/d/"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mover._stack.background)
        old = {
            name: (await find(handlers, top + name), await content(handlers, top + name))
            for name in (b"changing.mp4/000001.jpg", b"still.mp4/000001.jpg")
        }
        await find(handlers, top + b"gone.mp4/000001.jpg")
        await mover.pull()
        changing, still = b"changing.mp4/000001.jpg", b"still.mp4/000001.jpg"
        assert await find(handlers, top + changing) != old[changing][0]
        assert await content(handlers, top + changing) != old[changing][1]
        assert await find(handlers, top + still) == old[still][0]
        assert await content(handlers, top + still) == old[still][1]
        assert await code_of(find(handlers, top + b"gone.mp4/000001.jpg")) == errno.ENOENT
        nursery.cancel_scope.cancel()
