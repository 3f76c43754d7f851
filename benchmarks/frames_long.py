"""The frames of a two-hour video: its index, and listing 36,000 of them.

Peers in the same round: ffprobe reading all packets; the constant yardstick listing as many names.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from clips import awake, make_clip, make_repository, names, need
from harness import Figure, alternate, arguments, at_most, compared, run
from mounts import yardstick

if TYPE_CHECKING:
    from work import Work

SPEC = "fps=5"
LISTINGS = 15


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Alternate a mount with ffprobe and the yardstick."""
    need("ffmpeg", "ffprobe")
    minutes = 5 if args.quick else 120
    clip = make_clip(work, "128x96", 60 * minutes, 250)
    address = make_repository(work, [clip])
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts"]

    def listing_s(folder) -> tuple[float, int]:
        started = time.perf_counter()
        count = len(names(folder))
        return time.perf_counter() - started, count

    def again_s(folder) -> float:
        # A twentieth of a second each: one alone would tell what else the machine did.
        return statistics.median(listing_s(folder)[0] for _ in range(LISTINGS))

    def ours() -> tuple[float, float]:
        with awake(work, address, [clip]) as mount:
            folder = mount.folder / ".frames" / SPEC / clip.name
            index, count = listing_s(folder)
            assert count == 300 * minutes, count
            return index, again_s(folder)

    def theirs() -> tuple[float, float]:
        started = time.perf_counter()
        subprocess.run([*probe, str(clip)], check=True, stdout=subprocess.DEVNULL)
        index = time.perf_counter() - started
        with yardstick(
            work, "yardsticks/constant.py", "--dirs", "1", "--files", str(300 * minutes)
        ) as mount:
            (folder,) = (mount.folder / name for name in names(mount.folder))
            listing_s(folder)
            return index, again_s(folder)

    found = alternate({"oxenfs": ours, "peers": theirs}, args.rounds)
    (indexes, listings), (probes, constants) = (
        tuple(zip(*found[side], strict=True)) for side in ("oxenfs", "peers")
    )
    what = f"index and first listing of {minutes} minutes"
    again = f"listing its {minutes * 300:,} frames, once indexed"
    return [
        compared(what, indexes, "ffprobe", probes, "s", at_most(1.0)),
        compared(again, listings, "constant yardstick", constants, "s", at_most(1.3)),
    ]


def main() -> None:
    """Read the arguments and print the figures."""
    run(arguments("frames of a long video", rounds=3).parse_args(), measure)


if __name__ == "__main__":
    main()
