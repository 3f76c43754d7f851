"""`oxenfs mounts`: what is mounted where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oxenfs_cli.output import print_json, print_table

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry
    from oxenfs.overlay.home import Home
    from oxenfs.overlay.upper import Upper


_COUNT_S = 5.0


@click.command(name="mounts")
@click.option("--pending", is_flag=True, help="Overlays that are not mounted now, instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(pending: bool, as_json: bool) -> None:
    """List this user's mounts: where, what, which process."""
    from oxenfs.mount import registry

    if pending:
        _print_pending(as_json)
        return
    found = [_counted(entry) for entry in registry.entries()]
    if as_json:
        print_json([_row(entry) for entry in found])
        return
    rows = [
        (
            str(entry.dir),
            entry.address,
            entry.commit[:10],
            str(entry.pid or "-"),
            _state(entry),
        )
        for entry in found
    ]
    print_table(rows, ("DIR", "REPOSITORY", "COMMIT", "PID", "STATE"))


def count_changes(entry: Entry | None) -> int | None:
    """Return how many changes a mount has, if it has an overlay and its daemon tells soon."""
    from oxenfs.errors import OxenfsError
    from oxenfs.mount.client import ask

    if entry is None or entry.overlay is None or not entry.alive:
        return None
    try:
        return int(ask(entry, "changes", timeout_s=_COUNT_S))
    except OxenfsError:
        return None


def _counted(entry: Entry) -> Entry:
    from dataclasses import replace

    count = count_changes(entry)
    return entry if count is None else replace(entry, changes=count)


def _print_pending(as_json: bool) -> None:
    from oxenfs.errors import OxenfsError
    from oxenfs.overlay import home as homes

    rows: list[dict[str, object]] = []
    for home in homes.every():
        if home.is_locked:
            continue
        row: dict[str, object] = {
            "dir": str(home.dir),
            "repo": home.repo,
            "revision": None,
            "branch": None,
            "commit": None,
            "base": None,
            "pid": None,
            "overlay": str(home.folder),
            "changes": None,
        }
        try:
            if not _look_into(home, row):
                continue
        except OxenfsError as exc:
            # What cannot be looked into now is all the more to be named.
            row["error"] = str(exc)
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    table = [
        (
            str(row["dir"]),
            _address(row),
            "?" if row["changes"] is None else str(row["changes"]),
        )
        for row in rows
    ]
    print_table(table, ("DIR", "REPOSITORY", "CHANGES"))


def _look_into(home: Home, row: dict[str, object]) -> bool:
    """Add to `row` what `home` has; return whether that is anything."""
    from oxenfs_cli.overlays import repository, unmounted_changes

    with home.opened() as upper:
        if not upper.has_changes():
            return False
        # What is on this disk is told whether or not a server answers.
        row |= _standing(upper)
        with repository(home.repo, home.cache_dir, impatient=True) as (remote, records):
            items = unmounted_changes(upper, remote, records, sizes=False)
        # It may stand on a commit by now that was interrupted, and had happened.
        row |= _standing(upper)
        row["changes"] = sum(not item.ignored for item in items)
    return bool(items)


def _standing(upper: Upper) -> dict[str, object]:
    from oxenfs.model import hash_text

    branch, commit = upper.branch, hash_text(upper.base)
    return {"revision": branch, "branch": branch, "commit": commit, "base": commit}


def _address(row: dict[str, object]) -> str:
    if row["commit"] is None:
        return str(row["repo"])
    return f"{row['repo']}@{row['branch'] or str(row['commit'])[:10]}"


def _row(entry: Entry) -> dict[str, object]:
    return {
        "dir": str(entry.dir),
        "repo": entry.repo,
        "revision": entry.revision,
        "branch": entry.branch,
        "commit": entry.commit or None,
        "base": entry.base,
        "pid": entry.pid,
        "overlay": entry.overlay,
        "changes": entry.changes,
    }


def _state(entry: Entry) -> str:
    if entry.folder is None:
        return "process unknown"
    if not entry.alive:
        return "dead: mount there again, or oxenfs umount"
    return "mounted" if entry.mounted else "unmounted, files still open"
