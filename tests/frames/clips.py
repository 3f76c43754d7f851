"""Odd clips: made by `make-videos.sh`, once per machine, and what the ffmpeg tool makes of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from oxenfs.frames.source import Source

HERE = Path(__file__).parent
SCRIPT = HERE / "make-videos.sh"
RATES = {"all": "all", "fps=5": "fps=5", "fps=30000/1001": "fps=30000:1001"}
RATES |= {"fps=7/2": "fps=3.5", "fps=1/3": "fps=1:3"}

COVER = "cover.mp3"
DAMAGED = "corrupt_middle.mp4"
BROKEN_TIMES = "negative_start.mkv"
TWO_SIZES = "size_change.ts"


def expected() -> dict[str, dict[str, int]]:
    """Return how many files the tool writes, by clip and SPEC; three counts are not promised."""
    header, *lines = (HERE / "expected.tsv").read_text().splitlines()
    specs = [RATES[name] for name in header.split("\t")[1:]]
    counts = {}
    for line in lines:
        name, *numbers = line.split("\t")
        counts[name] = dict(zip(specs, map(int, numbers), strict=True))
    counts[COVER]["all"] = 0  # a cover is no frame
    counts[DAMAGED]["all"] = 90  # all are named, one cannot be decoded
    for spec in specs:
        if spec.startswith("fps"):
            counts[BROKEN_TIMES].pop(spec)
    return counts


def folder() -> Path:
    """Return the folder of the clips; make them if nobody has. Skips without an ffmpeg."""
    tool = shutil.which("ffmpeg")
    if tool is None:
        pytest.skip("no ffmpeg to make clips with (apt-get install ffmpeg)")
    script = SCRIPT.read_bytes()
    name = f"oxenfs-clips-{os.geteuid()}-{hashlib.sha256(script).hexdigest()[:12]}"
    place = Path(tempfile.gettempdir()) / name
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            done = subprocess.run(
                ["sh", str(SCRIPT), made], capture_output=True, text=True, check=False, timeout=900
            )
            if done.returncode:
                pytest.skip(f"this ffmpeg cannot make the clips: {done.stderr[-300:]}")
            Path(made).chmod(0o755)
            # Somebody else may have been faster.
            if not place.is_dir():
                shutil.copytree(made, place.with_name(f"{name}.{os.getpid()}"))
                place.with_name(f"{name}.{os.getpid()}").rename(place)
    return place


def source_of(data: bytes) -> Source:
    return Source(lambda offset, size: data[offset : offset + size], len(data))


def source(path: Path) -> Source:
    return source_of(path.read_bytes())
