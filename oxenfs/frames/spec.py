"""The grammar of a SPEC: which frames of a video, what of each picture, stored how.

A SPEC is a comma list in ffmpeg's words, in any order:

    fps=5 | every=10 | keyframes | all | first+middle+last+at=1.5      which frames; default all
    start=2  end=9.5                                                   segment, in seconds
    crop=W:H:X:Y  size=WxH  gray                                       applied in this order
    jpg q=2 | png | bmp                                                default jpg, q=2

Rates and times are exact fractions: an integer, a decimal, or `30000:1001`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from oxenfs.errors import NotFound

_NUMBER = re.compile(r"\d{1,12}(?:\.\d{0,12})?\Z|\.\d{1,12}\Z")
_RATIO = re.compile(r"(\d{1,12}):(\d{1,12})\Z")
_SIDE_MAX = 1 << 16
_RATE_MAX = 1_000_000
_WORDS_MAX = 1000

FORMATS = ("jpg", "png", "bmp")
Q_DEFAULT, Q_MIN, Q_MAX = 2, 2, 31


@dataclass(frozen=True)  # no slots: `text` is kept
class Pictures:
    """What becomes of a decoded frame, and how it is stored.

    Attributes:
        crop: width, height, x, y after rotation, as asked for; the filter rounds.
        size: width and height, -1 and -2 as in ffmpeg's scale filter.
        format: `jpg`, `png`, `bmp`, or `rgb` for the rows of an array.
        q: of a jpg, 2 to 31; 0 for other formats.
    """

    crop: tuple[int, int, int, int] | None
    size: tuple[int, int] | None
    gray: bool
    format: str
    q: int

    @cached_property
    def text(self) -> str:
        """The one spelling of this choice: part of the key that pictures are kept by."""
        parts = []
        if self.crop is not None:
            parts.append("crop=" + ":".join(map(str, self.crop)))
        if self.size is not None:
            parts.append(f"size={self.size[0]}x{self.size[1]}")
        if self.gray:
            parts.append("gray")
        parts.append(self.format)
        if self.format == "jpg":
            parts.append(f"q={self.q}")
        return ",".join(parts)

    def as_rows(self) -> Pictures:
        """Return the same pictures as raw RGB, whatever the format."""
        return Pictures(self.crop, self.size, self.gray, "rgb", 0)


@dataclass(frozen=True)  # no slots: `text` is kept
class Spec:
    """A parsed SPEC; equal for all spellings of the same thing.

    Attributes:
        select: `fps`, `every`, `keyframes`, `all` or `words`.
        rate: frames per second, for `fps`.
        every: for `every`.
        words: for `words`: `first`, `middle`, `last`, or a time in seconds.
        start, end: the segment in seconds, end excluded; None where it is open.
    """

    select: str
    rate: Fraction | None
    every: int
    words: tuple[str | Fraction, ...]
    start: Fraction | None
    end: Fraction | None
    pictures: Pictures

    @cached_property
    def text(self) -> str:
        """The canonical spelling; `parse` gives the same spec for it."""
        if self.select == "fps":
            parts = [f"fps={_spelt(self.rate)}"]
        elif self.select == "every":
            parts = [f"every={self.every}"]
        elif self.select == "words":
            parts = ["+".join(w if isinstance(w, str) else f"at={_spelt(w)}" for w in self.words)]
        else:
            parts = [self.select]
        if self.start is not None:
            parts.append(f"start={_spelt(self.start)}")
        if self.end is not None:
            parts.append(f"end={_spelt(self.end)}")
        return ",".join([*parts, self.pictures.text])

    @property
    def holds(self) -> bool:
        """Whether a frame that cannot be decoded is shown as the one before it.

        ffmpeg's fps filter keeps a frame until the next one comes.
        """
        return self.select == "fps"

    @property
    def extension(self) -> str:
        """The ending of the frame files' names."""
        return self.pictures.format


