"""`oxenfs fsck`: recompute every hash of a local repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from oxenfs_cli.output import is_terminal, print_json, print_text, printable


@click.command(name="fsck")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
@click.pass_context
def command(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Check the local repository at PATH: recompute the hash of each commit, folder and file.

    Prints one line for each problem. Exits with 1 if there is any. Changes nothing.
    """
    from oxenfs.remote.local.check import check

    problems = []
    with _progress() as (progress, say):
        for problem in check(path, progress):
            problems.append(problem)
            if not as_json:
                say(printable(problem))
    if as_json:
        print_json({"path": str(path), "problems": problems})
    elif problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        print_text(f"{printable(str(path))}: {count}")
    else:
        print_text(f"{printable(str(path))}: all hashes are right")
    if problems:
        ctx.exit(1)


@contextmanager
def _progress() -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """Give what shows objects and bytes done on stderr, and what prints a line beside it."""
    if not is_terminal(2):
        yield (lambda objects, size: None), print_text
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, desc="fsck") as bar:

        def progress(objects: int, size: int) -> None:
            bar.set_postfix_str(f"{objects} objects", refresh=False)
            bar.update(size - bar.n)

        yield progress, bar.write
