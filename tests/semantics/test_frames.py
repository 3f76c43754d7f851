"""Frames and arrays of videos in a mount: what programs get."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import fuse_missing
from frames import clips
from frames.test_pixels import run_tool, without_version
from PIL import Image
from repositories import AUTHOR

from oxenfs.frames.spec import parse
from oxenfs.importing import import_tree
from oxenfs.remote.local.repository import create

from .mounted import Mounted

CLIP = "cfr25_bframes.mp4"

pytest.importorskip("av", reason="no PyAV (pip install 'oxenfs[video]')")


@pytest.fixture(scope="module")
def repository(space: Path) -> Path:
    """A repository of odd clips, some in folders, beside files that are none."""
    videos = clips.folder()
    folder = space / "videos"
    shutil.copytree(videos, folder)
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.copy2(videos / CLIP, folder / "deep" / "er" / "clip.mp4")
    (folder / "texts" / "more").mkdir(parents=True)
    (folder / "texts" / "more" / "a.txt").write_text("no video")
    (folder / "notes.txt").write_text("no video")
    path = space / "clips"
    remote = create(path, AUTHOR)
    import_tree(remote, folder, "main", message="clips", author=AUTHOR)
    remote.close()
    return path


@pytest.fixture
def fresh(repository: Path, mounting: Callable[..., Mounted]) -> Mounted:
    """A mount that nobody has looked into."""
    return mounting(f"{repository}@main")


@pytest.fixture(scope="module")
def shared(space: Path, repository: Path) -> Iterator[Mounted]:
    """A mount for tests that only read."""
    if (reason := fuse_missing()) is not None:
        pytest.skip(reason)
    folder = space / "frames-shared"
    folder.mkdir()
    made = Mounted(folder, f"{repository}@main")
    made.errors_expected = True
    made.start()
    try:
        yield made
        made.stop()
    finally:
        made.kill()


@pytest.fixture
def root(shared: Mounted) -> Path:
    return shared.dir / ".frames"


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def wanted(shared: Mounted) -> dict[str, bytes]:
    """The files of one folder, read by Python."""
    folder = shared.dir / ".frames" / "fps=5,png" / CLIP
    return {name: (folder / name).read_bytes() for name in listed(folder)}


def test_frames_are_there_by_name_and_in_no_listing(shared: Mounted, root: Path) -> None:
    assert ".frames" not in listed(shared.dir)
    assert listed(root) == []
    assert len(listed(root / "fps=5" / CLIP)) == 15


def test_a_wrong_spec_is_not_there(root: Path) -> None:
    for text in (
        "nonsense",
        "fps=0",
        "size=0x0",
        "fps=5,fps=5",
        "caf\N{LATIN SMALL LETTER E}\u0301",
    ):
        with pytest.raises(FileNotFoundError):
            listed(root / text)


def test_the_tree_is_mirrored_with_videos_as_folders(shared: Mounted, root: Path) -> None:
    names = set(listed(root / "all"))
    assert {CLIP, "zero.mp4", "animated.gif", "raw.h264", "deep"} <= names
    assert not {"notes.txt", "texts", "expected.tsv"} & names
    assert listed(root / "all" / "deep" / "er") == ["clip.mp4"]


def test_listing_videos_reads_no_blob(fresh: Mounted, repository: Path) -> None:
    hidden = repository.with_name("hidden")
    packs = next(path for path in repository.iterdir() if path.name.startswith("pack"))
    packs.rename(hidden)
    try:
        top = fresh.dir / ".frames" / "fps=5"
        assert len(listed(top)) > 50
        for name in listed(top):
            assert (top / name).is_dir()
    finally:
        hidden.rename(packs)


def test_a_path_works_without_any_listing_before(fresh: Mounted) -> None:
    path = fresh.dir / ".frames/fps=2,size=64x48,png/deep/er/clip.mp4/000003.png"
    with Image.open(path) as picture:
        assert picture.size == (64, 48)


@pytest.mark.parametrize("text", ["all,jpg", "fps=30000:1001,png", "every=4,size=50x40,bmp"])
def test_files_are_those_of_the_ffmpeg_command(root: Path, tmp_path: Path, text: str) -> None:
    tools = pytest.importorskip("imageio_ffmpeg", reason="no newer ffmpeg (imageio-ffmpeg)")
    found = root / text / CLIP
    made = run_tool(tools.get_ffmpeg_exe(), clips.folder() / CLIP, parse(text), tmp_path)
    assert listed(found) == [path.name for path in made]
    for path in made:
        one, other = (found / path.name).read_bytes(), path.read_bytes()
        if text.endswith("jpg"):
            one, other = without_version(one), without_version(other)
        assert one == other, path.name


@pytest.mark.parametrize("name", sorted(clips.expected()))
def test_every_clip_has_the_expected_number_of_files(root: Path, name: str) -> None:
    for spec, count in clips.expected()[name].items():
        assert len(listed(root / spec / name)) == count, spec


def test_what_is_no_video_is_an_empty_folder_with_the_reason(root: Path) -> None:
    for name, why in {"zero.mp4": "empty", "text.mp4": "not a video"}.items():
        assert listed(root / "fps=5" / name) == []
        assert why in os.getxattr(root / "fps=5" / name, "user.oxenfs.error").decode()


def test_a_crop_outside_the_picture_is_an_empty_folder_with_the_reason(root: Path) -> None:
    folder = root / "crop=1000:1000:0:0" / CLIP
    assert listed(folder) == []
    assert "crop" in os.getxattr(folder, "user.oxenfs.error").decode()


def test_a_list_names_its_files_without_a_look_at_the_video(root: Path) -> None:
    folder = root / "first+middle+last+at=1.5,png"
    assert listed(folder / CLIP) == [f"{n:06d}.png" for n in range(1, 5)]
    assert listed(folder / "zero.mp4") == [f"{n:06d}.png" for n in range(1, 5)]
    every = root / "all,png" / CLIP
    for number, frame in {1: 1, 2: 38, 3: 75, 4: 38}.items():
        found = (folder / CLIP / f"{number:06d}.png").read_bytes()
        assert digest(found) == digest((every / f"{frame:06d}.png").read_bytes())
    with pytest.raises(OSError, match="Input/output"):
        (folder / "zero.mp4" / "000001.png").read_bytes()
    why = os.getxattr(folder / "zero.mp4" / "000001.png", "user.oxenfs.error").decode()
    assert "empty" in why


def test_a_frame_that_cannot_be_decoded_is_an_error_alone(root: Path) -> None:
    folder = root / "all" / clips.DAMAGED
    failed, reason = [], None
    for name in listed(folder):
        try:
            (folder / name).read_bytes()
        except OSError as exc:
            failed.append(name)
            reason = exc.strerror
    assert len(failed) == 1
    assert reason == "Input/output error"
    assert b"damaged" in os.getxattr(folder / failed[0], "user.oxenfs.error")
    held = root / "fps=30000:1001" / clips.DAMAGED
    assert all((held / name).read_bytes() for name in listed(held))


def test_a_size_is_a_bound_until_the_file_is_opened(fresh: Mounted) -> None:
    file = fresh.dir / ".frames" / "fps=5" / CLIP / "000007.jpg"
    before = file.stat().st_size
    data = file.read_bytes()
    assert before > len(data)
    assert file.stat().st_size == len(data)


def test_bmp_and_arrays_have_their_size_at_once(fresh: Mounted) -> None:
    folder = fresh.dir / ".frames" / "fps=5,size=51x40,bmp"
    size = (folder / CLIP / "000002.bmp").stat().st_size
    assert size == 54 + 40 * (51 * 3 + 3) == len((folder / CLIP / "000002.bmp").read_bytes())
    array = folder / f"{CLIP}.npy"
    size = array.stat().st_size
    assert size == len(array.read_bytes()) == 128 + 15 * 40 * 51 * 3


TOOLS: dict[str, list[str]] = {
    "cp": ["cp", "-r"],
    "cp reflink": ["cp", "-r", "--reflink=never", "--sparse=always"],
    "rsync": ["rsync", "-r"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_copies_are_exact(
    fresh: Mounted, tmp_path: Path, wanted: dict[str, bytes], tool: str
) -> None:
    if shutil.which(TOOLS[tool][0]) is None:
        pytest.skip(f"no {tool} here")
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    subprocess.run(["ls", "-l", str(folder)], check=True, capture_output=True)
    subprocess.run([*TOOLS[tool], f"{folder}/", str(tmp_path / "out")], check=True, timeout=50)
    out = tmp_path / "out"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted


def test_tar_packs_exact_files(fresh: Mounted, wanted: dict[str, bytes]) -> None:
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    call = ["tar", "cf", "-", "-C", str(folder), "."]
    packed = subprocess.run(call, check=True, capture_output=True, timeout=50).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {m.name[2:]: tar.extractfile(m) for m in tar.getmembers() if m.isfile()}
        assert {name: file.read() for name, file in files.items() if file} == wanted


def test_cat_gets_exact_files(fresh: Mounted, wanted: dict[str, bytes]) -> None:
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    call = ["cat", *(str(folder / name) for name in wanted)]
    said = subprocess.run(call, check=True, capture_output=True, timeout=50).stdout
    assert said == b"".join(wanted.values())


def test_python_copies_and_maps_exact_files(
    fresh: Mounted, tmp_path: Path, wanted: dict[str, bytes]
) -> None:
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    shutil.copyfile(folder / "000001.png", tmp_path / "1")
    assert (tmp_path / "1").read_bytes() == wanted["000001.png"]
    with (folder / "000002.png").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert mapped[:] == wanted["000002.png"]
    with (folder / "000003.png").open("rb") as file:
        assert file.read(os.fstat(file.fileno()).st_size) == wanted["000003.png"]


def test_pictures_open_in_pil(fresh: Mounted, wanted: dict[str, bytes]) -> None:
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    for name, data in wanted.items():
        found, other = Image.open(folder / name), Image.open(io.BytesIO(data))
        assert np.array_equal(np.asarray(found), np.asarray(other))


def test_pictures_open_in_opencv(fresh: Mounted, wanted: dict[str, bytes]) -> None:
    cv2 = pytest.importorskip("cv2", reason="no OpenCV (pip install opencv-python-headless)")
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP
    for name, data in wanted.items():
        other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(cv2.imread(str(folder / name)), other)


def test_a_tree_of_frames_is_an_image_folder(fresh: Mounted) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="no torchvision (CPU wheel)")
    found = datasets.ImageFolder(str(fresh.dir / ".frames" / "first+last,size=32x32" / "deep"))
    assert found.classes == ["er"]
    assert len(found) == 2
    assert found[0][0].size == (32, 32)


def test_an_array_is_what_numpy_saves(root: Path) -> None:
    path = root / "fps=5,png" / f"{CLIP}.npy"
    frames = [
        np.asarray(Image.open(root / "fps=5,png" / CLIP / f"{number:06d}.png"))
        for number in range(1, 16)
    ]
    buffer = io.BytesIO()
    np.save(buffer, np.stack(frames))
    assert path.read_bytes() == buffer.getvalue()


def test_a_mapped_array_gives_any_row(fresh: Mounted, root: Path) -> None:
    whole = np.load(root / "all" / f"{CLIP}.npy")
    mapped = np.load(fresh.dir / ".frames" / "all" / f"{CLIP}.npy", mmap_mode="r")
    for row in (70, 3, 40, 41, 0, 74):
        assert np.array_equal(mapped[row], whole[row])
    assert np.array_equal(mapped[10:20, ::7, 5], whole[10:20, ::7, 5])


def test_gray_repeats_the_channel_in_an_array(root: Path) -> None:
    array = np.load(root / "first+last,gray" / f"{CLIP}.npy")
    assert array.shape == (2, 120, 160, 3)
    assert np.array_equal(array[..., 0], array[..., 2])


def test_attributes_name_video_frame_and_time(shared: Mounted, root: Path) -> None:
    file = root / "fps=5" / "deep" / "er" / "clip.mp4" / "000002.jpg"
    assert os.getxattr(file, "user.oxen.video") == b"deep/er/clip.mp4"
    assert os.getxattr(file, "user.oxen.frame") == b"7"
    assert os.getxattr(file, "user.oxen.pts") == b"7/25 0.280000"
    own = os.getxattr(shared.dir / "deep" / "er" / "clip.mp4", "user.oxen.hash")
    assert os.getxattr(file, "user.oxen.hash") == own


def test_8_readers_at_once_read_the_same(fresh: Mounted, wanted: dict[str, bytes]) -> None:
    folder = fresh.dir / ".frames" / "fps=5,png" / CLIP

    def read(turn: int) -> bool:
        names = sorted(wanted, key=lambda name: digest(f"{turn}{name}".encode()))
        return all((folder / name).read_bytes() == wanted[name] for name in names)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_frames_can_be_the_root(repository: Path, mounting: Callable[..., Mounted]) -> None:
    mounted = mounting(
        f"{repository}@main",
        command=("-m", "oxenfs_cli", "mount", "--foreground", "--frames", "fps=5"),
    )
    assert "notes.txt" not in listed(mounted.dir)
    assert len(listed(mounted.dir / CLIP)) == 15
    assert (mounted.dir / ".oxenfs" / "info.json").read_bytes()


def test_frames_are_listed_by_the_command_line(shared: Mounted) -> None:
    said = shared.run(
        "-m", "oxenfs_cli", "frames", "first+at=1,png", str(shared.dir), CLIP, "--csv"
    )
    header, first, second = said.splitlines()
    assert header == "video,file,frame,pts,size"
    assert first.startswith(f"{CLIP},000001.png,0,0.0,")
    assert second.startswith(f"{CLIP},000002.png,25,1.0,")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nosuch", "no such path: 'nosuch'"),
        ("deep/nosuch/x.mp4", "no such path: 'deep/nosuch'"),
        ("notes.txt", "not a video: 'notes.txt'"),
        ("texts/more/a.txt", "no videos in this folder: 'texts'"),
        ("texts", "no videos in this folder: 'texts'"),
        (f"{CLIP}/000001.jpg", f"not a video: '{CLIP}/000001.jpg'"),
        (f"{CLIP}.npy", f"not a video: '{CLIP}.npy'"),
        ("a\x1b\udcff", r"no such path: 'a\x1b\xff'"),
    ],
)
def test_why_there_is_no_video_at_a_path(shared: Mounted, path: str, said: str) -> None:
    process = shared.popen("-m", "oxenfs_cli", "frames", "all", path, "-C", str(shared.dir))
    text, _ = process.communicate(timeout=60)
    assert (process.returncode, text) == (1, f"oxenfs: {said}\n")


def test_a_path_without_videos_hides_no_other(shared: Mounted) -> None:
    paths = ("nosuch", CLIP, "notes.txt")
    process = shared.popen(
        "-m", "oxenfs_cli", "frames", "first,png", *paths, "-C", str(shared.dir), "--csv"
    )
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "oxenfs: nosuch: no such path: 'nosuch'\n" in text
    assert f"{CLIP},000001.png,0,0.0," in text
    assert "oxenfs: notes.txt: not a video: 'notes.txt'\n" in text


def test_sizes_can_be_filled_in(fresh: Mounted) -> None:
    fresh.run("-m", "oxenfs_cli", "frames", "fps=2", str(fresh.dir), CLIP, "--fill-sizes")
    folder = fresh.dir / ".frames" / "fps=2" / CLIP
    sizes = {name: (folder / name).stat().st_size for name in listed(folder)}
    assert sizes == {name: len((folder / name).read_bytes()) for name in sizes}


def test_an_entry_of_the_repository_called_frames_wins(
    space: Path, mounting: Callable[..., Mounted]
) -> None:
    folder = space / "own-frames"
    (folder / ".frames").mkdir(parents=True)
    (folder / ".frames" / "mine").write_text("own")
    remote = create(space / "own-repository", AUTHOR)
    import_tree(remote, folder, "main", message="m", author=AUTHOR)
    remote.close()
    mounted = mounting(f"{space / 'own-repository'}@main")
    assert listed(mounted.dir / ".frames") == ["mine"]
    assert "the repository has '.frames' itself" in mounted.log
