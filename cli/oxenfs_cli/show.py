"""`oxenfs show`: a file, a folder or the facts of a commit, without mounting it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs.errors import IsADirectory, UsageError
from oxenfs_cli.output import print_json, print_text, printable, text_of, write_bytes
from oxenfs_cli.server_options import insecure

if TYPE_CHECKING:
    from oxenfs.model import Commit
    from oxenfs.remote.base import Remote


@click.command(name="show")
@click.argument("what", metavar="COMMIT[:PATH]")
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("--repo", metavar="REPO", help="A repository that need not be mounted.")
@insecure
@click.option("--json", "as_json", is_flag=True, help="Print a folder or commit as JSON.")
def command(
    what: str, directory: Path | None, repo: str | None, insecure: bool, as_json: bool
) -> None:
    """Print the bytes of a file of a commit, the names in a folder, or the facts of a commit.

    COMMIT is a branch, a commit id or the first 6 or more digits of one. PATH is taken from the
    root of the repository; an empty one is the root itself.
    """
    from oxenfs.address import parse
    from oxenfs_cli.log import commit_json, print_commit
    from oxenfs_cli.target import Target, find, path_in_repository

    rev, colon, path = what.partition(":")
    if not rev:
        raise UsageError(f"{what}: a branch or commit goes before the colon")
    if repo is not None:
        if directory is not None:
            raise UsageError("either -C or --repo, not both")
        address = parse(repo)
        if address.rev is not None:
            raise UsageError(f"--repo takes no revision; it goes before the colon: {address.rev}:")
    else:
        address = find((), directory).address
    remote, revision = Target(replace(address, rev=rev), None).open(insecure=insecure)
    try:
        if colon:
            _print_path(remote, revision.commit, path_in_repository(path), as_json)
        elif as_json:
            print_json(commit_json(revision.commit))
        else:
            print_commit(revision.commit)
    finally:
        remote.close()


def _print_path(remote: Remote, commit: Commit, path: bytes, as_json: bool) -> None:
    from oxenfs.history import names_at, read_file

    try:
        for piece in read_file(remote, commit, path):
            write_bytes(piece)
    except IsADirectory:
        names = names_at(remote, commit, path)
        if as_json:
            print_json([text_of(name) for name in names])
            return
        for name in names:
            print_text(printable(name))
