"""`oxenfs unpin`: let pinned files go again."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs_cli import warming


@click.command(name="unpin")
@warming.options
def command(paths: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Let everything at and below PATHs be evicted again."""
    result = warming.run("unpin", paths, directory, as_json=as_json)
    warming.print_result(result, f"{result['unpinned']} unpinned", as_json=as_json)
