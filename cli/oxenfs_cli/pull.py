"""`oxenfs pull`: moves a mount to where its branch is now."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import text_of


@click.command(name="pull")
@click.argument("words", metavar="[DIR] [PATH]...", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option(
    "--keep",
    type=click.Choice(["mine", "theirs"]),
    help="Whose version of PATHs (without any: of all) counts where both sides changed something.",
)
def command(words: tuple[str, ...], directory: Path | None, keep: str | None) -> None:
    """Let the mount at DIR show what its branch has got since; without DIR, the one around here.

    Programs that have files open keep the bytes they opened. Nothing new is no error. The changes
    in an overlay stay on top.
    """
    from oxenfs.mount.client import ask
    from oxenfs_cli.checkout import print_move
    from oxenfs_cli.target import find, refuse_both

    if keep is None:
        refuse_both(words, directory)
    target = find(words, directory)
    if target.mount is None or (target.paths and keep is None):
        raise UsageError(f"{words[-1]} is no mount point of oxenfs (oxenfs mounts lists them)")
    if target.mount.overlay is None and keep is not None:
        raise UsageError(f"{target.mount.dir} is read-only and has no changes to keep or drop")
    paths = [text_of(path) for path in target.paths]
    done = ask(target.mount, "pull", timeout_s=None, keep=keep, paths=paths)
    print_move(str(target.mount.dir), done)
