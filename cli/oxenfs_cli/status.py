"""`oxenfs status`: what has changed in a mount with an overlay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oxenfs_cli.output import is_terminal, print_json, print_text, printable

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry
    from oxenfs.overlay.home import Home
    from oxenfs.overlay.item import Shown

_COLOURS = {"A": "32", "M": "33", "D": "31", "R": "36"}


@click.command(name="status")
@click.argument("words", metavar="[DIR] [PATH]...", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def command(words: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """List what was added (A), modified (M), deleted (D) and renamed (R) in the mount at DIR.

    Also of changes that are not mounted now, where DIR is their mount folder.
    """
    from oxenfs_cli.overlays import find

    found = find(words, directory, unmounted=True)
    if found.mount is None and found.home is not None:
        items, facts = _unmounted(found.home, sizes=as_json)
    elif found.mount is not None and found.mount.overlay is None:
        items, facts = [], _read_only(found.mount)
    else:
        from oxenfs_cli.overlays import changes_of

        assert found.mount is not None
        items, facts = changes_of(found.mount, sizes=as_json)
    if found.paths:
        items = [item for item in items if concerns(item, found.paths)]
    changes = [item for item in items if not item.ignored]
    if as_json:
        rows = [
            {"op": item.op, "path": item.path, "old": item.old, "size": item.size}
            for item in changes
        ]
        print_json({**facts, "changes": rows})
        return
    _print(changes, [item for item in items if item.ignored], facts)


def _print(changes: list[Shown], ignored: list[Shown], facts: dict[str, Any]) -> None:
    colours = is_terminal(1)
    lines = []
    for item in changes:
        text = printable(item.path)
        if item.old is not None:
            text = f"{printable(item.old)} -> {text}"
        op = f"\x1b[{_COLOURS[item.op]}m{item.op}\x1b[0m" if colours else item.op
        lines.append(f"{op} {text}")
    if lines:
        print_text("\n".join(lines))
    for item in ignored:
        if colours:
            print_text(f"left out: {printable(item.path)}")
        else:
            # Programs read the other lines.
            print(f"oxenfs: left out: {printable(item.path)}", file=sys.stderr)
    if not colours:
        return
    where = facts["branch"] or f"commit {facts['commit'][:10]}"
    counted = [(sum(item.op == op for item in changes), word) for op, word in _WORDS]
    summary = ", ".join(f"{count} {word}" for count, word in counted if count)
    print_text(f"{printable(where)}: {summary or 'no changes'}")
    if facts["behind"] is None:
        print_text("whether it is behind is not known now: the server does not tell")
    elif facts["behind"]:
        print_text(f"{facts['behind']} commits behind; oxenfs pull")


_WORDS = (("A", "added"), ("M", "modified"), ("D", "deleted"), ("R", "renamed"))


def _unmounted(home: Home, *, sizes: bool) -> tuple[list[Shown], dict[str, Any]]:
    from oxenfs.model import hash_text
    from oxenfs.overlay.opening import behind_branch
    from oxenfs_cli.overlays import repository, unmounted_changes

    with (
        home.opened() as upper,
        repository(home.repo, home.cache_dir, impatient=True) as (remote, records),
    ):
        items = unmounted_changes(upper, remote, records, sizes=sizes)
        branch, commit = upper.branch, hash_text(upper.base)
        behind = 0 if branch is None else behind_branch(remote, branch, upper.base)
    return items, {"repo": home.repo, "branch": branch, "commit": commit, "behind": behind}


def _read_only(mount: Entry) -> dict[str, Any]:
    from oxenfs.model import parse_hash
    from oxenfs.overlay.opening import behind_branch
    from oxenfs_cli.overlays import cache_of, repository

    behind: int | None = 0
    if mount.branch is not None:
        with repository(mount.repo, cache_of(mount), impatient=True) as (remote, _):
            behind = behind_branch(remote, mount.branch, parse_hash(mount.commit))
    return {
        "repo": mount.repo,
        "branch": mount.branch,
        "commit": mount.commit,
        "behind": behind,
    }


def concerns(item: Shown, paths: tuple[bytes, ...]) -> bool:
    """Return whether a change is one at or below one of `paths`, also by its old name."""
    import os

    for wanted in map(os.fsdecode, paths):
        for path in (item.path, item.old):
            if path is not None and (not wanted or f"{path}/".startswith(f"{wanted}/")):
                return True
    return False
