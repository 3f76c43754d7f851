"""`oxenfs prefetch`: bring files here before they are read."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs_cli import warming


@click.command(name="prefetch")
@warming.options
def command(paths: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Bring everything at and below PATHs of a mount into the cache.

    Ctrl-C keeps what has arrived. With all of a commit here, it can be read without the server.
    """
    result = warming.run("prefetch", paths, directory, as_json=as_json)
    warming.print_result(result, warming.summary(result), as_json=as_json)
