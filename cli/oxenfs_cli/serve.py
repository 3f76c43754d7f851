"""`oxenfs serve`: local repositories over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from oxenfs.errors import OxenfsError, UsageError
from oxenfs_cli.output import print_text, printable


@click.command(name="serve")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=3000, show_default=True, type=click.IntRange(0, 65535), help="0: a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with the token that clients must have; needed for any address but loopback.",
)
@click.option("--insecure", is_flag=True, help="Let everybody who reaches the address in.")
def command(path: Path, host: str, port: int, token_file: Path | None, insecure: bool) -> None:
    """Serve the local repositories PATH/NAMESPACE/NAME as an Oxen server.

    PATH is a folder, made if it is not there; clients make repositories in it. The official client
    clones, pulls, pushes and commits; so do mounts. Runs until it is interrupted.
    """
    token = None if token_file is None else _token(token_file)
    try:
        from oxenfs.server.run import serve
    except ModuleNotFoundError as exc:
        raise OxenfsError(
            f"serve needs {exc.name}, which is not installed: pip install 'oxenfs[serve]'"
        ) from exc

    def started(url: str) -> None:
        print_text(f"serving {printable(str(path))} at {url}")

    serve(path, host, port, token=token, insecure=insecure, started=started)


def _token(path: Path) -> str:
    try:
        word = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise OxenfsError(f"cannot read the token in {path}") from exc
    if not word or not word.isprintable() or " " in word:
        raise UsageError(f"{path} must hold the token, one word, and nothing else")
    return word
