"""Experiment: small files of the pass-through when the daemon polls before it sleeps.

pyfuse3 waits for each request through trio's scheduler: a lock, and an epoll wait. It looks `trio`
up as an attribute of its module, so a shim can stand in for it. Variants, each pinned in each way:

- `plain`: as it is.
- `poll`: look with `poll(0)` first and go through the scheduler only if no request is there.
- `poll+lock`: the same, and a lock that is taken without a trip through the scheduler.
- `spin50`, `spin200`: the same, and after a request look again and again for 50 or 200 µs before
  sleeping, which saves waking an idle core and burns that much CPU.

`pyfuse3.trio` is not a documented interface: an option with the plain path as fallback at most.
The ratio is to `plain` in the same round.

    python benchmarks/experiments/poll_first.py [--quick]
"""

from __future__ import annotations

import argparse
import select
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pyfuse3
import trio

BENCHMARKS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "yardsticks")]

from harness import Figure, alternate, arguments, compared, run  # noqa: E402
from machine import Pinning, pinnings  # noqa: E402
from mounts import yardstick  # noqa: E402
from passthrough import PassThrough  # noqa: E402
from serving import serve  # noqa: E402
from small_files import Pass, one_pass  # noqa: E402
from trees import Tree  # noqa: E402

if TYPE_CHECKING:
    from work import Work

VARIANTS = ("plain", "poll", "poll+lock", "spin50", "spin200")


class OpenLock:
    """A lock that costs nothing while it is free, and wakes one waiter when it becomes so.

    The one who let go may take it again before the waiter runs: the point of it, as the worker that
    has just answered a request goes on with the next one, without a change of tasks.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._held:
            await self._waiting.park()
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        self._held = False
        self._waiting.unpark()


class PollFirst:
    """Waits for a descriptor, and looks first whether that is needed."""

    def __init__(self, spin_s: float) -> None:
        self._spin_s = spin_s
        self._turn = 0
        self._poller: select.poll | None = None

    async def wait_readable(self, fd: int) -> None:
        """Return when `fd` can be read; every 32nd time the other tasks have a turn first."""
        if self._poller is None:
            self._poller = select.poll()
            self._poller.register(fd, select.POLLIN)
        poll = self._poller.poll
        self._turn += 1
        if self._turn & 31:
            if poll(0):
                return
            end = time.perf_counter() + self._spin_s
            while self._spin_s and time.perf_counter() < end:
                if poll(0):
                    return
        await trio.lowlevel.wait_readable(fd)


def install(variant: str) -> None:
    """Put the shim of a variant in the place of pyfuse3's `trio`."""
    if variant == "plain":
        return
    spin_s = float(variant.removeprefix("spin")) / 1e6 if variant.startswith("spin") else 0.0
    waiting = PollFirst(spin_s)
    lowlevel = SimpleNamespace(**vars(trio.lowlevel))
    lowlevel.wait_readable = waiting.wait_readable
    shim = SimpleNamespace(**{k: v for k, v in vars(trio).items() if not k.startswith("_")})
    shim.lowlevel = lowlevel
    if variant != "poll":
        shim.Lock = OpenLock
    pyfuse3.trio = shim  # type: ignore[attr-defined]


def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
    """Read all files with each variant, alternated, in each pinning."""
    tree = Tree(args.files // 1000, 1000, 10_000)
    source = tree.at(work.kept)
    figures = []
    for pinning in pinnings():

        def one(variant: str, pinning: Pinning = pinning) -> Pass:
            script = "experiments/poll_first.py"
            mount = yardstick(work, script, "--serve", variant, "--backing", str(source))
            return one_pass(mount, source, pinning, tree.size)

        sides = {variant: lambda variant=variant: one(variant) for variant in VARIANTS}
        found = cast("dict[str, list[Pass]]", alternate(sides, args.rounds))
        for variant in VARIANTS:
            times, plain = (
                [1e6 / p.rate for p in found[variant]],
                [1e6 / p.rate for p in found["plain"]],
            )
            cpu = sorted(p.cpu for p in found[variant])[len(times) // 2]
            figures.append(
                compared(
                    f"{variant}, {pinning.name}",
                    times,
                    "plain",
                    plain,
                    "µs/file",
                    note=f"daemon's CPU {cpu:.0f} µs/file",
                )
            )
    return figures


def main() -> None:
    """Read the arguments; measure, or be the file system of one variant."""
    parser = arguments("poll-first waits of the pass-through", rounds=5)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("mountpoint", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--backing", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        install(args.serve)
        serve(PassThrough(args.backing), args.mountpoint, "passthrough")
        return
    if args.quick:
        args.files = min(args.files, 2_000)
    run(args, measure)


if __name__ == "__main__":
    main()
