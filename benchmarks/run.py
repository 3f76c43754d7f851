"""Runs all benchmarks, one after the other, and writes a Markdown table of their figures.

Each script runs as a process of its own, so that pinning, memory and page cache of one do not reach
the next. What fails is named at the end, and the others' figures are printed all the same.

    python benchmarks/run.py [--quick] [--work DIR] [--only listing small_files] > figures.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from harness import number

BENCHMARKS = Path(__file__).resolve().parent

# The order matters a little: the import deletes many files at its end, so it comes last.
COMMANDS = {
    "mount_time": ["mount_time.py"],
    "listing": ["listing.py"],
    "sequential": ["sequential.py"],
    "sequential_user": ["sequential.py", "--user"],
    "small_files": ["small_files.py"],
    "remote_mount": ["remote_mount.py"],
    "remote_large": ["remote_large.py"],
    "remote_small": ["remote_small.py"],
    "remote_random": ["remote_random.py"],
    "remote_mapped": ["remote_mapped.py"],
    "remote_memory": ["remote_memory.py"],
    "checking": ["checking.py"],
    "checking_user": ["checking.py", "--user"],
    "frames": ["frames.py"],
    "frames_random": ["frames_random.py"],
    "frames_long": ["frames_long.py"],
    "frames_remote": ["frames_remote.py"],
    "moving": ["moving.py"],
    "overlay_writing": ["overlay_writing.py"],
    "overlay_reading": ["overlay_reading.py"],
    "overlay_changes": ["overlay_changes.py"],
    "publishing": ["publishing.py"],
    "import_rate": ["import_rate.py"],
    "transfer": ["transfer.py"],
}
HEADER = ("figure", "goal", "measured", "peer", "ratio", "reached", "command")


def figures_of(arguments: list[str], passed: list[str]) -> list[dict[str, Any]] | None:
    """Run one script and return its figures; None if it failed. Its progress goes to stderr."""
    line = [sys.executable, str(BENCHMARKS / arguments[0]), *arguments[1:], *passed, "--json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        out, _ = process.communicate()
    except BaseException:
        # It has mounts and folders to put away, so it is asked and waited for.
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if process.returncode:
        return None
    found: list[dict[str, Any]] = json.loads(out)
    return found


def row(figure: dict[str, Any], command: str) -> tuple[str, ...]:
    """Return the cells of one figure."""
    unit = figure["unit"]
    ratio, spread = figure["ratio"], figure["spread"]
    peer = f"{number(figure['peer_value'])} {unit} ({figure['peer']})" if figure["peer"] else ""
    shown = f"{ratio:.2f} ({spread[0]:.2f}..{spread[1]:.2f})" if ratio is not None else ""
    own = f"{number(figure['value'])} {unit}"
    return figure["what"], figure["goal"], own, peer, shown, figure["reached"], f"`{command}`"


def machine() -> str:
    """Return what the figures depend on besides the program: kernel, Python, cores, memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return (
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GB"
    )


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description="all benchmarks, as a Markdown table")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    args = parser.parse_args()
    passed = [flag for flag in ("--quick", "--fresh") if getattr(args, flag[2:])]
    passed += ["--rounds", str(args.rounds)] if args.rounds else []
    passed += ["--work", str(args.work)] if args.work else []

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    rows, failed = [], []
    try:
        for name in args.only:
            shown = ["python", f"benchmarks/{COMMANDS[name][0]}", *COMMANDS[name][1:]]
            command = " ".join([*shown, *(flag for flag in passed if flag == "--quick")])
            print(command, file=sys.stderr, flush=True)
            figures = figures_of(COMMANDS[name], passed)
            if figures is None:
                failed.append(command)
            rows += [row(figure, command) for figure in figures or []]
    except KeyboardInterrupt:
        failed.append("interrupted")
    print(f"Measured on {machine()}. Ratios: median of the rounds (smallest..largest).\n")
    for cells in (HEADER, ("---",) * len(HEADER), *rows):
        print(f"| {' | '.join(cells)} |")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