def parse(text: str) -> Spec:
    """Return the spec that `text` is.

    Raises:
        NotFound: it is none; the text says what is wrong.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        kind, value = _part(part)
        if kind in found:
            raise NotFound(f"SPEC {text!r}: {part!r} is one {kind} too many")
        found[kind] = value
    try:
        return _spec(found)
    except ValueError as exc:
        raise NotFound(f"SPEC {text!r}: {exc}") from exc


def _part(part: str) -> tuple[str, str]:
    """Return which of the things that a SPEC may say once `part` is, and the part itself."""
    name, equals, _ = part.partition("=")
    if part in ("keyframes", "all") or (equals and name in ("fps", "every")):
        return "choice of frames", part
    if part in FORMATS:
        return "format", part
    if part == "gray":
        return "gray", part
    if equals and name in ("start", "end", "crop", "size", "q"):
        return name, part
    if all(_is_word(word) for word in part.split("+")):
        return "choice of frames", part
    raise NotFound(f"a SPEC has no part {part!r}")


def _is_word(word: str) -> bool:
    return word in ("first", "middle", "last") or word.startswith("at=")


def _spec(found: dict[str, str]) -> Spec:
    select, rate, every = "all", None, 1
    words: tuple[str | Fraction, ...] = ()
    choice = found.get("choice of frames", "all")
    name, _, value = choice.partition("=")
    if name == "fps":
        select, rate = "fps", _fraction(value)
        if not 0 < rate <= _RATE_MAX:
            raise ValueError(f"fps goes from above 0 to {_RATE_MAX}")
    elif name == "every":
        select, every = "every", _integer(value, 1, 1 << 31)
        if every == 1:
            select = "all"
    elif choice in ("all", "keyframes"):
        select = choice
    else:
        select = "words"
        words = tuple(
            _fraction(word[3:]) if word.startswith("at=") else word for word in choice.split("+")
        )
        if len(words) > _WORDS_MAX:
            raise ValueError(f"more than {_WORDS_MAX} frames in a list")
    start, end = (
        _fraction(found[name].partition("=")[2]) if name in found else None
        for name in ("start", "end")
    )
    if end is not None and end <= (start or 0):
        raise ValueError("the segment ends before it starts")
    return Spec(select, rate, every, words, start or None, end, _pictures(found))


def _pictures(found: dict[str, str]) -> Pictures:
    crop = size = None
    if "crop" in found:
        numbers = found["crop"][5:].split(":")
        if len(numbers) != 4:
            raise ValueError("crop is W:H:X:Y")
        w, h = (_integer(number, 1, _SIDE_MAX) for number in numbers[:2])
        x, y = (_integer(number, 0, _SIDE_MAX) for number in numbers[2:])
        crop = (w, h, x, y)
    if "size" in found:
        numbers = found["size"][5:].split("x")
        if len(numbers) != 2:
            raise ValueError("size is WxH")
        sides = [-int(n[1]) if n in ("-1", "-2") else _integer(n, 1, _SIDE_MAX) for n in numbers]
        size = (sides[0], sides[1])
    format = found.get("format", "jpg")
    if "q" in found and format != "jpg":
        raise ValueError(f"q is for jpg, not for {format}")
    q = _integer(found["q"][2:], 1, Q_MAX) if "q" in found else Q_DEFAULT
    # The encoder's smallest quantiser is 2, and ffmpeg's -q:v 1 does not change that.
    return Pictures(crop, size, "gray" in found, format, max(q, Q_MIN) if format == "jpg" else 0)


def _integer(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ValueError(f"{text!r} is not a whole number")
    if not least <= int(text) <= most:
        raise ValueError(f"{text} is not between {least} and {most}")
    return int(text)


def _fraction(text: str) -> Fraction:
    if _NUMBER.match(text):
        if not text.isascii():
            raise ValueError(f"{text!r} is not a number")
        return Fraction(text)
    if found := _RATIO.match(text):
        if not text.isascii() or not int(found[2]):
            raise ValueError(f"{text!r} is not a fraction")
        return Fraction(int(found[1]), int(found[2]))
    raise ValueError(f"{text!r} is not a number (5, 2.5 or 30000:1001)")


def _spelt(value: Fraction | None) -> str:
    if value is None:
        raise ValueError("nothing to spell")
    return str(value.numerator) if value.denominator == 1 else str(value).replace("/", ":")
