"""`oxenfs diff A..B`: what differs between two commits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import is_terminal, print_json, print_text, printable, size_text, text_of
from oxenfs_cli.server_options import insecure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oxenfs.comparing import Changed, Side
    from oxenfs.remote.base import Remote


@click.command(name="diff")
@click.argument("words", metavar="[DIR|ADDRESS] [A..B] [PATH]...", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@insecure
@click.option("--json", "as_json", is_flag=True, help="Print the changed files as JSON.")
def command(words: tuple[str, ...], directory: Path | None, insecure: bool, as_json: bool) -> None:
    """Show the changes in the mount at DIR, or what differs between the commits A and B.

    A and B are branches, commit ids or prefixes of them.

    Text as a unified diff that `patch` takes, of other files their sizes and what is known of them.
    An A or B that is left out is what is mounted. With PATHs only those, and what is below them.
    """
    from oxenfs.comparing import changes_between
    from oxenfs.remote.revision import resolve
    from oxenfs_cli.target import find

    # `../x` is a path, `..dev` is not.
    ranges = (n for n, word in enumerate(words) if ".." in word and ".." not in word.split("/"))
    at = next(ranges, None)
    if at is None:
        from oxenfs_cli.overlay_diff import show_changes

        show_changes(words, directory, as_json=as_json)
        return
    if at > 1:
        raise UsageError("name two commits, such as main..dev")
    before, _, after = words[at].partition("..")
    target = find((*words[:at], *words[at + 1 :]), directory, address=at == 1)
    remote, mounted = replace(target, address=target.address).open(insecure=insecure)
    try:
        old = resolve(remote, before).commit if before else mounted.commit
        new = resolve(remote, after).commit if after else mounted.commit
        changes = changes_between(remote, old, new, target.paths)
        if as_json:
            print_json([_row(change) for change in changes])
        else:
            _print(remote, changes)
    finally:
        remote.close()


def _row(change: Changed) -> dict[str, object]:
    return {
        "op": change.op,
        "path": text_of(change.path),
        "old_size": None if change.old is None else change.old.row.size,
        "size": None if change.new is None else change.new.row.size,
    }


def _print(remote: Remote, changes: Iterable[Changed]) -> None:
    from oxenfs.comparing import lines_of

    # `patch` needs the lines as they are; a terminal must not.
    safe = printable if is_terminal(1) else str
    for change in changes:
        lines = lines_of(remote, change)
        if lines is None:
            facts = " -> ".join(_facts(side) for side in (change.old, change.new) if side)
            print_text(f"{change.op} {printable(change.path)}: {facts}")
            continue
        for line in lines:
            print_line(line, safe)


def print_line(line: str, safe: Callable[[str], str]) -> None:
    """Print a line of a diff; tabs stay."""
    print_text("\t".join(safe(part) for part in line.split("\t")))


def _facts(side: Side) -> str:
    from oxenfs.comparing import facts_of

    return ", ".join([size_text(side.row.size), *facts_of(side)])
