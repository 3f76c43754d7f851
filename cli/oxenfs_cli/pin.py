"""`oxenfs pin`: bring files here and keep them."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs_cli import warming


@click.command(name="pin")
@warming.options
def command(paths: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Bring everything at and below PATHs here, and keep it: it is not evicted for other files.

    What is pinned counts for the limit of the cache.
    """
    result = warming.run("pin", paths, directory, as_json=as_json)
    text = f"{result.get('pinned', 0)} pinned; {warming.summary(result)}"
    warming.print_result(result, text, as_json=as_json)
