"""`oxenfs discard`: drops all changes of an overlay."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import is_terminal, print_text, printable


@click.command(name="discard")
@click.argument("words", metavar="[DIR]", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(words: tuple[str, ...], directory: Path | None, yes: bool) -> None:
    """Drop all changes in the mount at DIR, or those kept for DIR while it is not mounted."""
    from oxenfs_cli.overlays import find
    from oxenfs_cli.target import refuse_both

    refuse_both(words, directory)
    found = find(words, directory, unmounted=True)
    if found.paths:
        raise UsageError(f"{words[-1]} is no mount point; some paths: oxenfs restore PATH...")
    if found.home is not None:
        _confirm(yes, str(found.home.dir), found.home.repo)
        with found.home.locked():
            found.home.remove()
        print_text(f"dropped all changes kept for {printable(str(found.home.dir))}")
        return
    mount = found.mount
    assert mount is not None
    if mount.overlay is None:
        raise UsageError(f"{mount.dir} is read-only and has no changes")
    from oxenfs.mount.client import ask

    _confirm(yes, str(mount.dir), mount.repo)
    done = ask(mount, "restore", timeout_s=None, paths=[""])
    count = done["restored"]
    how_many = "all" if count is None else count
    print_text(f"{how_many} {'change' if count == 1 else 'changes'} dropped")


def _confirm(yes: bool, directory: str, repo: str) -> None:
    if yes:
        return
    if not is_terminal(0):
        raise UsageError("this drops changes for good; say --yes if that is what you want")
    question = f"Drop all changes of {printable(repo)} at {printable(directory)} for good?"
    click.confirm(question, abort=True, err=True)
