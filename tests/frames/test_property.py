"""Generated clips, random SPECs, random order: each file shows the frame that the rules say."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxenfs.frames import decode
from oxenfs.frames.decode import Decoder
from oxenfs.frames.filters import Pipeline
from oxenfs.frames.pictures import encode
from oxenfs.frames.scan import scan
from oxenfs.frames.select import nearest, select
from oxenfs.frames.spec import parse

from .clips import source_of
from .drawing import clip, number_in

EXAMPLES = int(os.environ.get("OXENFS_EXAMPLES", "200"))

steps = st.one_of(st.just(4), st.integers(1, 12))
shapes = st.fixed_dictionaries(
    {
        "codec": st.sampled_from(["libx264", "libx264", "mpeg4", "mjpeg"]),
        "container": st.sampled_from(["mp4", "matroska"]),
        "gop": st.sampled_from([1, 3, 12, 250]),
        "b_frames": st.integers(0, 3),
        "height": st.sampled_from([64, 130, 144]),
        "sound": st.booleans(),
    }
)


def expected(times: list[int], rate: Fraction, last: Fraction, sound: bool) -> list[int]:
    """Return which frame each slot shows, worked out slot by slot. Times in seconds * 1000."""

    def slot(time: Fraction) -> int:
        product = time * rate
        return nearest(product.numerator, product.denominator)

    slots = [slot(Fraction(time, 1000)) for time in times]
    end = slot(Fraction(times[-1], 1000) + last)
    shown = [
        max(number for number, at in enumerate(slots) if at <= k) for k in range(slots[0], end)
    ]
    return [shown[0]] * slots[0] * sound + shown if shown else []


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.data(),
    st.lists(steps, min_size=1, max_size=60),
    st.integers(0, 50),
    shapes,
)
def test_each_file_shows_the_frame_of_the_rules(
    data: st.DataObject, gaps: list[int], offset: int, shape: dict[str, object]
) -> None:
    times = [offset]
    for gap in gaps:
        times.append(times[-1] + gap)
    if shape["codec"] == "mpeg4" or shape["codec"] == "mjpeg":
        shape = {**shape, "b_frames": 0}
    content = clip(times, **shape)  # type: ignore[arg-type]
    index = scan(source_of(content))
    assert index.count == len(times)
    shown = [index.time(number) - index.time(0) for number in range(index.count)]
    wanted = [Fraction(time - times[0], 100) for time in times]
    assert all(abs(a - b) < Fraction(2, 1000) for a, b in zip(shown, wanted, strict=True))

    kind = data.draw(st.sampled_from(["all", "fps", "every", "words"]))
    if kind == "fps":
        rate = data.draw(st.sampled_from([Fraction(5), Fraction(30000, 1001), Fraction(7, 2)]))
        spec = parse(f"fps={rate.numerator}:{rate.denominator},png,size=160x64")
        exact = [index.time(number) * 1000 for number in range(index.count)]
        last = index.last_duration * index.time_base
        numbers = expected(
            exact,  # type: ignore[arg-type]
            rate,
            last,
            bool(shape["sound"]),
        )
    elif kind == "every":
        every = data.draw(st.integers(1, 9))
        spec = parse(f"every={every},png")
        numbers = list(range(0, len(times), every))
    elif kind == "words":
        spec = parse("last+middle+first,bmp")
        numbers = [len(times) - 1, len(times) // 2, 0]
    else:
        spec = parse("all,png")
        numbers = list(range(len(times)))
    picks = list(select(index, spec))
    assert picks == numbers
    pipeline = Pipeline(index.shape, spec.pictures.as_rows())
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setattr(decode, "ALONE_PIXELS", 0)
        decoder = Decoder(source_of(content), index)
    order = data.draw(st.permutations(range(len(picks)))) if picks else []
    for at in order[:12]:
        frame = decoder.held(picks[at])
        assert frame is not None
        raw = encode(pipeline.apply(frame), spec.pictures.as_rows(), pipeline.aspect)
        pixels = np.frombuffer(raw, np.uint8).reshape(pipeline.height, pipeline.width, 3)
        assert number_in(pixels) == picks[at]
    decoder.close()


@pytest.mark.parametrize("number", [0, 1, 77, 1023])
def test_a_number_is_read_back(number: int) -> None:
    from .drawing import picture

    assert number_in(picture(number, 160, 128)) == number
