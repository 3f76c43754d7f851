"""`oxenfs pull`: moves a mount to where its branch is now."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import UsageError


@click.command(name="pull")
@click.argument("words", metavar="[DIR]", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
def command(words: tuple[str, ...], directory: Path | None) -> None:
    """Let the mount at DIR show what its branch has got since; without DIR, the one around here.

    Programs that have files open keep the bytes they opened. Nothing new is no error.
    """
    from oxenfs.mount.client import ask
    from oxenfs_cli.checkout import print_move
    from oxenfs_cli.target import find

    target = find(words, directory)
    if target.paths or target.mount is None:
        raise UsageError(f"{words[-1]} is no mount point of oxenfs (oxenfs mounts lists them)")
    print_move(str(target.mount.dir), ask(target.mount, "pull", timeout_s=None))
