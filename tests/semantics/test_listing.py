"""Listing folders: large ones, from the middle, at once, again."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import fuse_missing
from repositories import make_repository

from .mounted import Mounted

pytestmark = pytest.mark.fuse

ENTRIES = 20_000
FOLDERS = 40


@pytest.fixture(scope="module")
def large() -> Iterator[Mounted]:
    """A mount with one large folder and some small ones, whose requests are counted."""
    if (reason := fuse_missing()) is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="oxenfs-") as top:
        folder = Path(top).resolve()
        files = {b"large/%06d" % number: b"%d" % (number % 10) for number in range(ENTRIES)}
        files |= {
            b"small/%02d/%d" % (number, file): b"x"
            for number in range(FOLDERS)
            for file in range(5)
        }
        make_repository(folder / "repository", files).close()
        made = Mounted(folder, str(folder / "repository"), command=("-m", "semantics.counting"))
        made.start()
        try:
            yield made
            made.stop()
        finally:
            made.kill()


def requests(mounted: Mounted) -> Counter[str]:
    """Return how many requests the mount has had so far."""
    os.statvfs(mounted.dir)
    counts = Path(mounted.environment["HOME"], "counts.json")
    return Counter(json.loads(counts.read_text()))


def test_a_folder_of_20000_entries_is_listed_in_full(large: Mounted) -> None:
    names = [b"%06d" % number for number in range(ENTRIES)]
    assert sorted(os.listdir(os.fsencode(large.dir / "large"))) == names  # noqa: PTH208
    with os.scandir(large.dir / "large") as entries:
        assert sum(entry.stat().st_size for entry in entries) == ENTRIES
    assert (large.dir / "large" / "017654").read_bytes() == b"4"
    assert not (large.dir / "large" / "020000").exists()


def test_listing_again_looks_nothing_up(large: Mounted) -> None:
    def ls() -> Counter[str]:
        before = requests(large)
        subprocess.run(["ls", "-lR", large.dir / "small"], capture_output=True, check=True)
        return requests(large) - before

    first, second = ls(), ls()
    assert first["opendir"] == second["opendir"] == FOLDERS + 1
    assert second["lookup"] == second["getattr"] == 0
    # What came with a listing needs no request of its own the first time either.
    assert first["lookup"] <= 1
    assert first["getattr"] == 0


def test_stating_what_was_listed_asks_nothing(large: Mounted) -> None:
    with os.scandir(large.dir / "large") as entries:
        names = [entry.name for entry in entries]
    before = requests(large)
    for name in names[::100]:
        (large.dir / "large" / name).stat()
    assert requests(large) - before == Counter()


def test_reading_again_asks_for_no_byte(large: Mounted) -> None:
    path = large.dir / "large" / "000123"
    path.read_bytes()
    before = requests(large)
    assert path.read_bytes() == b"3"
    after = requests(large) - before
    assert after["read"] == 0
    assert after == Counter(open=1)


def test_listing_reads_no_blob(large: Mounted) -> None:
    before = requests(large)
    for words in (["find", str(large.dir), "-ls"], ["du", "-s", str(large.dir)]):
        subprocess.run(words, capture_output=True, check=True)
    after = requests(large) - before
    assert after["open"] == after["read"] == 0


class Stream:
    """A directory stream of the C library, which Python does not offer."""

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        for name in ("opendir", "readdir64"):
            getattr(self._libc, name).restype = ctypes.c_void_p
        self._libc.telldir.restype = ctypes.c_long
        self._stream = ctypes.c_void_p(self._libc.opendir(os.fsencode(path)))
        assert self._stream

    def next(self) -> bytes | None:
        entry = self._libc.readdir64(self._stream)
        # struct dirent64: u64 inode, s64 offset, u16 length, u8 type, name.
        return None if entry is None else ctypes.string_at(entry + 19)

    def rest(self) -> list[bytes]:
        return list(iter(self.next, None))

    def tell(self) -> int:
        return int(self._libc.telldir(self._stream))

    def seek(self, place: int) -> None:
        self._libc.seekdir(self._stream, ctypes.c_long(place))

    def close(self) -> None:
        self._libc.closedir(self._stream)


def test_a_listing_goes_on_from_where_it_was(large: Mounted) -> None:
    with contextlib.closing(Stream(large.dir / "large")) as stream:
        places = {}
        expected = []
        for number in range(ENTRIES):
            if number % 1999 == 0:
                places[number] = stream.tell()
            name = stream.next()
            assert name is not None
            expected.append(name)
        assert stream.next() is None
        assert sorted(expected) == [b"%06d" % number for number in range(ENTRIES)]
        for number in sorted(places, reverse=True):
            stream.seek(places[number])
            assert stream.next() == expected[number]
        stream.seek(places[1999])
        assert stream.rest() == expected[1999:]


def test_listings_at_once_do_not_disturb_each_other(large: Mounted) -> None:
    path = os.fsencode(large.dir / "large")
    with ThreadPoolExecutor(16) as threads:
        listed = list(threads.map(lambda _: len(set(os.listdir(path))), range(32)))  # noqa: PTH208
    assert listed == [ENTRIES] * 32
    streams = [Stream(large.dir / "large") for _ in range(3)]
    found: list[list[bytes]] = [[], [], []]
    for _ in range(ENTRIES):
        for stream, names in zip(streams, found, strict=True):
            name = stream.next()
            assert name is not None
            names.append(name)
    for stream in streams:
        assert stream.next() is None
        stream.close()
    assert found[0] == found[1] == found[2]


def test_an_empty_folder_is_listed(mount: Mounted) -> None:
    assert list((mount.dir / "hollow").iterdir()) == []


def test_dot_entries_are_not_listed_but_work(mount: Mounted) -> None:
    with contextlib.closing(Stream(mount.dir / "hollow")) as stream:
        assert stream.rest() == []
    assert (mount.dir / "hollow" / ".." / "zeros").stat().st_size > 0
    assert os.stat(os.fsencode(mount.dir / "hollow") + b"/.").st_ino == (  # noqa: PTH116
        (mount.dir / "hollow").stat().st_ino
    )
