"""Who commits."""

from __future__ import annotations

import sys

from oxenfs import config
from oxenfs.model import Author
from oxenfs_cli.output import printable


def committing() -> Author:
    """Return the configured author, else the login name, and say so on stderr."""
    configured = config.author()
    if configured is not None:
        return configured
    author = config.fallback_author()
    where = config.folder() / "user_config.toml"
    print(
        f"oxenfs: committing as {printable(author.name)} <{printable(author.email)}>; "
        f"to change that, write name and email into {printable(str(where))}",
        file=sys.stderr,
    )
    return author
