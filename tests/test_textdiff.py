"""Unified diffs of texts of which only the middle is looked at."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from oxenfs.textdiff import Whole, unified


def diff(old: bytes, new: bytes) -> str | None:
    lines = unified(b"a/t", b"b/t", Whole(old), Whole(new))
    return None if lines is None else "".join(f"{line}\n" for line in lines)


def rows(count: int) -> list[bytes]:
    return [b"%d,row\n" % number for number in range(count)]


def test_one_cell_of_a_large_table_is_one_line() -> None:
    table = rows(500_000)
    changed = [*table[:400_000], b"400000,cell\n", *table[400_001:]]
    assert diff(b"".join(table), b"".join(changed)) == (
        "--- a/t\n+++ b/t\n@@ -399998,7 +399998,7 @@\n"
        " 399997,row\n 399998,row\n 399999,row\n-400000,row\n+400000,cell\n"
        " 400001,row\n 400002,row\n 400003,row\n"
    )


def test_patch_makes_the_one_of_the_other(tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("no patch")
    rng = random.Random(3)
    for _ in range(60):
        lines = rng.choices([b"a\n", b"b\n", b"\n", "\u00e4\u2028\n".encode()], k=30)
        other = list(lines)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(other))
            other[at : at + rng.randrange(3)] = rng.choices([b"a\n", b"c\n"], k=rng.randrange(3))
        old, new = (b"".join(each) + rng.choice([b"", b"end"]) for each in (lines, other))
        if old == new:
            continue
        text = diff(old, new)
        assert text is not None
        (tmp_path / "t").write_bytes(old)
        subprocess.run(
            ["patch", "-p1", "--binary", "-s"], cwd=tmp_path, input=text.encode(), check=True
        )
        assert (tmp_path / "t").read_bytes() == new, text


def test_what_is_no_text_or_differs_everywhere_has_none() -> None:
    assert diff(b"a\0b", b"a\0c") is None
    assert diff(b"\xff\n", b"\xfe\n") is None
    assert diff(b"x\n" * 100_000, b"y\n" * 100_000) is None
    assert diff(b"x" * 200_000 + b"a" + b"x" * 200_000, b"x" * 200_000 + b"b" + b"x" * 9) is None
