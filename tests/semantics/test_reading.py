"""Bytes come out as they went in, by whatever way they are read."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repositories import KIB, MIB

from .mounted import Mounted

pytestmark = pytest.mark.fuse

LARGE = Path("sizes", str(5 * MIB + 123))


@pytest.fixture
def large(mount: Mounted) -> Path:
    return mount.dir / LARGE


@pytest.fixture
def original(source: Path) -> bytes:
    return (source / LARGE).read_bytes()


def drop_pages(path: Path) -> None:
    """Let go of what the kernel keeps of a file, so that the next read is a request."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_seeking_and_reading_gives_any_range(large: Path, original: bytes) -> None:
    drop_pages(large)
    draw = random.Random(1)
    with large.open("rb", buffering=0) as file:
        for _ in range(300):
            offset = draw.randrange(len(original) + 1000)
            size = draw.choice([1, 100, 4096, 70_000, MIB + 1])
            assert file.seek(offset) == offset
            assert file.read(size) == original[offset : offset + size]
        assert file.seek(-10, os.SEEK_END) == len(original) - 10
        assert file.read(100) == original[-10:]


def test_pread_and_readv_agree(large: Path, original: bytes) -> None:
    drop_pages(large)
    with large.open("rb") as file:
        fd = file.fileno()
        assert os.pread(fd, 100, 256 * KIB - 50) == original[256 * KIB - 50 : 256 * KIB + 50]
        parts = [bytearray(1000), bytearray(300 * KIB)]
        assert os.preadv(fd, parts, 12_345) == 1000 + 300 * KIB
        assert b"".join(parts) == original[12_345 : 12_345 + 1000 + 300 * KIB]
        assert os.pread(fd, 10, len(original)) == b""


def test_mmap_shows_the_bytes(large: Path, original: bytes) -> None:
    drop_pages(large)
    with large.open("rb") as file:
        for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
            with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as view:
                assert len(view) == len(original)
                assert view[3 * MIB : 3 * MIB + 10] == original[3 * MIB : 3 * MIB + 10]
                assert view[:] == original
                assert view.find(original[MIB : MIB + 40]) == MIB


def test_numpy_maps_an_array(mount: Mounted, source: Path) -> None:
    mapped = np.load(mount.dir / "array.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert int(mapped[399, 499]) == 199_999
    assert np.array_equal(mapped, np.load(source / "array.npy"))
    raw = np.memmap(mount.dir / LARGE, dtype=np.uint8, mode="r")
    assert raw.tobytes() == (source / LARGE).read_bytes()


def test_pil_opens_a_picture(mount: Mounted, source: Path) -> None:
    with (
        Image.open(mount.dir / "picture.png") as found,
        Image.open(source / "picture.png") as expected,
    ):
        assert found.size == (160, 120)
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("block", "skip"), [(1, 777), (4096, 65), (100_000, 3), (MIB, 2)])
def test_dd_reads_from_an_offset(large: Path, original: bytes, block: int, skip: int) -> None:
    drop_pages(large)
    words = [f"if={large}", f"bs={block}", f"skip={skip}", "count=2"]
    done = subprocess.run(["dd", *words], capture_output=True, check=True)
    assert done.stdout == original[block * skip : block * (skip + 2)]


def test_direct_input_reads_the_same(large: Path, original: bytes) -> None:
    done = subprocess.run(
        ["dd", f"if={large}", "bs=1M", "iflag=direct"], capture_output=True, check=True
    )
    assert done.stdout == original


def test_cat_head_and_tail_read_the_same(large: Path, original: bytes) -> None:
    drop_pages(large)
    for words, expected in (
        (["tail", "-c", "1000"], original[-1000:]),
        (["head", "-c", "300000"], original[:300_000]),
        (["cat"], original),
    ):
        done = subprocess.run([*words, large], capture_output=True, check=True)
        assert done.stdout == expected


def test_sendfile_and_copy_file_range_copy_everything(
    large: Path, original: bytes, tmp_path: Path
) -> None:
    with large.open("rb") as file, (tmp_path / "sent").open("wb") as target:
        offset = 0
        while sent := os.sendfile(target.fileno(), file.fileno(), offset, MIB):
            offset += sent
    assert (tmp_path / "sent").read_bytes() == original


def test_holes_are_told_as_data(large: Path, original: bytes) -> None:
    with large.open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(original)


READ_ALL = """
import hashlib, os, random, sys
top, seed = sys.argv[1:]
paths = [os.path.join(here, name) for here, _, names in os.walk(top) for name in sorted(names)]
random.Random(seed).shuffle(paths)
whole = {}
for path in paths:
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.sha256()
        while piece := file.read(200_000):
            digest.update(piece)
        whole[os.path.relpath(path, top)] = digest.hexdigest()
print(hashlib.sha256(repr(sorted(whole.items())).encode()).hexdigest())
"""


def test_32_readers_at_once_read_the_same(mount: Mounted, source: Path) -> None:
    def start(folder: Path, seed: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-S", "-c", READ_ALL, str(folder / "sizes"), str(seed)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    readers = [start(mount.dir, seed) for seed in range(32)]
    try:
        expected = start(source, 0).communicate(timeout=30)[0]
        found = [reader.communicate(timeout=60)[0] for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
    assert found == [expected] * 32
    assert len(expected.strip()) == hashlib.sha256().digest_size * 2
