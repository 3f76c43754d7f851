"""`prefetch`, `pin` and `unpin`: what a mount has in its cache before anybody reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oxenfs.errors import UsageError
from oxenfs_cli.output import is_terminal, print_text, size_text

if TYPE_CHECKING:
    from oxenfs.mount.registry import Entry
    from oxenfs_cli.target import Target

_EVENT_S = 120.0

Call = Callable[..., None]


def options(command: Call) -> Call:
    """Give a command the arguments and options of all three."""
    for decorate in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print JSON; progress as lines of it."
        ),
        click.option(
            "-C",
            "directory",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="A mount (default: the current folder's).",
        ),
        click.argument("paths", metavar="PATH...", nargs=-1, required=True),
    ):
        command = decorate(command)
    return command


def run(name: str, words: Sequence[str], directory: Path | None, *, as_json: bool) -> Any:
    """Let the mount's process run the command `name`, showing how far it is."""
    from oxenfs.mount import client
    from oxenfs_cli.target import find

    target = find(words, directory)
    mount = mount_of(target, name)
    with _progress(name, as_json=as_json) as on_event:
        return _ask(client.ask, mount, name, texts(target), on_event)


def mount_of(target: Target, name: str) -> Entry:
    """Return the mount that the command `name` is about; raise `UsageError` if it is about none."""
    if target.mount is None:
        raise UsageError(f"{name} is about a mount; name one, or use -C DIR")
    return target.mount


def texts(target: Target) -> list[str]:
    """Return the paths as a mount's process takes them: the root, if only the mount was named."""
    return [path.decode("utf-8", "surrogateescape") for path in target.paths or (b"",)]


@contextmanager
def counted(name: str, unit: str, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """Show how many things are done; the value is called for each."""
    if quiet or not is_terminal(2):
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(unit=unit, leave=False, desc=name) as bar:
        yield bar.update


def summary(result: Any) -> str:
    """Return a result in words."""
    files = "1 file" if result["files"] == 1 else f"{result['files']} files"
    fetched = size_text(result["fetched_bytes"])
    return f"{files} ({size_text(result['bytes'])}) in the cache, {fetched} fetched"


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Print a result: on one line as JSON, as progress was, or in words."""
    if as_json:
        print(json.dumps(result))
    else:
        print_text(text)


def _ask(
    ask: Callable[..., Any],
    mount: Entry,
    name: str,
    paths: list[str],
    on_event: Callable[[dict[str, Any]], None],
) -> Any:
    return ask(mount, name, timeout_s=_EVENT_S, on_event=on_event, paths=paths)


@contextmanager
def _progress(name: str, *, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show progress: lines of JSON on stdout, or a bar on stderr if that is a terminal."""
    if as_json:
        yield lambda event: print(json.dumps(event), flush=True)
        return
    if not is_terminal(2):
        yield lambda event: None
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, desc=name) as bar:

        def show(event: dict[str, Any]) -> None:
            now = event.get("progress")
            if now is None:
                return
            # Until everything is found, the end is not known, and neither is when it comes.
            bar.total = now["bytes_found"] if now["complete"] else None
            bar.set_postfix_str(f"{now['files']}/{now['files_found']} files", refresh=False)
            bar.update(now["bytes"] - bar.n)

        yield show
