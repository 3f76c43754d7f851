from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from oxenfs.samples import CLIPS, HEIGHT, WIDTH, Clip, frames, make_samples

CODECS = {"libx264": "h264", "libvpx-vp9": "vp9", "mpeg4": "mpeg4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def made(folder: Path) -> list[Path]:
    return make_samples(folder)


def test_the_files_returned_are_all_there_are(folder: Path, made: list[Path]) -> None:
    assert made == sorted(path for path in folder.rglob("*") if path.is_file())
    endings = {path.suffix for path in made}
    assert endings == {".mp4", ".webm", ".avi", ".png", ".jpg", ".csv", ".txt"}
    assert all(path.stat().st_size > 0 for path in made)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_a_clip_has_the_streams_and_frames_promised(folder: Path, clip: Clip) -> None:
    with av.open(str(folder / clip.name)) as container:
        video = container.streams.video[0]
        assert len(container.streams.video) == 1
        assert video.codec_context.codec.canonical_name == CODECS[clip.codec]
        assert (video.width, video.height) == (WIDTH, HEIGHT)
        assert len(container.streams.audio) == int(clip.sound)
        decoded = [frame.to_ndarray(format="gray") for frame in container.decode(video)]
    assert len(decoded) == clip.rate * clip.seconds
    # It moves, it has texture, and it is what was drawn.
    assert all((one != other).any() for one, other in itertools.pairwise(decoded))
    assert min(float(picture.std()) for picture in decoded) > 15
    drawn = next(frames(clip.scene, clip.rate, clip.seconds)).mean(axis=2)
    assert np.abs(decoded[0] - drawn).mean() < 25


@pytest.mark.usefixtures("made")
def test_the_sound_is_as_long_as_the_picture_and_not_silent(folder: Path) -> None:
    clip = next(clip for clip in CLIPS if clip.sound)
    with av.open(str(folder / clip.name)) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(sound)], axis=1)
        rate = sound.sample_rate
    assert samples.shape[1] / rate == pytest.approx(clip.seconds, abs=0.1)
    assert np.abs(samples).mean() > 0.02


def test_stills_open_as_pictures(made: list[Path]) -> None:
    stills = [path for path in made if path.parent.name == "stills"]
    assert len(stills) == 4
    for path in stills:
        with Image.open(path) as image:
            assert image.format == {".png": "PNG", ".jpg": "JPEG"}[path.suffix]
            assert image.size == (WIDTH, HEIGHT)
            assert np.asarray(image.convert("L")).std() > 15


def test_labels_name_each_clip(folder: Path, made: list[Path]) -> None:
    lines = (folder / "labels.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [clip.name for clip in CLIPS]
    assert folder / "README.txt" in made
