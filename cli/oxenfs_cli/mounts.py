"""`oxenfs mounts`: what is mounted where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oxenfs_cli.output import print_json, print_table

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry


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
    from oxenfs_cli.status import unmounted

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
            items, facts = unmounted(home, sizes=False)
            branch, commit = facts["branch"], facts["commit"]
            count = sum(not item.ignored for item in items)
            row |= {"revision": branch, "branch": branch, "commit": commit, "base": commit}
            row["changes"] = count
            if not items:
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
            f"{row['repo']}@{row['branch'] or str(row['commit'])[:10]}",
            "?" if row["changes"] is None else str(row["changes"]),
        )
        for row in rows
    ]
    print_table(table, ("DIR", "REPOSITORY", "CHANGES"))


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
