"""`oxenfs branch`: the branches of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs.errors import NotFound, UsageError
from oxenfs_cli.output import print_json, print_text, printable
from oxenfs_cli.server_options import insecure

if TYPE_CHECKING:
    from oxenfs.remote.base import Remote


@click.command(name="branch")
@click.argument("words", metavar="[DIR]", nargs=-1)
@click.option(
    "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="A folder in the mount."
)
@click.option("--repo", metavar="REPO", help="A repository that need not be mounted.")
@insecure
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(
    words: tuple[str, ...],
    directory: Path | None,
    repo: str | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """List the branches of the repository that is mounted at DIR, or of REPO.

    A star marks the one that is mounted; of a REPO the one that its address means.
    """
    from oxenfs.address import parse
    from oxenfs.model import hash_text
    from oxenfs.remote.open import open_remote
    from oxenfs_cli.target import find, refuse_both

    if repo is not None:
        if words or directory is not None:
            raise UsageError("either a mount or --repo, not both")
        address, mount = parse(repo), None
    else:
        refuse_both(words, directory)
        target = find(words, directory)
        if target.paths:
            raise UsageError(f"{words[-1]} is no mount point of oxenfs (oxenfs mounts lists them)")
        address, mount = target.address, target.mount
    remote = open_remote(address, insecure=insecure)
    try:
        current = mount.branch if mount is not None else _meant(remote, address.rev)
        branches = remote.branches()
    finally:
        remote.close()
    if as_json:
        print_json(
            [
                {
                    "name": branch.name,
                    "commit": hash_text(branch.commit),
                    "current": branch.name == current,
                }
                for branch in branches
            ]
        )
        return
    width = max((len(printable(branch.name)) for branch in branches), default=0)
    for branch in branches:
        star = "*" if branch.name == current else " "
        print_text(f"{star} {printable(branch.name).ljust(width)}  {hash_text(branch.commit)}")


def _meant(remote: Remote, rev: str | None) -> str | None:
    """Return the branch that an address with `rev` means, None if it means a commit."""
    from oxenfs.remote.revision import resolve

    if rev is not None:
        return resolve(remote, rev).branch
    try:
        return remote.default_branch().name
    except NotFound:
        # No commit yet, so no branch.
        return None
