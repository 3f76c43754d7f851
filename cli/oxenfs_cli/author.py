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
    if not _can_answer():
        return author
    import click

    print(f"oxenfs: nobody has said who you are; to set it for good: {_how()}", file=sys.stderr)
    name = click.prompt("name", default=author.name, err=True)
    return Author(name, click.prompt("email", default=author.email, err=True))


def tell(author: Author) -> None:
    """Say on stderr who has committed, if nobody said or was asked who that is.

    For when something is committed: an error stays one line.
    """
    if config.author() is None and not _can_answer():
        print(
            f"oxenfs: committed as {printable(author.name)} <{printable(author.email)}>; "
            f"to change that: {_how()}",
            file=sys.stderr,
        )


def _can_answer() -> bool:
    return is_terminal(0) and is_terminal(2)


def _how() -> str:
    where = config.folder() / "user_config.toml"
    return f"{_COMMAND}, or write name and email into {printable(str(where))}"
