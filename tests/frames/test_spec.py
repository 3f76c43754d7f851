"""The grammar of a SPEC."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.errors import NotFound
from oxenfs.frames.spec import parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("all", "all,jpg,q=2"),
        ("png", "all,png"),
        ("size=64x32", "all,size=64x32,jpg,q=2"),
        ("size=256x256,fps=5", "fps=5,size=256x256,jpg,q=2"),
        ("jpg,q=1,fps=5.0", "fps=5,jpg,q=2"),
        ("q=31", "all,jpg,q=31"),
        ("fps=30000:1001,bmp", "fps=30000:1001,bmp"),
        ("fps=29.97", "fps=2997:100,jpg,q=2"),
        ("fps=7:2", "fps=7:2,jpg,q=2"),
        ("fps=3.5", "fps=7:2,jpg,q=2"),
        ("fps=.5", "fps=1:2,jpg,q=2"),
        ("fps=5.", "fps=5,jpg,q=2"),
        ("at=.25+at=1.,start=.5", "at=1:4+at=1,start=1:2,jpg,q=2"),
        ("every=10,gray", "every=10,gray,jpg,q=2"),
        ("every=1", "all,jpg,q=2"),
        ("keyframes,end=9.5,start=2", "keyframes,start=2,end=19:2,jpg,q=2"),
        ("start=0", "all,jpg,q=2"),
        ("first+middle+last+at=1.5", "first+middle+last+at=3:2,jpg,q=2"),
        ("at=0", "at=0,jpg,q=2"),
        ("first+first", "first+first,jpg,q=2"),
        ("gray,size=-2x48,crop=10:20:0:5,png", "all,crop=10:20:0:5,size=-2x48,gray,png"),
        ("size=-1x-1", "all,size=-1x-1,jpg,q=2"),
    ],
)
def test_a_spec_has_one_canonical_spelling(text: str, canonical: str) -> None:
    spec = parse(text)
    assert spec.text == canonical
    assert parse(spec.text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "all,",
        "nonsense",
        "fps",
        "fps=",
        "fps=0",
        "fps=-1",
        "fps=.",
        "fps=5..",
        "fps=.5.",
        "fps=1/2",
        "fps=1:0",
        "fps=1e3",
        "fps=٣",
        "fps=5,all",
        "fps=5,fps=5",
        "every=0",
        "every=1.5",
        "jpg,png",
        "png,q=2",
        "q=0",
        "q=32",
        "size=0x5",
        "size=5",
        "size=5x5x5",
        "size=-3x5",
        "crop=1:2:3",
        "crop=0:2:3:4",
        "crop=1:2:-3:4",
        "start=3,end=3",
        "end=0",
        "start=-1",
        "gray,gray",
        "gray=1",
        "first+",
        "first+fps=5",
        "at=",
        "at=x",
        "webp",
        "fps=99999999999999",
        "start=1,start=2",
        " all",
        "ALL",
    ],
)
def test_what_is_no_spec_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        parse(text)


def test_rates_are_exact() -> None:
    assert parse("fps=30000:1001").rate == Fraction(30000, 1001)
    assert parse("fps=0.1").rate == Fraction(1, 10)


def test_a_whole_row_of_words_may_not_be_endless() -> None:
    with pytest.raises(NotFound, match="more than"):
        parse("+".join(["first"] * 2000))


@given(st.text(alphabet="fpsevrykamlit=+,:.x-0123456789qjgnbc ", max_size=60))
def test_any_text_is_a_spec_or_not_found(text: str) -> None:
    try:
        spec = parse(text)
    except NotFound:
        return
    assert parse(spec.text) == spec
    assert parse(",".join(reversed(spec.text.split(",")))) == spec
