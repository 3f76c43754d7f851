"""A large file through a mapping instead of `read`, over a link: how fast, and how much moves.

Twice: a `numpy.memmap` that is copied from front to back, as who sums up an array does; and a file
of tensors (pieces of 8 MiB, like those of a safetensors file) of which each is copied out of one
mapping, in an order that is not the file's. The peer is `read` of the same pieces in the same order
through the same kind of mount. Once from an empty cache, and once after a remount with what is in
the cache on disk then. «Moved» is what the link counted.

    python benchmarks/remote_mapped.py [--size 268435456] [--rtt-ms 20] [--real BINARY]
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from harness import Figure, alternate, arguments, at_least, compared, run
from link import link
from machine import warm
from mounts import mounted
from remotes import Origin, add_server, origin
from trees import FILE_NAME, Tree

if TYPE_CHECKING:
    from work import Work

RATE = 125e6
PIECE = 1 << 20
TENSOR = 8 << 20
NAME = FILE_NAME % 0
# Of the issue: of the speed of `read`; bytes over the link for each byte of the file.
SPEED_MIN, MOVED_MAX = 0.7, 1.2

Take = Callable[[Path, Sequence[slice]], int]
"""Takes pieces of a file, in that order, and returns how many bytes."""


@dataclass(frozen=True)
class Taken:
    """MB/s from an empty cache and from the one on disk; bytes moved for each byte."""

    cold: float
    cached: float
    moved: float


def by_read(path: Path, pieces: Sequence[slice]) -> int:
    """Take pieces by `pread`."""
    total = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        for piece in pieces:
            target = memoryview(bytearray(piece.stop - piece.start))
            at = 0
            while count := os.preadv(fd, [target[at:]], piece.start + at):
                at += count
            total += at
    finally:
        os.close(fd)
    return total


def by_memmap(path: Path, pieces: Sequence[slice]) -> int:
    """Take pieces of a `numpy.memmap`."""
    array = np.memmap(path, dtype=np.uint8, mode="r")
    return sum(np.array(array[piece]).nbytes for piece in pieces)


def by_mapping(path: Path, pieces: Sequence[slice]) -> int:
    """Take pieces of one mapping, as loaders of safetensors do."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return sum(len(mapped[piece]) for piece in pieces)


def take(
    work: Work, served: Origin, rtt_ms: float, size: int, how: Take, pieces: Sequence[slice]
) -> Taken:
    """Take pieces through a mount with an empty cache, and through another with what it has."""

    def rate(mount: Path) -> float:
        path = mount / NAME
        path.stat()
        # Listings come first, and connections are kept by then.
        time.sleep(1)
        started = time.perf_counter()
        count = how(path, pieces)
        seconds = time.perf_counter() - started
        if count != size:
            raise SystemExit(f"{count} bytes instead of {size}")
        return size / seconds / 1e6

    cache = work.new_folder("cache")
    with link(served.host, rtt_ms=rtt_ms, rate=RATE) as slow:
        address = served.address(slow.host)
        with mounted(work, address, cache) as mount:
            before = slow.counts()
            cold = rate(mount.folder)
            moved = (slow.counts() - before).body_bytes / size
        with mounted(work, address, cache) as mount:
            warm(cache)
            cached = rate(mount.folder)
    # Or each round takes memory that a virtual machine has yet to be given.
    shutil.rmtree(cache)
    return Taken(cold, cached, moved)


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Alternate mappings and reads of the same pieces."""
    ordered = _pieces(args.size, PIECE)
    tensors = _pieces(args.size, TENSOR)
    random.Random(0).shuffle(tensors)
    figures = []
    with origin(work, Tree(0, 1, args.size), args.real) as served:
        for what, how, pieces in (
            ("numpy.memmap in order", by_memmap, ordered),
            ("tensors of 8 MiB out of one mapping", by_mapping, tensors),
        ):
            taking = partial(take, work, served, args.rtt_ms, args.size)
            sides = {
                "mapped": partial(taking, how, pieces),
                "read": partial(taking, by_read, pieces),
            }
            found = alternate(sides, args.rounds)
            figures += _rows(f"{what}, {served.kind}, {args.rtt_ms:g} ms", found)
    return figures


def _pieces(size: int, length: int) -> list[slice]:
    return [slice(at, min(at + length, size)) for at in range(0, size, length)]


def _rows(what: str, found: dict[str, list[Taken]]) -> list[Figure]:
    mapped, read = found["mapped"], found["read"]
    moved = max(each.moved for each in mapped)
    notes = {
        "cold": f"moved {moved:.3f} bytes per byte (goal: {MOVED_MAX} at the most)",
        "cached": "",
    }
    return [
        compared(
            f"{what}, {'empty' if name == 'cold' else 'disk'} cache",
            [getattr(each, name) for each in mapped],
            "read of the same",
            [getattr(each, name) for each in read],
            "MB/s",
            at_least(SPEED_MIN),
            note,
        )
        for name, note in notes.items()
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    parser = arguments("a large file through a mapping", rounds=3)
    parser.add_argument("--size", type=int, default=256 << 20, help="in bytes")
    parser.add_argument("--rtt-ms", type=float, default=20)
    add_server(parser)
    args = parser.parse_args()
    if args.quick:
        args.size = min(args.size, 32 << 20)
    run(args, measure)


if __name__ == "__main__":
    main()
