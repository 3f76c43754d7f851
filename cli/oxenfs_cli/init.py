"""`oxenfs init`: a new local repository."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs_cli.output import print_text, printable


@click.command(name="init")
@click.argument("path", type=click.Path(path_type=Path))
def command(path: Path) -> None:
    """Make a new local repository at PATH: branch main, with one empty commit.

    PATH is a folder that does not exist yet, or an empty one.
    """
    from oxenfs.model import hash_text
    from oxenfs.remote.local import repository
    from oxenfs_cli.author import committing, tell

    author = committing()
    remote = repository.create(path, author)
    try:
        tell(author)
        branch = remote.default_branch()
        where = printable(remote.address)
        print_text(f"made repository {where}, branch {branch.name} at {hash_text(branch.commit)}")
    finally:
        remote.close()
