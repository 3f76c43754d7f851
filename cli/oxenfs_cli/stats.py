"""`oxenfs stats`: what a mount did, in numbers."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import print_json, print_table


@click.command(name="stats")
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(directory: Path | None, as_json: bool) -> None:
    """Print what the mount DIR (default: the current folder's) did since it began.

    bytes_remote is what came over the network, headers included; bytes_disk came from the cache.
    """
    from oxenfs.mount import client
    from oxenfs_cli.target import mount_around

    mount = mount_around(directory)
    if mount is None:
        where = "the current folder" if directory is None else str(directory)
        raise UsageError(f"{where} does not lie in a mount of oxenfs; oxenfs mounts lists mounts")
    found = client.ask(mount, "stats")
    if as_json:
        print_json(found)
    else:
        print_table(
            [(name, str(value)) for name, value in sorted(found.items())], ("WHAT", "COUNT")
        )
