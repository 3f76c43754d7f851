"""`oxenfs restore`: drops changes of some paths."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import print_text, text_of


@click.command(name="restore")
@click.argument("words", metavar="[DIR] PATH...", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
def command(words: tuple[str, ...], directory: Path | None) -> None:
    """Let PATHs in the mount at DIR, and all below, be as in its commit again.

    A rename is undone at both its ends.
    """
    from oxenfs.mount.client import ask
    from oxenfs_cli.overlays import overlay_mount

    found = overlay_mount(words, directory)
    if found.mount is None or not found.paths:
        raise UsageError("name the paths to restore (everything: oxenfs discard)")
    paths = [text_of(path) for path in found.paths]
    done = ask(found.mount, "restore", timeout_s=None, paths=paths)
    count = done["restored"]
    print_text(f"{count} {'change' if count == 1 else 'changes'} dropped")
