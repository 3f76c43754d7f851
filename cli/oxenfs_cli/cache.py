"""`oxenfs cache`: looks after the folder of what was fetched, mounted or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oxenfs_cli.output import is_terminal, print_json, print_text, printable, size_text

if TYPE_CHECKING:
    from oxenfs.store.cache import Cache

_folder = click.option(
    "--cache-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache (default: $XDG_CACHE_HOME/oxenfs).",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(name="cache")
def command() -> None:
    """Look after the cache on disk. Mounts may use it meanwhile."""


@command.command()
@_folder
@_json
def info(cache_dir: Path | None, as_json: bool) -> None:
    """Say where the cache is, how large it may be, and what is in it."""
    with _opened(cache_dir) as cache:
        totals = cache.room.totals()
        folder = str(cache.folder.parent)
    if as_json:
        print_json(
            {
                "dir": folder,
                "limit_bytes": totals.limit_bytes,
                "used_bytes": totals.used_bytes,
                "pinned_bytes": totals.pinned_bytes,
                "blobs": totals.blobs,
                "derived": totals.derived,
            }
        )
        return
    print_text(printable(folder))
    print_text(f"{size_text(totals.used_bytes)} of {size_text(totals.limit_bytes)} used")
    print_text(f"{size_text(totals.pinned_bytes)} pinned")
    print_text(f"{totals.blobs} blobs, {totals.derived} derived objects")


@command.command()
@_folder
@_json
def verify(cache_dir: Path | None, as_json: bool) -> None:
    """Read and check every byte; what is damaged is dropped, and fetched again when it is read."""
    from oxenfs.store import upkeep

    with _opened(cache_dir) as cache, _progress() as progress:
        found = upkeep.verify(cache, progress)
    if as_json:
        print_json({"objects": found.objects, "bytes": found.size_bytes, "damaged": found.damaged})
        return
    print_text(
        f"{found.objects} objects ({size_text(found.size_bytes)}) checked, "
        f"{found.damaged} damaged and dropped"
    )


@command.command()
@_folder
@_json
def gc(cache_dir: Path | None, as_json: bool) -> None:
    """Clean up after killed processes, and make the cache keep its limit."""
    from oxenfs.store import upkeep

    with _opened(cache_dir) as cache:
        freed = upkeep.collect(cache)
    if as_json:
        print_json({"freed_bytes": freed})
    else:
        print_text(f"{size_text(freed)} freed")


@command.command()
@_folder
@click.option("--pinned", is_flag=True, help="Also what is pinned.")
@_json
def clear(cache_dir: Path | None, pinned: bool, as_json: bool) -> None:
    """Drop everything that is not pinned. Trees stay; they are small."""
    from oxenfs.store import upkeep

    with _opened(cache_dir) as cache:
        dropped = upkeep.clear(cache, pinned=pinned)
    if as_json:
        print_json({"dropped": dropped})
    else:
        print_text(f"{dropped} objects dropped")


@contextmanager
def _opened(cache_dir: Path | None) -> Iterator[Cache]:
    from oxenfs import places
    from oxenfs.store.cache_open import open_cache

    folder = cache_dir.expanduser().absolute() if cache_dir else places.cache_dir()
    cache = open_cache(folder)
    try:
        yield cache
    finally:
        cache.close()


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    if not is_terminal(2):
        yield lambda objects, size: None
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, desc="verify") as bar:

        def progress(objects: int, size: int) -> None:
            bar.set_postfix_str(f"{objects} objects", refresh=False)
            bar.update(size - bar.n)

        yield progress
