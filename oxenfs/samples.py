"""Small encoded clips, images and text: something real to try a repository with.

The scenes move and have texture, so that the files compress and seek as camera footage does.
Everything is drawn from fixed seeds; the bytes still depend on the codec library's version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from oxenfs.errors import OxenfsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 240

_SOUND_RATE = 44_100
_README = """\
Made by `oxenfs demo`: short scenes drawn by a program, in several codecs.

clips/     videos; `labels.csv` says what moves in each
stills/    single pictures of the same scenes
"""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to make.

    Attributes:
        name: path below the samples' folder; its ending chooses the container.
        codec: of the video stream, as FFmpeg calls the encoder.
        rate: frames per second.
        seconds: how long.
        scene: what is seen.
        options: for the encoder.
        sound: whether there is an AAC stream beside it.
    """

    name: str
    codec: str
    rate: int
    seconds: int
    scene: str
    options: tuple[tuple[str, str], ...] = ()
    sound: bool = False


CLIPS = (
    Clip("clips/drift.mp4", "libx264", 25, 3, "drift", (("preset", "veryfast"), ("crf", "26"))),
    Clip(
        "clips/bounce.mp4",
        "libx264",
        30,
        4,
        "bounce",
        (("preset", "veryfast"), ("crf", "26"), ("g", "30")),
        sound=True,
    ),
    Clip(
        "clips/spin.webm",
        "libvpx-vp9",
        24,
        2,
        "spin",
        (("deadline", "realtime"), ("cpu-used", "8"), ("row-mt", "1")),
    ),
    Clip("clips/old/waves.avi", "mpeg4", 15, 3, "waves"),
)


def make_samples(folder: Path) -> list[Path]:
    """Make the samples below `folder` and return the files, sorted.

    Raises:
        OxenfsError: PyAV or numpy is missing.
    """
    try:
        import av  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as exc:
        raise OxenfsError(
            f"making clips needs {exc.name}; install it with: pip install 'oxenfs[video]'"
        ) from exc
    made = [_make_clip(folder / clip.name, clip) for clip in CLIPS]
    made += _make_stills(folder / "stills")
    labels = folder / "labels.csv"
    rows = [f"{clip.name},{clip.scene},{clip.rate},{clip.seconds}\n" for clip in CLIPS]
    labels.write_text("file,scene,fps,seconds\n" + "".join(rows), encoding="utf-8")
    readme = folder / "README.txt"
    readme.write_text(_README, encoding="utf-8")
    return sorted([*made, labels, readme])


