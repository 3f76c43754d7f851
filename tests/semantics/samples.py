"""A folder of files with everything that makes trouble, to import and to compare with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from repositories import KIB, MIB, noise

ODD_NAMES = [
    b"with space",
    b" leading and trailing ",
    b"new\nline",
    b"tab\tand\x01control\x7f\x1b[31m",
    b"-dash",
    b"--help",
    b"back\\slash 'single' \"double\" $dollar `tick`",
    b"star*question?[bracket]",
    b"trailing.",
    b"...",
    b".hidden",
    b"UPPER",
    b"upper",
    b"a@b:c;d|e&f",
    b"x" * 255,
    "文".encode() * 85,
    "composed-\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    "decomposed-e\N{COMBINING ACUTE ACCENT}".encode(),
    "\N{GRINNING FACE}.txt".encode(),
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe".encode(),
]

SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1)
LARGE_SIZES = (MIB - 1, MIB, MIB + 1, 5 * MIB + 123)

TIMES_NS = {
    "epoch": 0,
    "before": -86_400 * 10**9 * 1000 + 1,
    "nanosecond": 1_500_000_000_000_000_001,
    "latest": 1_999_999_999_999_999_999,
    "far": 7_258_118_400 * 10**9,
}


def make_samples(folder: Path) -> None:
    """Fill the new folder."""
    for size in (*SIZES, *LARGE_SIZES):
        _write(folder / "sizes" / str(size), noise(size, size))
    for number, name in enumerate(ODD_NAMES):
        _write(folder / "names" / os.fsdecode(name), b"%d" % number)
    for number, name in enumerate(ODD_NAMES[:4]):
        _write(folder / "folders" / os.fsdecode(name) / "inside", b"%d" % number)
    deep = folder
    for level in range(50):
        deep = deep / f"level {level}"
        _write(deep / "here", b"%d" % level)
    for time, ns in TIMES_NS.items():
        _write(folder / "times" / time, time.encode())
        os.utime(folder / "times" / time, ns=(ns, ns))
    for number in range(300):
        _write(folder / "several" / f"{number:04d}.txt", b"%d\n" % number)
    _write(folder / "zeros", bytes(3 * MIB))
    _write(folder / "twice", noise(4096, 4096))
    (folder / "hollow").mkdir()
    executable = _write(folder / "run.sh", b"#!/bin/sh\necho ran\n")
    executable.chmod(0o755)
    np.save(folder / "array.npy", np.arange(200_000, dtype=np.int64).reshape(400, 500))
    pixels = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
