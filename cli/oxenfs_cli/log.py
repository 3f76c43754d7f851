"""`oxenfs log`: the commits that lead to what is mounted, or to an address."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import click

from oxenfs.model import Commit, hash_text
from oxenfs_cli.output import date_text, print_json, print_text, printable
from oxenfs_cli.server_options import insecure


@click.command(name="log")
@click.argument("words", metavar="[DIR|ADDRESS] [PATH]...", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option(
    "-n", "limit", metavar="N", type=click.IntRange(min=1), help="No more than N commits."
)
@insecure
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(
    words: tuple[str, ...],
    directory: Path | None,
    limit: int | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """List the commits that lead to what is mounted at DIR, or to ADDRESS, newest first.

    With PATHs only those that changed one of them or something below. Without DIR and ADDRESS,
    of the mount that the current folder lies in.
    """
    from oxenfs.history import commits_of
    from oxenfs_cli.target import find

    target = find(words, directory, address=True)
    remote, revision = target.open(insecure=insecure)
    try:
        commits = islice(commits_of(remote, revision.commit, target.paths), limit)
        if as_json:
            print_json([commit_json(commit) for commit in commits])
        else:
            _print(commits)
    finally:
        remote.close()


def commit_json(commit: Commit) -> dict[str, object]:
    """Return a commit as JSON shows it."""
    return {
        "id": hash_text(commit.id),
        "parents": [hash_text(parent) for parent in commit.parents],
        "author": commit.author.name,
        "email": commit.author.email,
        "date": date_text(commit.timestamp_ns, exact=True),
        "message": commit.message,
    }


def print_commit(commit: Commit) -> None:
    """Print a commit's id, author, date and, indented, its message."""
    author = commit.author
    print_text(f"commit {hash_text(commit.id)}")
    if len(commit.parents) > 1:
        print_text(f"merge  {' '.join(map(hash_text, commit.parents))}")
    print_text(f"author {printable(author.name)} <{printable(author.email)}>")
    print_text(f"date   {date_text(commit.timestamp_ns)}")
    print_text("")
    for line in commit.message.rstrip("\n").split("\n"):
        print_text(f"    {printable(line)}".rstrip())


def _print(commits: Iterable[Commit]) -> None:
    for number, commit in enumerate(commits):
        if number:
            print_text("")
        print_commit(commit)
