"""Frames of videos on a server with a round trip time, nothing cached, in random order."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import fuse_missing
from frames.drawing import clip, number_in
from PIL import Image
from repositories import AUTHOR
from serving import running

from benchmarks.link import link
from oxenfs.importing import import_tree
from oxenfs.remote.local.repository import create

from .mounted import Mounted

pytest.importorskip("av", reason="no PyAV (pip install 'oxenfs[video]')")

READS = 1000 if os.environ.get("OXENFS_LONG") == "1" else 200
VIDEOS = 20
FRAMES = 60
READERS = 4
SEED = 31


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder of one repository of different clips, for a server."""
    source, folder = tmp_path / "source", tmp_path / "served"
    source.mkdir()
    (folder / "ns").mkdir(parents=True)
    for number in range(VIDEOS):
        data = clip(
            range(7 * number, 7 * number + 4 * FRAMES, 4),
            codec=["libx264", "mpeg4"][number % 2],
            container=["mp4", "matroska"][number // 2 % 2],
            gop=[1, 12, 250][number % 3],
            b_frames=number % 4,
        )
        (source / f"{number:02d}.{['mp4', 'mkv'][number // 2 % 2]}").write_bytes(data)
    remote = create(folder / "ns" / "clips", AUTHOR)
    import_tree(remote, source, "main", message="clips", author=AUTHOR)
    remote.close()
    return folder


def test_frames_in_random_order_over_a_slow_link(
    served: Path, mounting: Callable[..., Mounted]
) -> None:
    if (reason := fuse_missing()) is not None:
        pytest.skip(reason)
    with running(served) as server, link(server.host, rtt_ms=20) as slow:
        mounted = mounting(f"{slow.url}/ns/clips@main")
        folder = mounted.dir / ".frames" / "all,png"
        videos = sorted(path.name for path in folder.iterdir())
        assert len(videos) == VIDEOS
        wanted = [(video, number) for video in videos for number in range(FRAMES)]
        chosen = random.Random(SEED).sample(wanted, READS)

        def read(one: tuple[str, int]) -> tuple[str, int]:
            video, number = one
            data = (folder / video / f"{number + 1:06d}.png").read_bytes()
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            return video, number_in(pixels)

        with ThreadPoolExecutor(READERS) as readers:
            assert list(readers.map(read, chosen)) == chosen
        mounted.stop()
