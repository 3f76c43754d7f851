"""What all benchmarks share: arguments, alternated rounds, figures and how they are printed.

Rates on a shared machine swing by a factor of two within minutes. So nothing is compared with a
number of another run: each figure has a peer that is measured in the same round, the order of the
sides changes from round to round, and the ratio is the median of the ratios of the rounds.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from unmounting import sweep, uninterrupted
from work import Work, default_folder

T = TypeVar("T")

# A goal missed by less than this is called close: two runs differ by as much.
CLOSE = 0.1


@dataclass(frozen=True)
class Goal:
    """What a figure should reach: its ratio or its own value, at least or at most a number."""

    of: Literal["ratio", "value"]
    sense: Literal[">=", "<="]
    limit: float

    def verdict(self, found: float) -> str:
        """Return `yes`, `close` (within 10%) or `no`."""
        wanted = found / self.limit if self.sense == ">=" else self.limit / found
        return "yes" if wanted >= 1 else "close" if wanted >= 1 - CLOSE else "no"


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        what: what was measured.
        value: the median of our side, in `unit`.
        peer: what it is compared with, and `peer_value` its median in the same unit.
        ratio: as the goal means it: rate over rate where more is better, time over time else.
        spread: smallest and largest ratio of a single round.
        goal: None for what is only reported.
    """

    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def reached(self) -> str:
        """Return the verdict of the goal, or nothing where there is none."""
        if self.goal is None:
            return ""
        found = self.ratio if self.goal.of == "ratio" else self.value
        return "" if found is None else self.goal.verdict(found)

    @property
    def goal_text(self) -> str:
        """Return the goal as it is printed, such as `≥ 0.8x` or `≤ 150 MB`."""
        if self.goal is None:
            return ""
        sign = "≥" if self.goal.sense == ">=" else "≤"
        unit = "x" if self.goal.of == "ratio" else f" {self.unit}"
        return f"{sign} {self.goal.limit:g}{unit}"


def at_least(ratio: float) -> Goal:
    """Return the goal of a ratio of rates."""
    return Goal("ratio", ">=", ratio)


def at_most(ratio: float) -> Goal:
    """Return the goal of a ratio of times."""
    return Goal("ratio", "<=", ratio)


def no_more_than(value: float) -> Goal:
    """Return the goal of a value that needs no peer."""
    return Goal("value", "<=", value)


def compared(
    what: str,
    ours: Sequence[float],
    peer: str,
    theirs: Sequence[float],
    unit: str,
    goal: Goal | None = None,
    note: str = "",
) -> Figure:
    """Return the figure of rounds of two sides: medians, and the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Figure(
        what,
        statistics.median(ours),
        unit,
        peer,
        statistics.median(theirs),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        goal,
        note,
    )


def alternate(
    sides: Mapping[str, Callable[[], T]], rounds: int, warm_up: bool = True
) -> dict[str, list[T]]:
    """Run all sides in each round, first one order, then the reverse, and return their results.

    Args:
        sides: what to run, by name; each makes and removes what it needs, outside its own timing.
        rounds: how many results of each side.
        warm_up: run one more round first and forget it. Memory that a virtual machine touches for
            the first time is slow, and whoever comes first would pay.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(-1 if warm_up else 0, rounds):
        for name in list(sides) if turn % 2 else reversed(list(sides)):
            started = time.perf_counter()
            result = sides[name]()
            label = f"round {turn + 1}/{rounds}" if turn >= 0 else "warm-up"
            progress(f"{label}: {name} ({time.perf_counter() - started:.1f} s)")
            if turn >= 0:
                results[name].append(result)
    return results


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def progress(text: str) -> None:
    """Say on stderr what is going on; stdout is for figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work?")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--work", type=Path, help="folder for trees, kept for the next run")
    parser.add_argument("--fresh", action="store_true", help="import again what is in --work")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    return parser


def parts(
    chosen: Mapping[str, Callable[[argparse.Namespace, Work], list[Figure]]],
) -> Callable[[argparse.Namespace, Work], list[Figure]]:
    """Return what measures all of `chosen`, or the one that `--only` names."""

    def measure(args: argparse.Namespace, work: Work) -> list[Figure]:
        figures = []
        for name, part in chosen.items():
            if args.only in (None, name):
                figures += part(args, work)
        return figures

    return measure


def run(
    args: argparse.Namespace, measure: Callable[[argparse.Namespace, Work], list[Figure]]
) -> None:
    """Measure in a folder that is removed afterwards, also after Ctrl-C or SIGTERM, and print."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    kept: Path = args.work or default_folder()
    kept.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="run-", dir=kept) as name:
            run_folder = Path(name).resolve()
            try:
                figures = measure(args, Work(kept.resolve(), run_folder, args.fresh))
            finally:
                with uninterrupted():
                    sweep(run_folder)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(as_json(figures) if args.json else as_table(figures))


def as_json(figures: Sequence[Figure]) -> str:
    """Return the figures as a JSON list."""
    rows = [
        {**asdict(figure), "goal": figure.goal_text, "reached": figure.reached}
        for figure in figures
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def number(value: float | None) -> str:
    """Return three significant digits, without an exponent."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def as_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a plain text table."""
    rows = [("figure", "measured", "peer", "ratio", "(rounds)", "goal", "reached", "")]
    for f in figures:
        peer = f"{number(f.peer_value)} {f.unit} ({f.peer})" if f.peer else ""
        ratio = f"{f.ratio:.2f}x" if f.ratio is not None else ""
        spread = f"{f.spread[0]:.2f}..{f.spread[1]:.2f}" if f.spread else ""
        own = f"{number(f.value)} {f.unit}"
        rows.append((f.what, own, peer, ratio, spread, f.goal_text, f.reached, f.note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
