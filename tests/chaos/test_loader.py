"""What programs ask the server for, as people run them: loaders with workers, mapped arrays."""

from __future__ import annotations

import json
import mmap
import os
import random
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from remote.http import serving
from repositories import KIB, MIB, noise
from semantics.mounted import Mounted  # noqa: TC002

from .conftest import mounted
from .faults import BLOBS, Between, chaos
from .files import Files, import_into

pytestmark = pytest.mark.fuse

WORKERS = 8
EPOCHS = 2
TENSORS = {"embed": 300_000, "layer.0": 1_500_001, "layer.1": 1_500_001, "head": 17}
ROWS, COLUMNS = 3000, 1024


def safetensors() -> bytes:
    """Return a file in the layout of safetensors: length, JSON of offsets, bytes."""
    header, at = {}, 0
    for name, size in TENSORS.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + noise(at, "tensors")


@pytest.fixture(scope="module")
def files() -> Files:
    samples = {
        f"train/{number % 5}/{number:03}.jpg": noise(1 + number * 97 % (40 * KIB), number)
        for number in range(300)
    }
    clips = {f"clips/{number}.mp4": noise(2 * MIB + number, f"c{number}") for number in range(4)}
    arrays = {"array.bin": noise(ROWS * COLUMNS, "array"), "model.safetensors": safetensors()}
    return {**samples, **clips, **arrays}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[str]:
    if (reason := serving.why_ours_is_missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("loader")
    import_into(folder / "ns" / "files", files)
    with serving.ours(folder) as server:
        yield server.host


@pytest.fixture
def between(host: str) -> Iterator[Between]:
    with chaos(host) as running:
        yield running


@pytest.fixture
def mount(tmp_path: Path, between: Between) -> Iterator[Mounted]:
    with mounted(tmp_path, f"http://{between.host}/ns/files@main", timeout_s=30) as running:
        yield running


def ranges(between: Between) -> Counter[tuple[str, int]]:
    """Return how often each blob, and each 64 KiB of a range, was asked for."""
    asked: Counter[tuple[str, int]] = Counter()
    for kind, what in between.asked():
        if kind == "QUERY versions":
            asked[what, 0] += 1
        elif kind == "GET chunk":
            url = urlsplit(what)
            named = {name: int(value[0]) for name, value in parse_qs(url.query).items()}
            start, size = named["chunk_start"], named["chunk_size"]
            assert start % (64 * KIB) == 0
            asked.update((url.path, at) for at in range(start, start + size, 64 * KIB))
        else:
            assert kind not in ("GET file", "GET versions"), f"{kind} {what}"
    return asked


def chunk_bytes(between: Between) -> int:
    """Return how many bytes were asked for in ranges."""
    queries = [urlsplit(what).query for kind, what in between.asked() if kind == "GET chunk"]
    return sum(int(parse_qs(query)["chunk_size"][0]) for query in queries)


def test_nothing_is_fetched_before_the_first_read(mount: Mounted, between: Between) -> None:
    found = subprocess.run(
        ["find", str(mount.dir), "-ls"], capture_output=True, text=True, check=True
    )
    assert "train" in found.stdout
    subprocess.run(["du", "-s", str(mount.dir)], capture_output=True, check=True)
    os.statvfs(mount.dir)
    with (mount.dir / "array.bin").open("rb"):
        pass
    assert not [kind for kind, _ in between.asked() if kind in BLOBS]


def test_a_loader_with_workers_asks_for_each_chunk_once(
    mount: Mounted, between: Between, files: Files
) -> None:
    paths = sorted(path for path in files if path.startswith(("train/", "clips/")))
    workers = []
    for number in range(WORKERS):
        pid = os.fork()
        if not pid:
            # A child of a test: it must not come back to pytest.
            code = 1
            try:
                code = 0 if epochs(mount.dir, files, paths, number) else 2
            finally:
                os._exit(code)
        workers.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    assert codes == [0] * WORKERS
    asked = ranges(between)
    assert asked
    assert {what: count for what, count in asked.items() if count > 1} == {}


def epochs(root: Path, files: Files, paths: list[str], worker: int) -> bool:
    """Read this worker's share of each epoch, as PyTorch's samplers cut it; all saw the seed."""
    for epoch in range(EPOCHS):
        shuffled = random.Random(f"epoch {epoch}").sample(paths, len(paths))
        # Neighbours in time are of different workers, and large files are read by several.
        mine = shuffled[worker::WORKERS] + [path for path in paths if path.startswith("clips/")]
        for path in mine:
            if (root / path).read_bytes() != files[path]:
                return False
    return True


def test_readers_of_the_same_files_ask_for_each_chunk_once(
    mount: Mounted, between: Between, files: Files
) -> None:
    program = (
        "import pathlib, sys\n"
        "for name in sys.argv[2:]: pathlib.Path(sys.argv[1], name).read_bytes()\n"
    )
    paths = [path for path in files if path.startswith(("clips/", "train/0/"))]
    crowd = [mount.popen("-c", program, str(mount.dir), *paths) for _ in range(16)]
    for process in crowd:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    asked = ranges(between)
    assert asked
    assert {what: count for what, count in asked.items() if count > 1} == {}


def test_a_mapped_array_moves_little_more_than_what_is_read(
    mount: Mounted, between: Between, files: Files
) -> None:
    numpy = pytest.importorskip("numpy")
    wanted = numpy.frombuffer(files["array.bin"], "u1").reshape(ROWS, COLUMNS)
    array = numpy.memmap(mount.dir / "array.bin", "u1", "r", shape=(ROWS, COLUMNS))
    assert bytes(array[5]) == bytes(wanted[5])
    # One row: what the kernel reads ahead for a map, in whole chunks.
    assert chunk_bytes(between) <= 2 * MIB
    assert (array[:, 3] == wanted[:, 3]).all()
    assert numpy.array_equal(array, wanted)
    assert chunk_bytes(between) <= 1.2 * array.nbytes


def test_tensors_are_read_one_by_one_out_of_a_mapped_file(
    mount: Mounted, between: Between, files: Files
) -> None:
    path = mount.dir / "model.safetensors"
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with whole:
        length = struct.unpack_from("<Q", whole)[0]
        header = json.loads(whole[8 : 8 + length])
        for name in reversed(TENSORS):
            start, end = (8 + length + at for at in header[name]["data_offsets"])
            assert whole[start:end] == files["model.safetensors"][start:end]
        assert chunk_bytes(between) <= 1.2 * len(whole)