def frames(scene: str, rate: int, seconds: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a scene, uint8[HEIGHT, WIDTH, 3] RGB."""
    draw = _scenes()[scene]
    for number in range(rate * seconds):
        yield draw(number / rate)


def _make_clip(path: Path, clip: Clip) -> Path:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = dict(clip.options)
        stream = container.add_stream(clip.codec, rate=clip.rate, options=options)
        video = cast("av.VideoStream", stream)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = (
            container.add_stream("aac", rate=_SOUND_RATE, layout="stereo") if clip.sound else None
        )
        for number, picture in enumerate(frames(clip.scene, clip.rate, clip.seconds)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, clip.rate)
            container.mux(video.encode(frame))
            if sound is not None:
                samples = _SOUND_RATE // clip.rate
                container.mux(sound.encode(_sound(number * samples, samples)))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def _sound(start: int, count: int) -> Any:
    """Return `count` samples of a tone that glides up and across, as an audio frame."""
    import av
    import numpy as np

    time = (start + np.arange(count)) / _SOUND_RATE
    tone = 0.3 * np.sin(2 * np.pi * (220 + 40 * time) * time)
    side = 0.5 + 0.5 * np.sin(np.pi * time)
    both = np.stack([tone * side, tone * (1 - side)]).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = _SOUND_RATE, start, Fraction(1, _SOUND_RATE)
    return frame


def _make_stills(folder: Path) -> list[Path]:
    import av

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    kinds = [("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj420p")]
    for number, (scene, draw) in enumerate(_scenes().items()):
        ending, codec, pixels = kinds[number % 2]
        path = folder / f"{scene}.{ending}"
        picture = av.VideoFrame.from_ndarray(draw(1.0), format="rgb24")
        encoder = cast("av.VideoCodecContext", av.CodecContext.create(codec, "w"))
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, pixels
        encoder.time_base = Fraction(1, 25)
        packets = [*encoder.encode(picture.reformat(format=pixels)), *encoder.encode(None)]
        path.write_bytes(b"".join(map(bytes, packets)))
        made.append(path)
    return made


def _scenes() -> dict[str, Callable[[float], NDArray[np.uint8]]]:
    """Return what draws each scene at a time in seconds."""
    import numpy as np

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    random = np.random.default_rng(20)
    # Grain of two sizes: fine as film has it, coarse as leaves or gravel.
    fine = random.normal(0, 10, (HEIGHT, WIDTH, 1)).astype(np.float32)
    coarse = np.kron(random.normal(0, 18, (HEIGHT // 8, WIDTH // 8, 1)), np.ones((8, 8, 1)))
    grain = (fine + coarse).astype(np.float32)

    def picture(red: Any, green: Any, blue: Any, shift: float) -> NDArray[np.uint8]:
        colours = np.stack(np.broadcast_arrays(red, green, blue), axis=-1)
        moved = np.roll(grain, (int(shift * 11), int(shift * 23)), axis=(0, 1))
        return np.clip(colours + moved, 0, 255).astype(np.uint8)

    def drift(time: float) -> NDArray[np.uint8]:
        """Return a landscape of gradients that slides past."""
        hills = 120 + 40 * np.sin((x + 60 * time) / 37) + 20 * np.sin((x + 90 * time) / 11)
        sky = y < hills
        return picture(
            np.where(sky, 120 + y / 3, 60 + (x + 60 * time) % 50),
            np.where(sky, 160 + y / 4, 130 - y / 4),
            np.where(sky, 220 - y / 4, 50),
            time,
        )

    def bounce(time: float) -> NDArray[np.uint8]:
        """Return three balls that bounce in a room."""
        shade = 70 + 60 * x / WIDTH
        colours = [shade.copy(), shade.copy(), shade + 20]
        for ball, radius in enumerate((34, 24, 16)):
            path = ((70 + 40 * ball) * time + 60 * ball) % (2 * (WIDTH - 80))
            centre_x = 40 + min(path, 2 * (WIDTH - 80) - path)
            centre_y = HEIGHT - radius - abs(np.sin(3 * time + ball)) * (HEIGHT - 2.5 * radius)
            # Only where the ball can be: most of the time of this scene went into the rest.
            top, left = max(0, int(centre_y) - radius), max(0, int(centre_x) - radius)
            box = np.s_[top : top + 2 * radius + 2, left : left + 2 * radius + 2]
            distance = np.hypot(x[box] - centre_x, y[box] - centre_y)
            light = 255 - 160 * distance / radius
            for channel, colour in enumerate(colours):
                lit = light * (channel != (1, 0, 2)[ball])
                colour[box] = np.where(distance < radius, lit, colour[box])
        red, green, blue = colours
        return picture(red, green, blue, 0)

    def spin(time: float) -> NDArray[np.uint8]:
        """Return a pinwheel that turns and zooms."""
        angle = np.arctan2(y - HEIGHT / 2, x - WIDTH / 2)
        distance = np.hypot(x - WIDTH / 2, y - HEIGHT / 2)
        blades = np.sin(8 * angle + 2 * time + distance / (20 + 6 * np.sin(time)))
        return picture(128 + 100 * blades, 110 + distance / 3, 128 - 90 * blades, time / 4)

    def waves(time: float) -> NDArray[np.uint8]:
        """Return rings from two sources that pass through each other."""
        first = np.hypot(x - 90, y - 70)
        second = np.hypot(x - 230 + 30 * np.sin(time), y - 170)
        rings = np.sin(first / 7 - 5 * time) + np.sin(second / 9 - 4 * time)
        return picture(60 + 20 * rings, 110 + 35 * rings, 150 + 45 * rings, time / 2)

    return {"drift": drift, "bounce": bounce, "spin": spin, "waves": waves}
