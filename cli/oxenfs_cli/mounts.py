"""`oxenfs mounts`: what is mounted where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oxenfs_cli.output import print_json, print_table

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry


@click.command(name="mounts")
@click.option("--pending", is_flag=True, help="Overlays that are not mounted now, instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(pending: bool, as_json: bool) -> None:
    """List this user's mounts: where, what, which process."""
    from oxenfs.mount import registry

    # An overlay that is not mounted is no entry of the registry, and this version makes none.
    found = [] if pending else registry.entries()
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
