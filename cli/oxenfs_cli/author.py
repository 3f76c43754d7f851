"""Who commits."""

from __future__ import annotations

import sys

from oxenfs import config
from oxenfs.model import Author
from oxenfs_cli.output import is_terminal, printable

_COMMAND = "oxen config --name NAME --email EMAIL"


def committing() -> Author:
    """Return the configured author; else ask, or where nobody can answer, take the login name."""
    configured = config.author()
    if configured is not None:
        return configured
    author = config.fallback_author()
    where = config.folder() / "user_config.toml"
    how = f"{_COMMAND}, or write name and email into {printable(str(where))}"
    if is_terminal(0) and is_terminal(2):
        import click

        print(f"oxenfs: nobody has said who you are; to set it for good: {how}", file=sys.stderr)
        name = click.prompt("name", default=author.name, err=True)
        return Author(name, click.prompt("email", default=author.email, err=True))
    print(
        f"oxenfs: committing as {printable(author.name)} <{printable(author.email)}>; "
        f"to change that: {how}",
        file=sys.stderr,
    )
    return author
