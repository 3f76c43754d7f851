"""Bodies in frames, however they are cut up on the way."""

from __future__ import annotations

import http.client
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxenfs.remote.http.framing import Frames


def framed(contents: list[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in contents) + end


def taken(body: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    frames = Frames()
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(frames.content(piece) for piece in pieces), frames.ended


@given(
    st.lists(st.binary(min_size=1, max_size=400), max_size=30),
    st.lists(st.integers(0, 1 << 20), max_size=20),
    st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n", b"0;last\r\nA: b\r\nC: d\r\n\r\n", b"0\n\n"]),
)
def test_any_cuts_give_the_content(contents: list[bytes], cuts: list[int], end: bytes) -> None:
    assert taken(framed(contents, end), cuts) == (b"".join(contents), True)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.integers(1, 300))
def test_a_body_that_is_cut_off_has_not_ended(contents: list[bytes], missing: int) -> None:
    body = framed(contents)
    content, ended = taken(body[: max(len(body) - missing, 0)], [])
    assert not ended
    assert b"".join(contents).startswith(content)


@pytest.mark.parametrize(
    "body",
    [
        b"",  # no size
        b"-1\r\na",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n" + b"a" * 16,
        b"g\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"0\r\n\r\nHTTP/1.1 200 OK",
        b"0\r\n" + b"A: b\r\n" * 200,
        b"0" * 100_000,
        b"0\r\n" + b"A" * 100_000,
    ],
)
def test_what_are_no_frames_is_an_error(body: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        Frames().content(body or b"\r\n")
