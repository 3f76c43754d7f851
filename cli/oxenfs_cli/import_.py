"""`oxenfs import`: commit a folder to a branch, without mounting anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs.errors import NotFound, UsageError
from oxenfs_cli.output import is_terminal, print_json, print_text, printable, size_text
from oxenfs_cli.server_options import insecure

if TYPE_CHECKING:
    from oxenfs.model import Author
    from oxenfs.remote.base import Remote


@click.command(name="import")
@click.argument(
    "source", metavar="SRC", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.argument("address")
@click.option(
    "--to", metavar="SUBDIR", default="", help="Folder in the repository to put SRC's files in."
)
@click.option(
    "--delete", is_flag=True, help="Remove what SRC does not have, so that both are equal."
)
@click.option("--skip-unsupported", is_flag=True, help="Leave out symlinks and special files.")
@click.option("-m", "message", metavar="MSG", required=True, help="What the commit is about.")
@insecure
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path,
    address: str,
    to: str,
    delete: bool,
    skip_unsupported: bool,
    message: str,
    insecure: bool,
    as_json: bool,
) -> None:
    """Commit the files of the folder SRC to the branch in ADDRESS.

    Adds and replaces files. A branch that does not exist yet starts at the default branch's head;
    in a repository without any it becomes the first.
    The last word printed is the new commit's id.
    """
    from oxenfs.address import parse
    from oxenfs.importing import import_tree
    from oxenfs.model import hash_text
    from oxenfs.remote.open import open_remote
    from oxenfs_cli.author import committing, tell
    from oxenfs_cli.target import path_in_repository

    if not message.strip():
        raise UsageError("an empty message; say after -m what the commit is about")
    wanted = parse(address)
    target = path_in_repository(to)
    remote = open_remote(wanted, insecure=insecure)
    try:
        author = committing()
        _begin(remote, wanted.rev or "main", author)
        branch = _branch(remote, wanted.rev)
        with _progress() as progress:
            published = import_tree(
                remote,
                source,
                branch,
                to=target,
                delete=delete,
                skip_unsupported=skip_unsupported,
                message=message,
                author=author,
                progress=progress,
            )
    finally:
        remote.close()
    tell(author)
    commit = hash_text(published.commit)
    if as_json:
        print_json(
            {
                "commit": commit,
                "branch": published.branch,
                "files": published.files,
                "uploaded_files": published.uploaded_files,
                "uploaded_bytes": published.uploaded_bytes,
            }
        )
        return
    stored = f"{published.uploaded_files} new ({size_text(published.uploaded_bytes)})"
    changed = "1 file" if published.files == 1 else f"{published.files} files"
    print_text(f"{changed}, {stored}; {printable(published.branch)} is now at {commit}")


def _begin(remote: Remote, branch: str, author: Author) -> None:
    """Give a repository that has none its first branch: servers make empty ones."""
    from oxenfs.remote.base import Beginning

    if isinstance(remote, Beginning):
        remote.begin(branch, author)


def _branch(remote: Remote, rev: str | None) -> str:
    """Return the name of the branch to commit to; it need not exist.

    Raises:
        UsageError: `rev` is a commit, which nothing can be added to.
    """
    if rev is None:
        return remote.default_branch().name
    try:
        return remote.branch(rev).name
    except NotFound:
        pass
    from oxenfs.model import hash_text

    found = []
    if re.fullmatch(r"[0-9a-fA-F]{6,32}", rev):
        found = remote.commits_with_prefix(rev.lower(), 1)
    if found:
        repo = remote.address
        raise UsageError(
            f"{rev} is a commit ({hash_text(found[0])}); an import goes to a branch: "
            f"{repo}@NAME, where a NAME that does not exist becomes a new branch"
        )
    return rev


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show files and bytes done on stderr, if that is a terminal."""
    if not is_terminal(2):
        yield lambda files, size: None
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, desc="import") as bar:

        def progress(files: int, size: int) -> None:
            bar.set_postfix_str(f"{files} files", refresh=False)
            bar.update(size - bar.n)

        yield progress
