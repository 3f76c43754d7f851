"""Damage below a live mount: an error where it is, and nowhere else; never wrong bytes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from repositories import KIB, MIB, make_repository, noise

from oxenfs.model import CHUNK_BYTES
from oxenfs.remote.base import BlobLocation
from oxenfs.remote.hashing import little
from oxenfs.remote.local.repository import LocalRemote, open_repository
from oxenfs.remote.rows import find_row

from .mounted import Mounted

pytestmark = pytest.mark.fuse

C = CHUNK_BYTES
FILES = {
    b"small": noise(10_000, 1),
    b"packed": noise(900 * KIB, 2),
    b"large": noise(4 * MIB + 100, 3),
    b"last": noise(20_000, 4),
    b"sub/other": noise(3 * MIB, 5),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    make_repository(tmp_path / "repository", FILES).close()
    return tmp_path / "repository"


@pytest.fixture
def damaged(repository: Path, mounting: Callable[..., Mounted]) -> Mounted:
    """A mount whose repository is about to be damaged."""
    made = mounting(str(repository))
    made.errors_expected = True
    return made


def row(remote: LocalRemote, path: bytes) -> int:
    found = find_row(remote, remote.branch("main").commit, path)
    assert found is not None
    return found.id


def place(repository: Path, path: bytes) -> BlobLocation:
    """Return where the bytes of a file lie."""
    remote = open_repository(repository)
    found = find_row(remote, remote.branch("main").commit, path)
    assert found is not None
    location = remote.locate(found.id)
    remote.close()
    return location


def flip(location: BlobLocation, at: int) -> None:
    """Change one bit."""
    with Path(location.path).open("r+b") as file:
        file.seek(location.offset + at)
        byte = file.read(1)[0]
        file.seek(location.offset + at)
        file.write(bytes([byte ^ 1]))


def error_of(read: Callable[[], object]) -> int:
    with pytest.raises(OSError) as caught:  # noqa: PT011 (errno is looked at)
        read()
    assert caught.value.errno is not None
    return caught.value.errno


def bad_chunks(path: Path, expected: bytes) -> list[int]:
    """Read a file chunk by chunk; return which cannot be read. All others must be right."""
    bad = []
    fd = os.open(path, os.O_RDONLY)
    for number, start in enumerate(range(0, len(expected), C)):
        try:
            found = os.pread(fd, C, start)
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            bad.append(number)
        else:
            assert found == expected[start : start + C], number
    os.close(fd)
    return bad


def check_the_rest(mounted: Mounted, *but: bytes) -> None:
    for path, data in FILES.items():
        if path not in but:
            assert (mounted.dir / os.fsdecode(path)).read_bytes() == data


def test_what_the_kernel_keeps_is_not_checked_again(damaged: Mounted, repository: Path) -> None:
    path = damaged.dir / "large"
    with path.open("rb") as file:
        assert file.read() == FILES[b"large"]
        flip(place(repository, b"large"), 5)
        assert path.read_bytes() == FILES[b"large"]
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # And what was kept in the process itself is still the right thing.
        for other in ("packed", "sub/other"):
            (damaged.dir / other).read_bytes()
        assert error_of(path.read_bytes) == errno.EIO


@pytest.mark.parametrize(("name", "chunk"), [("packed", 1), ("large", 0), ("large", 16)])
def test_one_altered_byte_is_an_error_in_its_chunk_alone(
    damaged: Mounted, repository: Path, name: str, chunk: int
) -> None:
    flip(place(repository, name.encode()), chunk * C + 4)
    path = damaged.dir / name
    data = FILES[name.encode()]
    assert error_of(path.read_bytes) == errno.EIO
    assert bad_chunks(path, data) == [chunk]
    with path.open("rb") as file:
        if chunk:
            assert os.pread(file.fileno(), 10, chunk * C - 10) == data[chunk * C - 10 : chunk * C]
        for at in (chunk * C, chunk * C + 5):
            assert error_of(lambda at=at: os.pread(file.fileno(), 1, at)) == errno.EIO  # type: ignore[misc]
    check_the_rest(damaged, name.encode())


def test_the_reason_is_an_extended_attribute_and_in_the_log(
    damaged: Mounted, repository: Path
) -> None:
    path = damaged.dir / "large"
    assert "user.oxenfs.error" not in os.listxattr(path)
    flip(place(repository, b"large"), 3 * C)
    assert error_of(path.read_bytes) == errno.EIO
    reason = os.getxattr(path, "user.oxenfs.error").decode()
    assert f"is damaged in chunk 3 (bytes {3 * C} to {4 * C})" in reason
    assert os.getxattr(path, "user.oxen.hash").decode() in reason
    assert "user.oxenfs.error" in os.listxattr(path)
    assert f"cannot read 'large': {reason}" in damaged.log
    assert "user.oxenfs.error" not in os.listxattr(damaged.dir / "packed")


def test_reading_damage_again_and_again_is_one_line_in_the_log(
    damaged: Mounted, repository: Path
) -> None:
    flip(place(repository, b"small"), 17)
    for _ in range(20):
        assert error_of((damaged.dir / "small").read_bytes) == errno.EIO
    assert damaged.log.count("cannot read") == 1


def test_damage_in_a_small_file_leaves_its_neighbours_in_the_pack(
    damaged: Mounted, repository: Path
) -> None:
    assert place(repository, b"small").path == place(repository, b"last").path
    flip(place(repository, b"small"), 0)
    assert error_of((damaged.dir / "small").read_bytes) == errno.EIO
    check_the_rest(damaged, b"small")


def test_a_truncated_file_is_an_error_from_the_chunk_of_the_cut_on(
    damaged: Mounted, repository: Path
) -> None:
    os.truncate(place(repository, b"large").path, 5 * C + 1)
    assert bad_chunks(damaged.dir / "large", FILES[b"large"]) == list(range(5, 17))
    assert "cut off" in os.getxattr(damaged.dir / "large", "user.oxenfs.error").decode()
    check_the_rest(damaged, b"large")


def test_a_truncated_pack_spoils_only_what_lay_behind_the_cut(
    damaged: Mounted, repository: Path
) -> None:
    location = place(repository, b"small")
    os.truncate(location.path, location.offset)
    check_the_rest(damaged, b"small")
    assert error_of((damaged.dir / "small").read_bytes) == errno.EIO


def test_a_missing_file_is_an_error_and_comes_back(damaged: Mounted, repository: Path) -> None:
    path = Path(place(repository, b"large").path)
    aside = path.rename(path.with_name("aside"))
    assert error_of((damaged.dir / "large").read_bytes) == errno.EIO
    check_the_rest(damaged, b"large")
    aside.rename(path)
    assert (damaged.dir / "large").read_bytes() == FILES[b"large"]


def test_a_mapped_file_with_damage_kills_only_the_program_that_touches_it(
    damaged: Mounted, repository: Path
) -> None:
    flip(place(repository, b"large"), 2 * C)
    script = (
        "import mmap, sys\n"
        "file = open(sys.argv[1], 'rb')\n"
        "view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
        f"print(view[0], flush=True)\nview[{2 * C}]"
    )
    words = ["-S", "-c", script, str(damaged.dir / "large")]
    process = damaged.popen(*words)
    said, _ = process.communicate(timeout=20)
    # As on a disk with a bad block.
    assert process.returncode == -signal.SIGBUS
    assert said == f"{FILES[b'large'][0]}\n"
    check_the_rest(damaged, b"large")


def test_cp_reports_the_file_and_copies_the_others(
    damaged: Mounted, repository: Path, tmp_path: Path
) -> None:
    flip(place(repository, b"packed"), 0)
    words = ["cp", "-r", str(damaged.dir), str(tmp_path / "copy")]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "packed" in done.stderr
    assert "Input/output error" in done.stderr
    for path, data in FILES.items():
        if path != b"packed":
            assert (tmp_path / "copy" / os.fsdecode(path)).read_bytes() == data


def test_a_damaged_tree_node_is_an_error_in_its_folder_alone(
    repository: Path, mounting: Callable[..., Mounted]
) -> None:
    remote = open_repository(repository)
    node = row(remote, b"sub")
    remote.close()
    with lmdb.open(str(repository / "meta"), max_dbs=8, map_size=1 << 40) as database:
        nodes = database.open_db(b"nodes")
        with database.begin(write=True) as txn:
            key = little(node)
            value = bytearray(txn.get(key, db=nodes) or b"")
            value[len(value) // 2] ^= 1
            txn.put(key, bytes(value), db=nodes)
    mounted = mounting(str(repository))
    mounted.errors_expected = True
    assert error_of(lambda: list((mounted.dir / "sub").iterdir())) == errno.EIO
    assert error_of((mounted.dir / "sub" / "other").read_bytes) == errno.EIO
    assert "damaged" in os.getxattr(mounted.dir / "sub", "user.oxenfs.error").decode()
    assert "cannot read 'sub'" in mounted.log
    check_the_rest(mounted, b"sub/other")
