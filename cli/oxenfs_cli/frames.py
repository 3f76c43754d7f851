"""`oxenfs frames`: which frames a SPEC shows of videos in a mount."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from oxenfs.errors import NotFound, UsageError
from oxenfs_cli.output import print_json, print_table, print_text, printable

_HEADER = ("video", "file", "frame", "pts", "size")


@click.command(name="frames")
@click.argument("spec")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the list as CSV, with a header.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.option(
    "--fill-sizes", is_flag=True, help="Make every frame, so that `ls -l` shows real sizes."
)
@click.pass_context
def command(
    ctx: click.Context,
    spec: str,
    paths: tuple[str, ...],
    directory: Path | None,
    as_csv: bool,
    as_json: bool,
    fill_sizes: bool,
) -> None:
    """List the frame files of videos by SPEC: number in the video, time in seconds, size in bytes.

    PATHs are videos, or folders of them. Sizes are known of frames that were read once. Why a
    video has no frames is said on stderr; the exit code is then 1.
    """
    from oxenfs.frames.spec import parse
    from oxenfs.mount import client
    from oxenfs_cli.target import find

    if as_csv and as_json:
        raise UsageError("either --csv or --json, not both")
    try:
        parse(spec)
    except NotFound as exc:
        raise UsageError(str(exc)) from exc
    target = find(paths, directory)
    if target.mount is None:
        raise UsageError("frames are listed in a mount; name it, or use -C DIR")
    if not target.paths:
        raise UsageError("name a video, or a folder of videos")
    printer = _Printer(as_csv=as_csv, as_json=as_json)
    client.ask(
        target.mount,
        "frames",
        timeout_s=None,
        on_event=printer.take,
        spec=spec,
        paths=[os.fsdecode(path) for path in target.paths],
        fill=fill_sizes,
    )
    printer.end()
    ctx.exit(1 if printer.failed else 0)


class _Printer:
    """Prints what a mount tells, as it comes where the form allows that.

    Attributes:
        failed: whether a video had no frames.
    """

    def __init__(self, *, as_csv: bool, as_json: bool) -> None:
        self.failed = False
        self._as_csv = as_csv
        self._as_json = as_json
        self._rows: list[dict[str, Any]] = []
        if as_csv:
            print_text(",".join(_HEADER))

    def take(self, event: dict[str, Any]) -> None:
        """Take a line of progress."""
        video = str(event.get("video"))
        if "why" in event:
            self.failed = True
            print(f"oxenfs: {printable(video)}: {printable(event['why'])}", file=sys.stderr)
        for row in event.get("rows", ()):
            entry = dict(zip(_HEADER, [video, *row], strict=True))
            if self._as_csv:
                self._print_csv(entry)
            else:
                self._rows.append(entry)

    def end(self) -> None:
        """Print what waits for the end."""
        if self._as_json:
            print_json(self._rows)
        elif not self._as_csv:
            rows = [[_cell(row[name]) for name in _HEADER] for row in self._rows]
            print_table(rows, _HEADER)

    def _print_csv(self, entry: dict[str, Any]) -> None:
        import csv
        import io

        line = io.StringIO()
        cells = ["" if entry[name] is None else entry[name] for name in _HEADER]
        csv.writer(line, lineterminator="").writerow(cells)
        print_text(printable(line.getvalue()))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6f}" if isinstance(value, float) else str(value)
