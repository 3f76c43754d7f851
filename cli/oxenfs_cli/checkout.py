"""`oxenfs checkout`: moves a mount to another branch or commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import print_text, printable


@click.command(name="checkout")
@click.argument("rev", metavar="REV", required=False)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("-b", "branch", metavar="NEW", help="Make the branch NEW there, and mount that.")
def command(rev: str | None, directory: Path | None, branch: str | None) -> None:
    """Let the mount at DIR show REV: a branch, a commit id or the first 6 or more digits of one.

    Programs that have files open keep the bytes they opened; whatever is opened from now on is of
    REV. Without -C, the mount that the current folder lies in; without REV (with -b only), the
    commit that it shows.
    """
    from oxenfs.mount.client import ask
    from oxenfs_cli.target import mount_around

    if rev is None and branch is None:
        raise UsageError("name a branch or a commit to check out")
    mount = mount_around(directory)
    if mount is None:
        where = f"{directory} does" if directory is not None else "the current folder does"
        raise UsageError(f"{where} not lie in a mount of oxenfs; use -C DIR")
    done = ask(mount, "checkout", timeout_s=None, rev=rev, new_branch=branch)
    print_move(str(mount.dir), done)


def print_move(directory: str, done: dict[str, Any]) -> None:
    """Print where a mount was and where it is."""
    name = f" ({printable(done['branch'])})" if done["branch"] else ""
    if done["before"] == done["commit"]:
        print_text(f"{printable(directory)} is at {done['commit'][:10]}{name}")
    else:
        print_text(
            f"{printable(directory)} was at {done['before'][:10]}, "
            f"is now at {done['commit'][:10]}{name}"
        )
