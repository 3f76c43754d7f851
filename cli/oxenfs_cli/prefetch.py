"""`oxenfs prefetch`: bring files here before they are read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from oxenfs_cli import warming
from oxenfs_cli.output import print_text, printable


@click.command(name="prefetch")
@click.option(
    "--index", "index", is_flag=True, help="Only learn which frames the videos have; kept for good."
)
@click.pass_context
@warming.options
def command(
    ctx: click.Context, paths: tuple[str, ...], directory: Path | None, as_json: bool, index: bool
) -> None:
    """Bring everything at and below PATHs of a mount into the cache.

    Ctrl-C keeps what has arrived. With all of a commit here, it can be read without the server.
    """
    if index:
        ctx.exit(_index(paths, directory, as_json=as_json))
    result = warming.run("prefetch", paths, directory, as_json=as_json)
    warming.print_result(result, warming.summary(result), as_json=as_json)


def _index(paths: tuple[str, ...], directory: Path | None, *, as_json: bool) -> int:
    """Let the mount index all videos at and below `paths`; return 1 if some have no frames."""
    from oxenfs.mount import client
    from oxenfs_cli.target import find

    target = find(paths, directory)
    mount = warming.mount_of(target, "prefetch")
    counts = {"videos": 0, "frames": 0, "failed": 0}

    def take(event: dict[str, Any]) -> None:
        counts["videos"] += 1
        counts["frames"] += event.get("frames", 0)
        if "why" in event:
            counts["failed"] += 1
            text = f"oxenfs: {printable(event['video'])}: {printable(event['why'])}"
            print(text, file=sys.stderr)
        if as_json:
            warming.print_result({"progress": event}, "", as_json=True)

    with warming.counted("index", "video", quiet=as_json) as tick:

        def show(event: dict[str, Any]) -> None:
            take(event)
            tick()

        client.ask(mount, "index", timeout_s=None, on_event=show, paths=warming.texts(target))
    text = f"{counts['frames']} frames of {counts['videos'] - counts['failed']} videos are indexed"
    if as_json:
        warming.print_result(counts, "", as_json=True)
    else:
        print_text(text)
    return 1 if counts["failed"] else 0
