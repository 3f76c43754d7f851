"""`oxenfs commit`: publishes the changes in a mount."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import is_terminal, print_json, print_text, printable, size_text

_NAMED = 10


@click.command(name="commit")
@click.argument("words", metavar="[DIR]", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("-m", "--message", metavar="MSG", required=True, help="What the commit is about.")
@click.option("-b", "branch", metavar="NEW_BRANCH", help="Commit to a new branch, and mount that.")
@click.option(
    "--skip-unsupported", is_flag=True, help="Leave what Oxen cannot store here, commit the rest."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    words: tuple[str, ...],
    directory: Path | None,
    message: str,
    branch: str | None,
    skip_unsupported: bool,
    as_json: bool,
) -> None:
    """Publish the changes in the mount at DIR as a commit on its branch.

    The mount then shows the new commit; what is changed meanwhile stays a change. The last word
    printed is the new commit's id.
    """
    from oxenfs.mount.client import ask
    from oxenfs_cli.author import committing, tell
    from oxenfs_cli.overlays import overlay_mount
    from oxenfs_cli.target import refuse_both

    if not message.strip():
        raise UsageError("an empty message; say after -m what the commit is about")
    refuse_both(words, directory)
    found = overlay_mount(words, directory)
    if found.paths or found.mount is None:
        raise UsageError(f"{words[-1]} is no mount point of oxenfs; a commit takes all changes")
    author = committing()
    with _progress() as progress:
        done = ask(
            found.mount,
            "commit",
            timeout_s=None,
            on_event=progress,
            message=message,
            name=author.name,
            email=author.email,
            branch=branch,
            skip=skip_unsupported,
        )
    tell(author)
    _tell_left(done)
    if as_json:
        keys = ("commit", "branch", "files", "uploaded_files", "uploaded_bytes")
        print_json({key: done[key] for key in keys})
        return
    stored = f"{done['uploaded_files']} new ({size_text(done['uploaded_bytes'])})"
    changed = "1 file" if done["files"] == 1 else f"{done['files']} files"
    print_text(f"{changed}, {stored}; {printable(done['branch'])} is now at {done['commit']}")


def _tell_left(done: dict[str, Any]) -> None:
    """Say on stderr what is not in the commit."""
    for path, why in done["unsupported"][:_NAMED]:
        _warn(f"left here: {printable(path)} ({why})")
    if len(done["unsupported"]) > _NAMED:
        _warn(f"left here: {len(done['unsupported']) - _NAMED} more")
    if done["ignored"]:
        shown = ", ".join(map(printable, done["ignored"][:_NAMED]))
        _warn(f"left out: {shown}{', ...' if len(done['ignored']) > _NAMED else ''}")
    if done["executable"]:
        count = len(done["executable"])
        first = printable(done["executable"][0])
        more = f" and {count - 1} more" if count > 1 else ""
        _warn(f"Oxen stores no executable bit: {first}{more} stays executable here only")


def _warn(text: str) -> None:
    print(f"oxenfs: {text}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show how far it is on stderr, if that is a terminal."""
    if not is_terminal(2):
        yield lambda event: None
        return
    from tqdm import tqdm

    with tqdm(unit=" files", leave=False, desc="commit") as bar:

        def progress(event: dict[str, Any]) -> None:
            bar.total = event["total"] or None
            bar.set_description(event["stage"], refresh=False)
            bar.set_postfix_str(size_text(event["bytes"]), refresh=False)
            bar.update(event["files"] - bar.n)

        yield progress
